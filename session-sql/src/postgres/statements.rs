//! The text of the statements for PostgreSQL.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::table::Table;

/// Milliseconds since 1970, at the moment of evaluation: a statement that waited for a lock judges
/// by the time at which it got it.
const NOW: &str = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
/// The same at the statement's start: one value for the whole statement, so that an index on it can
/// be used.
const START: &str = "floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint";
/// Tells pgpool to leave a statement that only reads to the primary: a replica may not have the last save.
const PRIMARY: &str = "/*NO LOAD BALANCE*/";

#[derive(Debug)]
pub(super) struct Postgres {
    pub(super) table: Table,
    /// See `Dialect::has_pooler`.
    pub(super) has_pooler: bool,
    pub(super) load_one: SqlStr,
    pub(super) load: SqlStr,
    pub(super) create: SqlStr,
    pub(super) update_one: SqlStr,
    pub(super) update: SqlStr,
    pub(super) touch: SqlStr,
    pub(super) revision: SqlStr,
    pub(super) destroy: SqlStr,
    pub(super) gc: SqlStr,
    pub(super) owned: SqlStr,
}

impl Postgres {
    pub(super) fn new(table: Table) -> Self {
        let sql = |text: String| AssertSqlSafe(text).into_sql_str();
        let t = table.quoted('"');
        let load = |keys: &str| {
            sql(format!(
                "{PRIMARY} SELECT id_hash, revision, owner, payload, expires_at - {START} FROM {t} \
                 WHERE id_hash {keys} AND expires_at > {START}"
            ))
        };
        // Rows are locked in the order of their keys, therefore batches of several servers never wait
        // for each other in a circle.
        let held = |strength: &str| {
            format!(
                "held AS MATERIALIZED (SELECT id_hash, revision, expires_at FROM {t} \
                 WHERE id_hash = ANY($1) ORDER BY id_hash FOR {strength})"
            )
        };
        // The clock is read when the lock has been taken: while the statement waited for it, the record
        // may have expired. From then on nobody else changes the row.
        let live = format!(
            "WITH {held}, live AS MATERIALIZED (SELECT id_hash, revision FROM held \
             WHERE expires_at > {NOW})",
            held = held("NO KEY UPDATE"),
        );
        // For each live record whether it was written, and the revision that it had.
        let outcome = "SELECT l.id_hash, w.id_hash IS NOT NULL, l.revision \
                       FROM live l LEFT JOIN written w ON w.id_hash = l.id_hash";
        Self {
            load_one: load("= $1"),
            load: load("= ANY($1)"),
            // What is expired counts as absent. The row is locked before its deadline is looked at.
            create: sql(format!(
                "INSERT INTO {t} AS s (id_hash, revision, payload, owner, expires_at) \
                 SELECT id_hash, revision, payload, owner, {NOW} + ttl \
                 FROM unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::bytea[], $5::bigint[]) \
                 AS i (id_hash, revision, payload, owner, ttl) \
                 ON CONFLICT (id_hash) DO UPDATE SET revision = excluded.revision, \
                 payload = excluded.payload, owner = excluded.owner, \
                 expires_at = excluded.expires_at WHERE s.expires_at <= {NOW} \
                 RETURNING id_hash"
            )),
            // The most frequent write: one record that keeps its deadline. It takes no lock beforehand,
            // because it revives nothing: what expired while it waited stays expired, and the clock is
            // read again for the outcome. When nothing was written, the current revision is looked up in
            // the snapshot of the statement's start.
            update_one: sql(format!(
                "WITH written AS (UPDATE {t} SET revision = $3, payload = $4, owner = $5 \
                 WHERE id_hash = $1 AND revision = $2 AND expires_at > {NOW} RETURNING expires_at) \
                 SELECT coalesce((SELECT expires_at > {NOW} FROM written), false), \
                 CASE WHEN NOT EXISTS (SELECT FROM written) THEN \
                 (SELECT revision FROM {t} WHERE id_hash = $1 AND expires_at > {NOW}) END"
            )),
            update: sql(format!(
                "{live}, written AS (UPDATE {t} AS s SET revision = i.revision, \
                 payload = i.payload, owner = i.owner, \
                 expires_at = coalesce({NOW} + i.ttl, s.expires_at) \
                 FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], \
                 $6::bigint[]) AS i (id_hash, expected, revision, payload, owner, ttl) \
                 JOIN live l ON l.id_hash = i.id_hash AND l.revision = i.expected \
                 WHERE s.id_hash = i.id_hash RETURNING s.id_hash) {outcome}"
            )),
            touch: sql(format!(
                "{live}, written AS (UPDATE {t} AS s SET expires_at = {NOW} + i.ttl \
                 FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) \
                 AS i (id_hash, expected, ttl) \
                 JOIN live l ON l.id_hash = i.id_hash AND l.revision = i.expected \
                 WHERE s.id_hash = i.id_hash RETURNING s.id_hash) {outcome}"
            )),
            revision: sql(format!(
                "{PRIMARY} SELECT revision FROM {t} WHERE id_hash = $1 AND expires_at > {NOW}"
            )),
            destroy: sql(format!(
                "WITH {held} DELETE FROM {t} AS s \
                 USING unnest($1::bytea[], $2::bigint[]) AS i (id_hash, wanted) \
                 JOIN held h ON h.id_hash = i.id_hash \
                 AND (i.wanted IS NULL OR h.revision = i.wanted) \
                 WHERE s.id_hash = i.id_hash RETURNING s.id_hash, s.expires_at > {NOW}",
                held = held("UPDATE"),
            )),
            // Materialized: otherwise the planner may walk through the keys of all owners in order, or
            // through the deadlines of all records (seen before the first ANALYZE).
            owned: sql(format!(
                "{PRIMARY} WITH owned AS MATERIALIZED (SELECT id_hash, expires_at FROM {t} \
                 WHERE owner = $1) SELECT id_hash FROM owned \
                 WHERE id_hash > $2 AND expires_at > {START} ORDER BY id_hash LIMIT $3"
            )),
            // The rows are found by the index on the deadline and locked, but for those that are locked
            // already. They are removed by key: a ctid names a row of one partition only. The deadline is
            // looked at once more, by the other clock, or the server might use its index again.
            gc: sql(format!(
                "DELETE FROM {t} WHERE id_hash = ANY (ARRAY (SELECT id_hash FROM {t} \
                 WHERE expires_at <= {START} ORDER BY expires_at LIMIT $1 \
                 FOR UPDATE SKIP LOCKED)) AND expires_at <= {NOW}"
            )),
            has_pooler: false,
            table,
        }
    }

