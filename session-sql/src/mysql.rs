//! MySQL and MariaDB.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use session_core::{
    Backend, Capabilities, Key, Loaded, Record, Result, Revision, Update, Write, async_trait,
};
use sqlx::error::DatabaseError;
use sqlx::mysql::{MySqlArguments, MySqlConnectOptions, MySqlDatabaseError, MySqlPoolOptions};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, MySql, MySqlConnection, MySqlPool,
    Row as _, SqlSafeStr as _, SqlStr,
};

use crate::backend::backend;
use crate::connections::Connections;
use crate::dialect::{Birth, Change, Dialect, Extension, Found, Verdict, found, key, owner_bytes};
use crate::engine::{Engine, Settings};
use crate::fault::{Class, Fault};
use crate::ladder::{Ladder, list};
use crate::table::Table;

const MAX_CONNECTIONS: u32 = 10;
const SETTINGS: Settings =
    Settings { group_commit: true, durable: true, load_lanes: 2, write_lanes: 2 };

/// Sessions in MySQL (8.0 or newer) or MariaDB (10.6 or newer), in InnoDB.
///
/// Cheap to clone; clones share connections and batches. A future that is dropped does not break
/// off its statement: what was sent is carried out.
///
/// The table, as [`schema`](Self::schema) shows and [`migrate`](Self::migrate) creates it:
///
/// | column | type | holds |
/// |---|---|---|
/// | `id_hash` | `BINARY(32)`, primary key | the SHA-256 of the session id |
/// | `revision` | `BIGINT` | 64 random bits of the last writer |
/// | `expires_at` | `BIGINT` | the deadline, in milliseconds since 1970 UTC by the server's clock |
/// | `owner` | `VARBINARY(255)`, or null | whose session it is, UTF-8 |
/// | `payload` | `LONGBLOB` | the session's document, JSON in UTF-8, up to `max_allowed_packet` |
///
/// No column is text: no collation, no case folding and no padding can make two keys one. Indexes:
/// the primary key; `<table>_expires_at`, by which gc finds what expired; `<table>_owner`. To read
/// it: `SELECT CONVERT(payload USING utf8mb4) FROM sessions`.
///
/// The server's time zone does not matter. With `binlog_format = STATEMENT` batches are refused by
/// the server, because they read what is committed; use `MIXED` or `ROW`, which are the defaults.
#[derive(Clone, Debug)]
pub struct MySqlBackend(Engine<Statements>);

backend!(MySqlBackend, MySqlPool);

impl MySqlBackend {
    /// Connects to `mysql://user:password@host:port/database` (also for MariaDB), with a pool of
    /// its own of up to 10 connections.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that is none and for a wrong user, password or database;
    /// `Unavailable` when the server can't be reached within 3 s.
    pub async fn connect(url: &str) -> Result<Self> {
        let options: sqlx::Result<MySqlConnectOptions> = url.parse();
        let options = options.map_err(|error| {
            let fault = Fault::new(error, Statements::classify);
            fault.error().with_backend(Statements::NAME).with_operation("connect")
        })?;
        let options = options.disable_statement_logging();
        let pool = MySqlPoolOptions::new().max_connections(MAX_CONNECTIONS);
        let keep = SETTINGS.load_lanes + SETTINGS.write_lanes;
        let backend = Self::over(Connections::own(pool, options, false, keep), SETTINGS);
        backend.0.check().await?;
        Ok(backend)
    }
}

/// Milliseconds since 1970 at the statement's start, whatever the time zone of the session is.
const NOW: &str = "(TIMESTAMPDIFF(MICROSECOND, '1970-01-01', UTC_TIMESTAMP(3)) DIV 1000)";
/// Locks only rows that are there: no gaps, in which others want to insert.
const BEGIN: &str = "SET TRANSACTION ISOLATION LEVEL READ COMMITTED; START TRANSACTION";
/// How often a create that met a row tries to find out what became of it.
const CREATE_ATTEMPTS: usize = 3;

