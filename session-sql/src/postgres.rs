//! PostgreSQL.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use session_core::{
    Backend, Capabilities, Key, Loaded, Record, Result, Revision, Update, Write, async_trait,
};
use sqlx::error::DatabaseError;
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, PgConnection, PgPool, Postgres, Row as _,
    SqlSafeStr as _, SqlStr,
};

use crate::backend::backend;
use crate::connections::Connections;
use crate::dialect::{
    Birth, Change, Dialect, Extension, Found, Verdict, found, key, owner_bytes, verdicts,
};
use crate::engine::{Engine, Settings};
use crate::fault::{Class, Fault};
use crate::table::Table;

const MAX_CONNECTIONS: u32 = 10;
const SETTINGS: Settings =
    Settings { group_commit: true, durable: true, load_lanes: 2, write_lanes: 2 };

/// Sessions in PostgreSQL (12 or newer).
///
/// Cheap to clone; clones share connections and batches. A future that is dropped does not break
/// off its statement: what was sent is carried out.
///
/// The table, as [`schema`](Self::schema) shows and [`migrate`](Self::migrate) creates it:
///
/// | column | type | holds |
/// |---|---|---|
/// | `id_hash` | `bytea`, primary key | the SHA-256 of the session id, 32 bytes |
/// | `revision` | `bigint` | 64 random bits of the last writer |
/// | `expires_at` | `bigint` | the deadline, in milliseconds since 1970 UTC by the server's clock |
/// | `owner` | `bytea`, or null | whose session it is, UTF-8 |
/// | `payload` | `bytea` | the session's document, JSON in UTF-8, up to 1 GB |
///
/// Indexes: the primary key; `<table>_expires_at`, by which gc finds what expired; `<table>_owner`,
/// where there is an owner. To read it in psql: `SELECT convert_from(payload, 'UTF8') FROM sessions`.
#[derive(Clone, Debug)]
pub struct PostgresBackend(Engine<Statements>);

backend!(PostgresBackend, PgPool);

impl PostgresBackend {
    /// Connects to `postgres://user:password@host:port/database`, with a pool of its own of up to 10
    /// connections.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that is none and for a wrong user, password or database;
    /// `Unavailable` when the server can't be reached within 3 s.
    pub async fn connect(url: &str) -> Result<Self> {
        let options: sqlx::Result<PgConnectOptions> = url.parse();
        let options = options.map_err(|error| {
            let fault = Fault::new(error, Statements::classify);
            fault.error().with_backend(Statements::NAME).with_operation("connect")
        })?;
        let options = options.disable_statement_logging();
        let pool = PgPoolOptions::new().max_connections(MAX_CONNECTIONS);
        let keep = SETTINGS.load_lanes + SETTINGS.write_lanes;
        let backend = Self::over(Connections::own(pool, options, false, keep), SETTINGS);
        backend.0.check().await?;
        Ok(backend)
    }
}

/// Milliseconds since 1970, at the moment of evaluation: a statement that waited for a lock judges
/// by the time at which it got it.
const NOW: &str = "floor(extract(epoch FROM clock_timestamp()) * 1000)::bigint";
/// The same at the statement's start: one value for the whole statement, so that an index on it can
/// be used.
const START: &str = "floor(extract(epoch FROM statement_timestamp()) * 1000)::bigint";
/// "session", for the advisory lock of migrations.
const MIGRATION_LOCK: i64 = 0x73_65_73_73_69_6f_6e;

#[derive(Clone, Debug)]
struct Statements {
    table: Table,
    load_one: SqlStr,
    load_many: SqlStr,
    create: SqlStr,
    update_one: SqlStr,
    update_many: SqlStr,
    touch: SqlStr,
    rotate: SqlStr,
    standing: SqlStr,
    destroy: SqlStr,
    gc: SqlStr,
}

