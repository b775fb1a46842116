//! The text of the statements for PostgreSQL.

use sqlx::{AssertSqlSafe, SqlSafeStr as _, SqlStr};

use crate::table::Table;

/// Milliseconds since 1970, at the moment of evaluation: a statement that waited for a lock judges
/// by the time at which it got it.
const NOW: &str = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
/// The same at the statement's start: one value for the whole statement, so that an index on it can
/// be used.
const START: &str = "floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint";

#[derive(Clone, Debug)]
pub(super) struct Statements {
    pub(super) table: Table,
    pub(super) load_one: SqlStr,
    pub(super) load_many: SqlStr,
    pub(super) create_one: SqlStr,
    pub(super) create_many: SqlStr,
    pub(super) update_one: SqlStr,
    pub(super) update_many: SqlStr,
    pub(super) touch_many: SqlStr,
    pub(super) standing: SqlStr,
    pub(super) destroy: SqlStr,
    pub(super) gc: SqlStr,
}

impl Statements {
    pub(super) fn new(table: Table) -> Self {
        let sql = |text: String| AssertSqlSafe(text).into_sql_str();
        let t = table.quoted('"');
        let columns = format!("id_hash, revision, owner, payload, expires_at - {START}");
        // One statement gives the verdict, too. What stands there is looked up only when nothing was
        // written, in the snapshot of the statement's start.
        let update_one = |set_key: &str| {
            sql(format!(
                "WITH written AS (UPDATE {t} SET {set_key} revision = $3, payload = $4, owner = $5, \
                 expires_at = coalesce({NOW} + $6::bigint, expires_at) \
                 WHERE id_hash = $1 AND revision = $2 AND expires_at > {NOW} RETURNING 1) \
                 SELECT EXISTS (SELECT FROM written), \
                 CASE WHEN NOT EXISTS (SELECT FROM written) THEN \
                 (SELECT revision FROM {t} WHERE id_hash = $1 AND expires_at > {NOW}) END"
            ))
        };
        // What is expired counts as absent.
        let create = |rows: &str| {
            sql(format!(
                "INSERT INTO {t} AS s (id_hash, revision, payload, owner, expires_at) {rows} \
                 ON CONFLICT (id_hash) DO UPDATE SET revision = excluded.revision, \
                 payload = excluded.payload, owner = excluded.owner, \
                 expires_at = excluded.expires_at WHERE s.expires_at <= {NOW} \
                 RETURNING id_hash"
            ))
        };
        // Rows are locked in the order of their keys, therefore batches of several servers never
        // wait for each other in a circle; the lock also makes the verdict final.
        let held = |columns: &str| {
            format!(
                "held AS MATERIALIZED (SELECT {columns} FROM {t} \
                 WHERE id_hash = ANY($1) AND expires_at > {NOW} \
                 ORDER BY id_hash FOR NO KEY UPDATE)"
            )
        };
        let outcome = "SELECT h.id_hash, w.id_hash IS NOT NULL, h.revision \
                       FROM held h LEFT JOIN written w ON w.id_hash = h.id_hash";
        Self {
            load_one: sql(format!(
                "SELECT {columns} FROM {t} WHERE id_hash = $1 AND expires_at > {START}"
            )),
            load_many: sql(format!(
                "SELECT {columns} FROM {t} WHERE id_hash = ANY($1) AND expires_at > {START}"
            )),
            create_one: create(&format!("VALUES ($1, $2, $3, $4, {NOW} + $5)")),
            create_many: create(&format!(
                "SELECT id_hash, revision, payload, owner, {NOW} + ttl \
                 FROM unnest($1::bytea[], $2::bigint[], $3::bytea[], $4::bytea[], $5::bigint[]) \
                 AS i (id_hash, revision, payload, owner, ttl)"
            )),
            update_one: update_one(""),
            update_many: sql(format!(
                "WITH {held}, written AS (UPDATE {t} AS s SET revision = i.revision, \
                 payload = i.payload, owner = i.owner, \
                 expires_at = coalesce({NOW} + i.ttl, s.expires_at) \
                 FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], \
                 $6::bigint[]) AS i (id_hash, expected, revision, payload, owner, ttl) \
                 JOIN held h ON h.id_hash = i.id_hash AND h.revision = i.expected \
                 WHERE s.id_hash = i.id_hash RETURNING s.id_hash) {outcome}",
                held = held("id_hash, revision"),
            )),
            touch_many: sql(format!(
                "WITH {held}, written AS (UPDATE {t} AS s SET expires_at = {NOW} + i.ttl \
                 FROM unnest($1::bytea[], $2::bigint[], $3::bigint[]) \
                 AS i (id_hash, expected, ttl) \
                 JOIN held h ON h.id_hash = i.id_hash AND h.revision = i.expected \
                 WHERE s.id_hash = i.id_hash RETURNING s.id_hash) {outcome}",
                held = held("id_hash, revision"),
            )),
            standing: sql(format!(
                "SELECT revision FROM {t} WHERE id_hash = $1 AND expires_at > {NOW}"
            )),
            destroy: sql(format!(
                "DELETE FROM {t} WHERE id_hash = $1 AND ($2::bigint IS NULL OR revision = $2) \
                 RETURNING expires_at > {NOW}"
            )),
            // The rows are found by the index and locked; whoever is at work on one keeps it. The
            // deadline is checked on the version that is locked, and again on the one that goes (by
            // the other clock, else the server might read the index a second time).
            gc: sql(format!(
                "DELETE FROM {t} WHERE ctid = ANY (ARRAY (SELECT ctid FROM {t} \
                 WHERE expires_at <= {START} ORDER BY expires_at LIMIT $1 \
                 FOR UPDATE SKIP LOCKED)) AND expires_at <= {NOW}"
            )),
            table,
        }
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

#[cfg(test)]
mod tests {
    use sqlx::postgres::PgArguments;
    use sqlx::query::Query;
    use sqlx::{Executor as _, PgPool, Postgres, Row as _};

    use super::*;

    async fn plan(
        pool: &PgPool,
        statement: &SqlStr,
        bind: impl FnOnce(
            Query<'static, Postgres, PgArguments>,
        ) -> Query<'static, Postgres, PgArguments>,
    ) -> String {
        let explain = AssertSqlSafe(format!("EXPLAIN {}", statement.as_str()));
        let rows = bind(sqlx::query(explain)).fetch_all(pool).await.unwrap();
        let lines = rows.iter().map(|row| row.get::<String, _>(0));
        lines.collect::<Vec<_>>().join("\n")
    }

    #[tokio::test]
    async fn the_plans_use_the_indexes() {
        let statements = Statements::new(Table::default());
        let server = test_servers::postgres::shared().expect("PostgreSQL");
        let pool = PgPool::connect(server.url()).await.unwrap();
        pool.execute(AssertSqlSafe(statements.schema())).await.unwrap();
        let fill = "INSERT INTO sessions SELECT sha256(i::text::bytea), 0, \
                    CASE WHEN i <= 100 THEN i ELSE 4000000000000 + i END, NULL, '' \
                    FROM generate_series(1, 20000) AS i";
        pool.execute(fill).await.unwrap();
        pool.execute("ANALYZE sessions").await.unwrap();

        let gc = plan(&pool, &statements.gc, |query| query.bind(500_i64)).await;
        assert!(gc.contains("Index Scan using sessions_expires_at"), "{gc}");
        assert!(gc.contains("Tid Scan") && !gc.contains("Seq Scan"), "{gc}");

        let keys = vec![vec![7_u8; 32]; 64];
        let numbers = vec![1_i64; 64];
        let (payloads, owners) = (keys.clone(), vec![None::<Vec<u8>>; 64]);
        let plans = [
            plan(&pool, &statements.load_many, |query| query.bind(keys.clone())).await,
            plan(&pool, &statements.touch_many, |query| {
                query.bind(keys.clone()).bind(numbers.clone()).bind(numbers.clone())
            })
            .await,
            plan(&pool, &statements.update_many, |query| {
                let query = query.bind(keys.clone()).bind(numbers.clone()).bind(numbers.clone());
                query.bind(payloads).bind(owners).bind(vec![None::<i64>; 64])
            })
            .await,
        ];
        for plan in plans {
            assert!(plan.contains("sessions_pkey"), "{plan}");
            assert!(!plan.contains("Seq Scan on sessions"), "{plan}");
        }
    }

    /// Whoever reads the rows leaves out what has no life left, too; the statement must not rely on it.
    #[tokio::test]
    async fn the_loads_leave_out_what_expired() {
        let statements = Statements::new(Table::parse("leaves_out", true).unwrap());
        let server = test_servers::postgres::shared().expect("PostgreSQL");
        let pool = PgPool::connect(server.url()).await.unwrap();
        pool.execute(AssertSqlSafe(statements.schema())).await.unwrap();
        let fill = "INSERT INTO leaves_out SELECT sha256(i::text::bytea), 0, i * 4000000000000, \
                    NULL, '' FROM generate_series(0, 1) AS i RETURNING id_hash";
        let rows = pool.fetch_all(fill).await.unwrap();
        let keys: Vec<Vec<u8>> = rows.iter().map(|row| row.get(0)).collect();
        for (key, found) in keys.iter().zip([0, 1]) {
            let one = sqlx::query(statements.load_one.clone()).bind(key);
            assert_eq!(one.fetch_all(&pool).await.unwrap().len(), found);
        }
        let many = sqlx::query(statements.load_many.clone()).bind(keys);
        assert_eq!(many.fetch_all(&pool).await.unwrap().len(), 1);
    }
}