#[derive(Clone, Debug)]
struct Statements {
    table: Table,
    load: Ladder,
    insert: SqlStr,
    replace_expired: SqlStr,
    insert_many: Ladder,
    update_one: SqlStr,
    hold: Ladder,
    overwrite: Ladder,
    touch: Ladder,
    rotate: SqlStr,
    standing: Ladder,
    destroy: SqlStr,
    gc: SqlStr,
}

impl Statements {
    fn new(table: Table) -> Self {
        let sql = |text: String| AssertSqlSafe(text).into_sql_str();
        let t = table.quoted('`');
        let columns = "id_hash, revision, payload, owner, expires_at";
        let update_one = |set_key: &str| {
            sql(format!(
                "UPDATE {t} SET {set_key} revision = ?, payload = ?, owner = ?, \
                 expires_at = COALESCE({NOW} + ?, expires_at) \
                 WHERE id_hash = ? AND revision = ? AND expires_at > {NOW}"
            ))
        };
        let of_live = |columns: &str, rows: usize| {
            let keys = list("?", rows);
            format!("SELECT {columns} FROM {t} WHERE id_hash IN ({keys}) AND expires_at > {NOW}")
        };
        Self {
            load: Ladder::new(|rows| {
                let remaining = format!("expires_at - {NOW}");
                of_live(&format!("id_hash, revision, owner, payload, {remaining}"), rows)
            }),
            insert: sql(format!("INSERT INTO {t} ({columns}) VALUES (?, ?, ?, ?, {NOW} + ?)")),
            replace_expired: sql(format!(
                "UPDATE {t} SET revision = ?, payload = ?, owner = ?, expires_at = {NOW} + ? \
                 WHERE id_hash = ? AND expires_at <= {NOW}"
            )),
            // `expires_at` is assigned last: the others look at the old one.
            insert_many: Ladder::new(|rows| {
                let if_expired = |column: &str| {
                    format!("{column} = IF(expires_at <= {NOW}, VALUES({column}), {column})")
                };
                format!(
                    "INSERT INTO {t} ({columns}) VALUES {} ON DUPLICATE KEY UPDATE {}",
                    list(&format!("(?, ?, ?, ?, {NOW} + ?)"), rows),
                    ["revision", "payload", "owner", "expires_at"].map(if_expired).join(", ")
                )
            }),
            update_one: update_one(""),
            rotate: update_one("id_hash = ?,"),
            hold: Ladder::new(|rows| {
                let rows = of_live("id_hash, revision", rows);
                format!("{rows} ORDER BY id_hash FOR UPDATE")
            }),
            overwrite: Ladder::new(|rows| {
                format!(
                    "INSERT INTO {t} ({columns}) VALUES {} ON DUPLICATE KEY UPDATE \
                     revision = VALUES(revision), payload = VALUES(payload), \
                     owner = VALUES(owner), \
                     expires_at = IF(VALUES(expires_at) = 0, expires_at, VALUES(expires_at))",
                    list(&format!("(?, ?, ?, ?, COALESCE({NOW} + ?, 0))"), rows)
                )
            }),
            touch: Ladder::new(|rows| {
                let keys = list("?", rows);
                format!(
                    "UPDATE {t} SET expires_at = {NOW} + ? \
                     WHERE id_hash IN ({keys}) AND expires_at > {NOW}"
                )
            }),
            standing: Ladder::new(|rows| of_live("id_hash, revision", rows)),
            destroy: sql(format!(
                "DELETE FROM {t} WHERE id_hash = ? AND (? IS NULL OR revision = ?) \
                 AND expires_at > {NOW}"
            )),
            // The index finds the rows; whoever is at work on one keeps it. STRAIGHT_JOIN: else the
            // server may begin with the table itself and wait for each lock.
            gc: sql(format!(
                "DELETE s FROM (SELECT id_hash FROM {t} WHERE expires_at <= {NOW} \
                 ORDER BY expires_at LIMIT ? FOR UPDATE SKIP LOCKED) AS expired \
                 STRAIGHT_JOIN {t} AS s ON s.id_hash = expired.id_hash \
                 WHERE s.expires_at <= {NOW}"
            )),
            table,
        }
    }