impl Statements {
    fn new(table: Table) -> Self {
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
        // Rows are locked in the order of their keys, therefore batches of several servers never
        // wait for each other in a circle; the lock also makes the verdict final.
        let held = |columns: &str| {
            format!(
                "held AS MATERIALIZED (SELECT {columns} FROM {t} \
                 WHERE id_hash = ANY($1) AND expires_at > {NOW} \
                 ORDER BY id_hash FOR NO KEY UPDATE)"
            )
        };
        Self {
            load_one: sql(format!(
                "SELECT {columns} FROM {t} WHERE id_hash = $1 AND expires_at > {START}"
            )),
            load_many: sql(format!(
                "SELECT {columns} FROM {t} WHERE id_hash = ANY($1) AND expires_at > {START}"
            )),
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
            update_one: update_one(""),
            rotate: update_one("id_hash = $7,"),
            update_many: sql(format!(
                "WITH {held}, written AS (UPDATE {t} AS s SET revision = i.revision, \
                 payload = i.payload, owner = i.owner, \
                 expires_at = coalesce({NOW} + i.ttl, s.expires_at) \
                 FROM unnest($1::bytea[], $2::bigint[], $3::bigint[], $4::bytea[], $5::bytea[], \
                 $6::bigint[]) AS i (id_hash, expected, revision, payload, owner, ttl) \
                 JOIN held h ON h.id_hash = i.id_hash AND h.revision = i.expected \
                 WHERE s.id_hash = i.id_hash RETURNING s.id_hash) \
                 SELECT h.id_hash, w.id_hash IS NOT NULL, h.revision \
                 FROM held h LEFT JOIN written w ON w.id_hash = h.id_hash",
                held = held("id_hash, revision"),
            )),
            touch: sql(format!(
                "WITH {held} UPDATE {t} AS s SET expires_at = {NOW} + i.ttl \
                 FROM unnest($1::bytea[], $2::bigint[]) AS i (id_hash, ttl) \
                 JOIN held h ON h.id_hash = i.id_hash \
                 WHERE s.id_hash = i.id_hash RETURNING s.id_hash",
                held = held("id_hash"),
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

    fn schema(&self) -> String {
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

    /// The update of one: of a row that somebody changed while the statement waited for it, the
    /// statement's snapshot still shows the expected revision; then it is asked once more.
    async fn verdict_of_one(
        &self,
        connection: &mut PgConnection,
        change: &Change,
        row: &sqlx::postgres::PgRow,
    ) -> sqlx::Result<Verdict> {
        if row.try_get(0)? {
            return Ok(Verdict::Done);
        }
        let mut standing: Option<i64> = row.try_get(1)?;
        if standing == Some(change.expected.to_i64()) {
            standing = sqlx::query_scalar(self.standing.clone())
                .bind(&change.key.as_bytes()[..])
                .fetch_optional(connection)
                .await?;
        }
        let standing = standing.map(Revision::from_i64);
        Ok(Verdict::of_failed_update(standing, change.record.revision))
    }
}

impl Dialect for Statements {
    type Database = Postgres;

    const NAME: &'static str = "postgres";
    const ONE_WRITER: bool = false;
    const SCHEMAS: bool = true;

    fn classify(error: &dyn DatabaseError) -> Class {
        match error.code().as_deref().unwrap_or_default() {
            "23505" => Class::Duplicate,
            // An undefined table, column or schema, or one of another type.
            "42P01" | "42703" | "3F000" | "42804" | "42883" => Class::NoTable,
            "28000" | "28P01" | "3D000" | "42501" => Class::Denied,
            "25006" => Class::ReadOnly,
            "40001" | "40P01" => Class::Aborted,
            "55P03" => Class::Busy,
            "53100" => Class::Full,
            "53300" | "57P03" => Class::NoConnection,
            "54000" => Class::TooLarge,
            // The server ended this connection.
            "57P01" | "57P02" | "57P05" | "25P03" => Class::Lost,
            code if code.starts_with("08") => Class::Lost,
            "57014" => Class::TimedOut,
            _ => Class::Other,
        }
    }

    async fn load(&self, connection: &mut PgConnection, keys: &[Key]) -> sqlx::Result<Vec<Found>> {
        let rows = if let [key] = keys {
            let query = sqlx::query(self.load_one.clone()).bind(&key.as_bytes()[..]);
            query.fetch_all(connection).await?
        } else {
            let keys: Vec<&[u8]> = keys.iter().map(|key| &key.as_bytes()[..]).collect();
            let query = sqlx::query(self.load_many.clone()).bind(keys);
            query.fetch_all(connection).await?
        };
        Ok(rows.iter().filter_map(found).collect())
    }

    async fn create(
        &self,
        connection: &mut PgConnection,
        births: &[Birth],
    ) -> sqlx::Result<Vec<Verdict>> {
        let keys: Vec<&[u8]> = births.iter().map(|birth| &birth.key.as_bytes()[..]).collect();
        let revisions: Vec<i64> =
            births.iter().map(|birth| birth.record.revision.to_i64()).collect();
        let payloads: Vec<&[u8]> = births.iter().map(|birth| &birth.record.payload[..]).collect();
        let owners: Vec<Option<&[u8]>> =
            births.iter().map(|birth| owner_bytes(&birth.record)).collect();
        let ttls: Vec<i64> = births.iter().map(|birth| birth.ttl).collect();
        let rows = sqlx::query(self.create.clone())
            .bind(keys)
            .bind(revisions)
            .bind(payloads)
            .bind(owners)
            .bind(ttls)
            .fetch_all(connection)
            .await?;
        let keys = births.iter().map(|birth| birth.key);
        Ok(verdicts(keys, &rows, Verdict::Exists))
    }

    async fn update(
        &self,
        connection: &mut PgConnection,
        changes: &[Change],
    ) -> sqlx::Result<Vec<Verdict>> {
        if let [change] = changes {
            let row = sqlx::query(self.update_one.clone())
                .bind(&change.key.as_bytes()[..])
                .bind(change.expected.to_i64())
                .bind(change.record.revision.to_i64())
                .bind(&change.record.payload[..])
                .bind(owner_bytes(&change.record))
                .bind(change.ttl)
                .fetch_one(&mut *connection)
                .await?;
            return Ok(vec![self.verdict_of_one(connection, change, &row).await?]);
        }
        let records = || changes.iter().map(|change| &change.record);
        let keys: Vec<&[u8]> = changes.iter().map(|change| &change.key.as_bytes()[..]).collect();
        let expected: Vec<i64> = changes.iter().map(|change| change.expected.to_i64()).collect();
        let revisions: Vec<i64> = records().map(|record| record.revision.to_i64()).collect();
        let payloads: Vec<&[u8]> = records().map(|record| &record.payload[..]).collect();
        let owners: Vec<Option<&[u8]>> = records().map(owner_bytes).collect();
        let ttls: Vec<Option<i64>> = changes.iter().map(|change| change.ttl).collect();
        let rows = sqlx::query(self.update_many.clone())
            .bind(keys)
            .bind(expected)
            .bind(revisions)
            .bind(payloads)
            .bind(owners)
            .bind(ttls)
            .fetch_all(connection)
            .await?;
        let held: sqlx::Result<HashMap<Key, (bool, i64)>> = rows
            .iter()
            .filter_map(|row| Some((key(row)?, row)))
            .map(|(key, row)| Ok((key, (row.try_get(1)?, row.try_get(2)?))))
            .collect();
        let held = held?;
        let verdict = |change: &Change| match held.get(&change.key) {
            Some((true, _)) => Verdict::Done,
            other => Verdict::of_failed_update(
                other.map(|(_, revision)| Revision::from_i64(*revision)),
                change.record.revision,
            ),
        };
        Ok(changes.iter().map(verdict).collect())
    }

    async fn touch(
        &self,
        connection: &mut PgConnection,
        extensions: &[Extension],
    ) -> sqlx::Result<Vec<Verdict>> {
        let keys: Vec<&[u8]> = extensions.iter().map(|one| &one.key.as_bytes()[..]).collect();
        let ttls: Vec<i64> = extensions.iter().map(|one| one.ttl).collect();
        let rows =
            sqlx::query(self.touch.clone()).bind(keys).bind(ttls).fetch_all(connection).await?;
        let keys = extensions.iter().map(|one| one.key);
        Ok(verdicts(keys, &rows, Verdict::Gone))
    }

    async fn rotate(
        &self,
        connection: &mut PgConnection,
        change: &Change,
        new: &Key,
    ) -> sqlx::Result<Verdict> {
        let row = sqlx::query(self.rotate.clone())
            .bind(&change.key.as_bytes()[..])
            .bind(change.expected.to_i64())
            .bind(change.record.revision.to_i64())
            .bind(&change.record.payload[..])
            .bind(owner_bytes(&change.record))
            .bind(change.ttl)
            .bind(&new.as_bytes()[..])
            .fetch_one(&mut *connection)
            .await?;
        self.verdict_of_one(connection, change, &row).await
    }

    async fn destroy(
        &self,
        connection: &mut PgConnection,
        key: &Key,
        only: Option<Revision>,
    ) -> sqlx::Result<bool> {
        let lived: Option<bool> = sqlx::query_scalar(self.destroy.clone())
            .bind(&key.as_bytes()[..])
            .bind(only.map(Revision::to_i64))
            .fetch_optional(connection)
            .await?;
        Ok(lived.unwrap_or(false))
    }

    async fn gc(&self, connection: &mut PgConnection, limit: i64) -> sqlx::Result<u64> {
        let query = sqlx::query(self.gc.clone()).bind(limit);
        Ok(query.execute(connection).await?.rows_affected())
    }

    async fn migrate(&self, connection: &mut PgConnection) -> sqlx::Result<()> {
        // IF NOT EXISTS alone is not safe against another process that is creating the same.
        let mut transaction = connection.begin().await?;
        sqlx::query("SELECT pg_advisory_xact_lock($1)")
            .bind(MIGRATION_LOCK)
            .execute(&mut *transaction)
            .await?;
        sqlx::raw_sql(AssertSqlSafe(self.schema())).execute(&mut *transaction).await?;
        transaction.commit().await
    }
}