    pub(super) fn through_pooler(self) -> Self {
        Self { has_pooler: true, ..self }
    }

    /// Whether the table and its indexes are there.
    pub(super) fn is_complete(&self) -> SqlStr {
        let t = self.table.quoted('"');
        let name = self.table.name();
        AssertSqlSafe(format!(
            "SELECT to_regclass('{t}') IS NOT NULL AND 2 = (SELECT count(*) FROM pg_index AS i \
             JOIN pg_class AS c ON c.oid = i.indexrelid WHERE i.indrelid = to_regclass('{t}') \
             AND c.relname IN ('{name}_expires_at', '{name}_owner'))"
        ))
        .into_sql_str()
    }

    pub(super) fn schema(&self) -> String {
        let (t, name) = (self.table.quoted('"'), self.table.name());
        // Room in each page lets an update that leaves the deadline where it is stay in the page and
        // touch no index.
        format!(
            "CREATE TABLE IF NOT EXISTS {t} (\n    \
             id_hash bytea PRIMARY KEY CHECK (octet_length(id_hash) = 32),\n    \
             revision bigint NOT NULL,\n    \
             expires_at bigint NOT NULL,\n    \
             owner bytea,\n    \
             payload bytea NOT NULL\n\
             ) WITH (fillfactor = 80);\n\
             CREATE INDEX IF NOT EXISTS \"{name}_expires_at\" ON {t} (expires_at);\n\
             CREATE INDEX IF NOT EXISTS \"{name}_owner\" ON {t} (owner) WHERE owner IS NOT NULL;\n"
        )
    }
}