    fn schema(&self) -> String {
        let (t, name) = (self.table.quoted('`'), self.table.name());
        format!(
            "CREATE TABLE IF NOT EXISTS {t} (\n    \
             `id_hash` BINARY(32) NOT NULL PRIMARY KEY,\n    \
             `revision` BIGINT NOT NULL,\n    \
             `expires_at` BIGINT NOT NULL,\n    \
             `owner` VARBINARY(255),\n    \
             `payload` LONGBLOB NOT NULL,\n    \
             KEY `{name}_expires_at` (`expires_at`),\n    \
             KEY `{name}_owner` (`owner`)\n\
             ) ENGINE = InnoDB;\n"
        )
    }

    /// The live revisions under these keys. With locks ([`hold`](Self::hold)) they stay so until the
    /// transaction ends.
    async fn revisions(
        &self,
        connection: &mut MySqlConnection,
        statements: &Ladder,
        keys: impl ExactSizeIterator<Item = Key>,
    ) -> sqlx::Result<HashMap<Key, Revision>> {
        let rows = keys_query(statements, None, keys).fetch_all(connection).await?;
        let rows = rows.iter().filter_map(|row| Some((key(row)?, row)));
        rows.map(|(key, row)| Ok((key, Revision::from_i64(row.try_get(1)?)))).collect()
    }

    /// What became of an update of one. The server counts the rows that it found, not those that it
    /// changed (sqlx asks for that), therefore an update that changes nothing counts as well.
    async fn verdict_of_one(
        &self,
        connection: &mut MySqlConnection,
        rows_found: u64,
        change: &Change,
    ) -> sqlx::Result<Verdict> {
        if rows_found > 0 {
            return Ok(Verdict::Done);
        }
        let keys = [change.key].into_iter();
        let standing = self.revisions(connection, &self.standing, keys).await?;
        let standing = standing.get(&change.key).copied();
        Ok(Verdict::of_failed_update(standing, change.record.revision))
    }

    async fn create_one(
        &self,
        connection: &mut MySqlConnection,
        birth: &Birth,
    ) -> sqlx::Result<Verdict> {
        for _ in 0..CREATE_ATTEMPTS {
            let insert = birth_values(sqlx::query(self.insert.clone()), birth);
            match insert.execute(&mut *connection).await {
                Ok(_) => return Ok(Verdict::Done),
                Err(error) if is_duplicate(&error) => {}
                Err(error) => return Err(error),
            }
            let replaced = sqlx::query(self.replace_expired.clone())
                .bind(birth.record.revision.to_i64())
                .bind(&birth.record.payload[..])
                .bind(owner_bytes(&birth.record))
                .bind(birth.ttl)
                .bind(&birth.key.as_bytes()[..])
                .execute(&mut *connection)
                .await?;
            if replaced.rows_affected() > 0 {
                return Ok(Verdict::Done);
            }
            let keys = [birth.key].into_iter();
            if !self.revisions(connection, &self.standing, keys).await?.is_empty() {
                break;
            }
            // What stood there went in between: its place is free.
        }
        Ok(Verdict::Exists)
    }
}

type Query = sqlx::query::Query<'static, MySql, MySqlArguments>;

/// A statement on keys, after one number where there is one; the last key is repeated where there
/// is room for more.
fn keys_query(
    statements: &Ladder,
    first: Option<i64>,
    keys: impl ExactSizeIterator<Item = Key>,
) -> Query {
    let (statement, room) = statements.step(keys.len());
    let padding = room - keys.len();
    let mut query = sqlx::query(statement);
    if let Some(first) = first {
        query = query.bind(first);
    }
    let mut last = None;
    for key in keys {
        query = query.bind(key.as_bytes().to_vec());
        last = Some(key);
    }
    (0..padding).fold(query, |query, _| query.bind(last.map(|key| key.as_bytes().to_vec())))
}

fn birth_values(query: Query, birth: &Birth) -> Query {
    row_values(query, birth.key, &birth.record).bind(birth.ttl)
}

fn row_values(query: Query, key: Key, record: &Record) -> Query {
    query
        .bind(&key.as_bytes()[..])
        .bind(record.revision.to_i64())
        .bind(&record.payload[..])
        .bind(owner_bytes(record))
}

fn change_query(query: Query, change: &Change) -> Query {
    query
        .bind(change.record.revision.to_i64())
        .bind(&change.record.payload[..])
        .bind(owner_bytes(&change.record))
        .bind(change.ttl)
        .bind(&change.key.as_bytes()[..])
        .bind(change.expected.to_i64())
}

fn is_duplicate(error: &sqlx::Error) -> bool {
    matches!(error, sqlx::Error::Database(error) if error.is_unique_violation())
}

impl Dialect for Statements {
    type Database = MySql;

    const NAME: &'static str = "mysql";
    const ONE_WRITER: bool = false;
    const SCHEMAS: bool = true;

    fn classify(error: &dyn DatabaseError) -> Class {
        let Some(error) = error.try_downcast_ref::<MySqlDatabaseError>() else {
            return Class::Other;
        };
        match error.number() {
            1062 => Class::Duplicate,
            // An unknown table, column or database of the table.
            1146 | 1054 => Class::NoTable,
            1044 | 1045 | 1049 | 1142 | 1143 | 1698 => Class::Denied,
            // --read-only, --super-read-only, a read-only transaction.
            1290 | 1792 | 1836 => Class::ReadOnly,
            1213 => Class::Aborted,
            1205 => Class::Busy,
            1021 | 1114 => Class::Full,
            1040 | 1203 => Class::NoConnection,
            1153 | 1301 => Class::TooLarge,
            // The server is shutting down, or this connection was killed.
            1053 | 1079 | 1927 | 4031 => Class::Lost,
            1317 | 1969 | 3024 => Class::TimedOut,
            _ => Class::Other,
        }
    }

    async fn load(
        &self,
        connection: &mut MySqlConnection,
        keys: &[Key],
    ) -> sqlx::Result<Vec<Found>> {
        let query = keys_query(&self.load, None, keys.iter().copied());
        let rows = query.fetch_all(connection).await?;
        Ok(rows.iter().filter_map(found).collect())
    }

    /// Many are inserted where nothing or something expired stands, and what stands there afterwards
    /// tells which were: the transaction holds the rows meanwhile.
    async fn create(
        &self,
        connection: &mut MySqlConnection,
        births: &[Birth],
    ) -> sqlx::Result<Vec<Verdict>> {
        let [first, ..] = births else { return Ok(Vec::new()) };
        if births.len() == 1 {
            return Ok(vec![self.create_one(connection, first).await?]);
        }
        let mut transaction = connection.begin_with(BEGIN).await?;
        let (statement, room) = self.insert_many.step(births.len());
        // A row that is there twice finds itself alive and stays as it is.
        let padding = std::iter::repeat_n(first, room - births.len());
        let query = births.iter().chain(padding).fold(sqlx::query(statement), birth_values);
        query.execute(&mut *transaction).await?;
        let keys = births.iter().map(|birth| birth.key);
        let standing = self.revisions(&mut transaction, &self.hold, keys).await?;
        transaction.commit().await?;
        let ours = |birth: &Birth| standing.get(&birth.key) == Some(&birth.record.revision);
        let verdict = |birth| if ours(birth) { Verdict::Done } else { Verdict::Exists };
        Ok(births.iter().map(verdict).collect())
    }

    /// Many are locked, compared and overwritten in one transaction.
    async fn update(
        &self,
        connection: &mut MySqlConnection,
        changes: &[Change],
    ) -> sqlx::Result<Vec<Verdict>> {
        if let [change] = changes {
            let query = change_query(sqlx::query(self.update_one.clone()), change);
            let found = query.execute(&mut *connection).await?.rows_affected();
            return Ok(vec![self.verdict_of_one(connection, found, change).await?]);
        }
        let mut transaction = connection.begin_with(BEGIN).await?;
        let keys = changes.iter().map(|change| change.key);
        let standing = self.revisions(&mut transaction, &self.hold, keys).await?;
        let standing = |change: &Change| standing.get(&change.key).copied();
        let matches = |change: &&Change| standing(change) == Some(change.expected);
        let matching: Vec<&Change> = changes.iter().filter(matches).collect();
        if let [first, ..] = matching[..] {
            let (statement, room) = self.overwrite.step(matching.len());
            let padding = std::iter::repeat_n(first, room - matching.len());
            let mut query = sqlx::query(statement);
            for change in matching.into_iter().chain(padding) {
                query = row_values(query, change.key, &change.record).bind(change.ttl);
            }
            query.execute(&mut *transaction).await?;
        }
        transaction.commit().await?;
        let verdict = |change: &Change| match matches(&change) {
            true => Verdict::Done,
            false => Verdict::of_failed_update(standing(change), change.record.revision),
        };
        Ok(changes.iter().map(verdict).collect())
    }

    /// Those that get the same life, which is nearly always all, go together. When not all were
    /// found, each is asked for by itself: to touch one once more does no harm.
    async fn touch(
        &self,
        connection: &mut MySqlConnection,
        extensions: &[Extension],
    ) -> sqlx::Result<Vec<Verdict>> {
        let ttl = extensions.first().map_or(0, |one| one.ttl);
        if extensions.iter().all(|one| one.ttl == ttl) {
            let keys = extensions.iter().map(|one| one.key);
            let query = keys_query(&self.touch, Some(ttl), keys);
            let found = query.execute(&mut *connection).await?.rows_affected();
            if found == extensions.len() as u64 {
                return Ok(vec![Verdict::Done; extensions.len()]);
            }
            if extensions.len() == 1 {
                return Ok(vec![Verdict::Gone]);
            }
        }
        let mut verdicts = Vec::with_capacity(extensions.len());
        for Extension { key, ttl } in extensions {
            let query = keys_query(&self.touch, Some(*ttl), [*key].into_iter());
            let found = query.execute(&mut *connection).await?.rows_affected();
            verdicts.push(if found > 0 { Verdict::Done } else { Verdict::Gone });
        }
        Ok(verdicts)
    }

    async fn rotate(
        &self,
        connection: &mut MySqlConnection,
        change: &Change,
        new: &Key,
    ) -> sqlx::Result<Verdict> {
        let query = sqlx::query(self.rotate.clone()).bind(&new.as_bytes()[..]);
        let query = change_query(query, change);
        let found = query.execute(&mut *connection).await?.rows_affected();
        self.verdict_of_one(connection, found, change).await
    }

    /// An expired record is left to gc.
    async fn destroy(
        &self,
        connection: &mut MySqlConnection,
        key: &Key,
        only: Option<Revision>,
    ) -> sqlx::Result<bool> {
        let only = only.map(Revision::to_i64);
        let query = sqlx::query(self.destroy.clone()).bind(&key.as_bytes()[..]);
        let done = query.bind(only).bind(only).execute(connection).await?;
        Ok(done.rows_affected() > 0)
    }

    async fn gc(&self, connection: &mut MySqlConnection, limit: i64) -> sqlx::Result<u64> {
        let query = sqlx::query(self.gc.clone()).bind(limit);
        Ok(query.execute(connection).await?.rows_affected())
    }

    async fn migrate(&self, connection: &mut MySqlConnection) -> sqlx::Result<()> {
        // One statement, indexes included; the server has its own lock for it.
        sqlx::raw_sql(AssertSqlSafe(self.schema())).execute(connection).await.map(drop)
    }
}
