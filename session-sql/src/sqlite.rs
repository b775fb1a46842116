//! SQLite.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use session_core::{
    Backend, Capabilities, Error, ErrorKind, Key, Loaded, Record, Result, Revision, Update, Write,
    async_trait,
};
use sqlx::error::DatabaseError;
use sqlx::sqlite::{
    SqliteArguments, SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use sqlx::{
    AssertSqlSafe, ConnectOptions as _, Connection as _, SqlSafeStr as _, SqlStr, Sqlite,
    SqliteConnection, SqlitePool,
};
use tokio::time::{Instant, sleep};

use crate::backend::backend;
use crate::connections::{ACQUIRE_TIMEOUT, Connections};
use crate::dialect::{
    Birth, Change, Dialect, Extension, Found, Verdict, found, key, owner_bytes, verdicts,
};
use crate::engine::{Engine, Settings};
use crate::fault::{Class, Fault};
use crate::ladder::{Ladder, list};
use crate::table::Table;

/// One that writes, some that read, and some for who asks for [`SqliteBackend::pool`].
const MAX_CONNECTIONS: u32 = 8;
const KEEP: usize = 5;
/// How long a statement waits for the lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);
/// Rows that the driver's thread may be ahead: a whole batch.
const ROW_BUFFER: usize = 128;
const SETTINGS: Settings =
    Settings { group_commit: true, durable: true, load_lanes: 2, write_lanes: 1 };

/// Sessions in SQLite (3.42 or newer; the one that is built in is).
///
/// Cheap to clone; clones share connections and batches. A future that is dropped does not break
/// off its statement: what was sent is carried out. There is one writer at a time and several
/// readers beside it, therefore "database is locked" can only come from another process that holds
/// the lock for more than 3 s.
///
/// The table, as [`schema`](Self::schema) shows and [`migrate`](Self::migrate) creates it
/// (`WITHOUT ROWID`):
///
/// | column | type | holds |
/// |---|---|---|
/// | `id_hash` | `BLOB`, primary key | the SHA-256 of the session id, 32 bytes |
/// | `revision` | `INTEGER` | 64 random bits of the last writer |
/// | `expires_at` | `INTEGER` | the deadline, in milliseconds since 1970 UTC by this machine's clock |
/// | `owner` | `BLOB`, or null | whose session it is, UTF-8 |
/// | `payload` | `BLOB` | the session's document, JSON in UTF-8, up to 1 GB |
///
/// Indexes: the primary key; `<table>_expires_at`, by which gc finds what expired; `<table>_owner`,
/// where there is an owner. To read it: `SELECT CAST(payload AS TEXT) FROM sessions`.
#[derive(Clone, Debug)]
pub struct SqliteBackend(Engine<Statements>);

backend!(SqliteBackend, SqlitePool);

impl SqliteBackend {
    /// Opens `sqlite:path/to/file`, or `sqlite::memory:`. The file is created when it is missing,
    /// readable and writable by its owner only (mode 0600, and so are the files `-wal` and `-shm`
    /// beside it); one that exists keeps its mode. It is switched to write-ahead logging with
    /// `synchronous = NORMAL`: a crash of the process loses nothing, one of the machine may lose
    /// the last moments, and neither leaves half a record.
    ///
    /// `?mode=ro` opens a database that must exist for reading only.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that is none, and for a file that can't be opened or is no
    /// database.
    pub async fn connect(url: &str) -> Result<Self> {
        let opened = Self::open(url).await;
        opened.map_err(|error| error.with_operation("connect").with_backend(Statements::NAME))
    }

    async fn open(url: &str) -> Result<Self> {
        let options: sqlx::Result<SqliteConnectOptions> = url.parse();
        let options = options.map_err(|error| Fault::new(error, Statements::classify).error())?;
        let options = options
            .busy_timeout(BUSY_TIMEOUT)
            .row_buffer_size(ROW_BUFFER)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new().idle_timeout(None).max_lifetime(None);
        let (pool, options, settings) = match Mode::of(url) {
            // Such a database belongs to its connection, and is gone with it.
            Mode::Memory => {
                let settings = Settings { durable: false, load_lanes: 1, ..SETTINGS };
                (pool.max_connections(1), options, settings)
            }
            Mode::ReadOnly => (pool.max_connections(MAX_CONNECTIONS), options, SETTINGS),
            Mode::File => {
                create_private(options.get_filename())?;
                let options = options
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Normal);
                (pool.max_connections(MAX_CONNECTIONS), options, SETTINGS)
            }
        };
        let keep = if settings.durable { KEEP } else { 0 };
        let backend = Self::over(Connections::own(pool, options, true, keep), settings);
        // The switch to write-ahead logging waits for nobody, and others may be at it, too.
        let give_up = Instant::now() + ACQUIRE_TIMEOUT;
        loop {
            match backend.0.check().await {
                Err(error) if is_busy(&error) && Instant::now() < give_up => {
                    sleep(Duration::from_millis(20)).await;
                }
                checked => return checked.map(|()| backend),
            }
        }
    }
}

enum Mode {
    Memory,
    ReadOnly,
    File,
}

impl Mode {
    fn of(url: &str) -> Self {
        let (database, settings) = url.split_once('?').unwrap_or((url, ""));
        let has = |setting| settings.split('&').any(|one| one == setting);
        if database.ends_with(":memory:") || has("mode=memory") {
            Self::Memory
        } else if has("mode=ro") {
            Self::ReadOnly
        } else {
            Self::File
        }
    }
}

/// Creates the file before SQLite does, which would let everybody read it. SQLite gives the files
/// beside it the same mode.
fn create_private(path: &Path) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = options.open(path).map(drop);
    opened.map_err(|error| {
        Error::invalid_config("the database's file can't be opened or created").with_source(error)
    })
}

fn is_busy(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable
}

/// Milliseconds since 1970, one value for the whole statement.
const NOW: &str = "CAST(unixepoch('subsec') * 1000 AS INTEGER)";

#[derive(Clone, Debug)]
struct Statements {
    table: Table,
    load: Ladder,
    create: Ladder,
    update_one: SqlStr,
    renew_one: SqlStr,
    update: Ladder,
    renew: Ladder,
    touch: Ladder,
    rotate: SqlStr,
    standing: Ladder,
    destroy: SqlStr,
    gc: SqlStr,
}

impl Statements {
    fn new(table: Table) -> Self {
        let sql = |text: String| AssertSqlSafe(text).into_sql_str();
        let t = table.quoted('"');
        // A deadline that is assigned, even to itself, costs as much as all the rest: its index is
        // written. Most updates leave it alone, therefore they have statements of their own.
        let update_one = |set: &str| {
            sql(format!(
                "UPDATE {t} SET revision = ?3, payload = ?4, owner = ?5 {set} \
                 WHERE id_hash = ?1 AND revision = ?2 AND expires_at > {NOW}"
            ))
        };
        let renew = format!(", expires_at = coalesce({NOW} + ?6, expires_at)");
        // The `+` keeps the planner from walking the index of the deadlines, which are nearly all.
        let update = |set: String| {
            Ladder::new(|rows| {
                format!(
                    "UPDATE {t} AS s SET revision = i.column3, payload = i.column4, \
                     owner = i.column5 {set} FROM (VALUES {}) AS i WHERE s.id_hash = i.column1 \
                     AND +s.revision = i.column2 AND +s.expires_at > {NOW} RETURNING id_hash",
                    list("(?, ?, ?, ?, ?, ?)", rows)
                )
            })
        };
        Self {
            load: Ladder::new(|rows| {
                format!(
                    "SELECT id_hash, revision, owner, payload, expires_at - {NOW} FROM {t} \
                     WHERE id_hash IN ({}) AND +expires_at > {NOW}",
                    list("?", rows)
                )
            }),
            create: Ladder::new(|rows| {
                format!(
                    "INSERT INTO {t} AS s (id_hash, revision, payload, owner, expires_at) \
                     SELECT column1, column2, column3, column4, {NOW} + column5 \
                     FROM (VALUES {}) WHERE column1 IS NOT NULL \
                     ON CONFLICT (id_hash) DO UPDATE SET revision = excluded.revision, \
                     payload = excluded.payload, owner = excluded.owner, \
                     expires_at = excluded.expires_at WHERE s.expires_at <= {NOW} \
                     RETURNING id_hash",
                    list("(?, ?, ?, ?, ?)", rows)
                )
            }),
            update_one: update_one(""),
            renew_one: update_one(&renew),
            rotate: update_one(&format!("{renew}, id_hash = ?7")),
            update: update(String::new()),
            renew: update(format!(", expires_at = coalesce({NOW} + i.column6, s.expires_at)")),
            touch: Ladder::new(|rows| {
                format!(
                    "UPDATE {t} AS s SET expires_at = {NOW} + i.column2 \
                     FROM (VALUES {}) AS i WHERE s.id_hash = i.column1 \
                     AND +s.expires_at > {NOW} RETURNING id_hash",
                    list("(?, ?)", rows)
                )
            }),
            standing: Ladder::new(|rows| {
                format!(
                    "SELECT id_hash, revision FROM {t} \
                     WHERE id_hash IN ({}) AND expires_at > {NOW}",
                    list("?", rows)
                )
            }),
            destroy: sql(format!(
                "DELETE FROM {t} WHERE id_hash = ?1 AND (?2 IS NULL OR revision = ?2) \
                 RETURNING expires_at > {NOW}"
            )),
            gc: sql(format!(
                "DELETE FROM {t} WHERE id_hash IN (SELECT id_hash FROM {t} \
                 WHERE expires_at <= {NOW} ORDER BY expires_at LIMIT ?1) AND expires_at <= {NOW}"
            )),
            table,
        }
    }

    fn schema(&self) -> String {
        let (t, name) = (self.table.quoted('"'), self.table.name());
        format!(
            "CREATE TABLE IF NOT EXISTS {t} (\n    \
             id_hash BLOB NOT NULL PRIMARY KEY CHECK (length(id_hash) = 32),\n    \
             revision INTEGER NOT NULL,\n    \
             expires_at INTEGER NOT NULL,\n    \
             owner BLOB,\n    \
             payload BLOB NOT NULL\n\
             ) WITHOUT ROWID;\n\
             CREATE INDEX IF NOT EXISTS \"{name}_expires_at\" ON {t} (expires_at);\n\
             CREATE INDEX IF NOT EXISTS \"{name}_owner\" ON {t} (owner) WHERE owner IS NOT NULL;\n"
        )
    }

    /// What became of updates that matched nothing. The row they did not write is nobody else's
    /// business, so it may be looked at afterwards.
    async fn explain(
        &self,
        connection: &mut SqliteConnection,
        changes: &[&Change],
    ) -> sqlx::Result<Vec<Verdict>> {
        let keys = changes.iter().map(|change| change.key);
        let rows = keys_query(&self.standing, keys).fetch_all(connection).await?;
        let mut verdicts = Vec::with_capacity(changes.len());
        for change in changes {
            let row = rows.iter().find(|row| key(*row) == Some(change.key));
            let standing: Option<i64> = row.map(|row| sqlx::Row::try_get(row, 1)).transpose()?;
            let standing = standing.map(Revision::from_i64);
            verdicts.push(Verdict::of_failed_update(standing, change.record.revision));
        }
        Ok(verdicts)
    }

    async fn update_one(
        &self,
        connection: &mut SqliteConnection,
        query: Query,
        change: &Change,
    ) -> sqlx::Result<Verdict> {
        match query.execute(&mut *connection).await?.rows_affected() {
            0 => Ok(self.explain(connection, &[change]).await?[0]),
            _ => Ok(Verdict::Done),
        }
    }
}

type Query = sqlx::query::Query<'static, Sqlite, SqliteArguments>;

fn key_bytes(key: Key) -> Vec<u8> {
    key.as_bytes().to_vec()
}

/// A statement on keys; the last one is repeated where there is room for more.
fn keys_query(statements: &Ladder, keys: impl ExactSizeIterator<Item = Key>) -> Query {
    let (statement, room) = statements.step(keys.len());
    let mut bound = 0;
    let mut last = None;
    let mut query = sqlx::query(statement);
    for key in keys {
        query = query.bind(key_bytes(key));
        last = Some(key);
        bound += 1;
    }
    for _ in bound..room {
        query = query.bind(last.map(key_bytes));
    }
    query
}

fn change_query(query: Query, change: &Change) -> Query {
    query
        .bind(key_bytes(change.key))
        .bind(change.expected.to_i64())
        .bind(change.record.revision.to_i64())
        .bind(change.record.payload.to_vec())
        .bind(owner_bytes(&change.record).map(<[u8]>::to_vec))
        .bind(change.ttl)
}

impl Dialect for Statements {
    type Database = Sqlite;

    const NAME: &'static str = "sqlite";
    const ONE_WRITER: bool = true;
    const SCHEMAS: bool = false;

    fn classify(error: &dyn DatabaseError) -> Class {
        let code: i32 = error.code().and_then(|code| code.parse().ok()).unwrap_or(0);
        // The low byte is the class of the error, see https://sqlite.org/rescode.html.
        match (code, code & 0xff) {
            (1555 | 2067, _) => Class::Duplicate,
            (_, 1) if error.message().starts_with("no such") => Class::NoTable,
            (_, 1) if error.message().contains("has no column") => Class::NoTable,
            (_, 5 | 6) => Class::Busy,
            (_, 8) => Class::ReadOnly,
            (_, 13) => Class::Full,
            (_, 14 | 26) => Class::Misconfigured,
            (_, 18) => Class::TooLarge,
            _ => Class::Other,
        }
    }

    async fn load(
        &self,
        connection: &mut SqliteConnection,
        keys: &[Key],
    ) -> sqlx::Result<Vec<Found>> {
        let query = keys_query(&self.load, keys.iter().copied());
        let rows = query.fetch_all(connection).await?;
        Ok(rows.iter().filter_map(found).collect())
    }

    async fn create(
        &self,
        connection: &mut SqliteConnection,
        births: &[Birth],
    ) -> sqlx::Result<Vec<Verdict>> {
        let (statement, room) = self.create.step(births.len());
        let mut query = sqlx::query(statement);
        for Birth { key, record, ttl } in births {
            query = query
                .bind(key_bytes(*key))
                .bind(record.revision.to_i64())
                .bind(record.payload.to_vec())
                .bind(owner_bytes(record).map(<[u8]>::to_vec))
                .bind(*ttl);
        }
        let rows = with_nulls(query, (room - births.len()) * 5).fetch_all(connection).await?;
        let keys = births.iter().map(|birth| birth.key);
        Ok(verdicts(keys, &rows, Verdict::Exists))
    }

    async fn update(
        &self,
        connection: &mut SqliteConnection,
        changes: &[Change],
    ) -> sqlx::Result<Vec<Verdict>> {
        if let [change] = changes {
            let statement = change.ttl.map_or(&self.update_one, |_| &self.renew_one);
            let query = change_query(sqlx::query(statement.clone()), change);
            return Ok(vec![self.update_one(connection, query, change).await?]);
        }
        let renews = changes.iter().any(|change| change.ttl.is_some());
        let statements = if renews { &self.renew } else { &self.update };
        let (statement, room) = statements.step(changes.len());
        let query = changes.iter().fold(sqlx::query(statement), change_query);
        let query = with_nulls(query, (room - changes.len()) * 6);
        let rows = query.fetch_all(&mut *connection).await?;
        let keys = changes.iter().map(|change| change.key);
        let mut outcome = verdicts(keys, &rows, Verdict::Conflict);
        let failed = |verdict: &Verdict| *verdict != Verdict::Done;
        if outcome.iter().any(failed) {
            let of_failed = changes.iter().zip(&outcome).filter(|(_, verdict)| failed(verdict));
            let of_failed: Vec<&Change> = of_failed.map(|(change, _)| change).collect();
            let explained = self.explain(connection, &of_failed).await?;
            let slots = outcome.iter_mut().filter(|verdict| failed(verdict));
            for (slot, verdict) in slots.zip(explained) {
                *slot = verdict;
            }
        }
        Ok(outcome)
    }

    async fn touch(
        &self,
        connection: &mut SqliteConnection,
        extensions: &[Extension],
    ) -> sqlx::Result<Vec<Verdict>> {
        let (statement, room) = self.touch.step(extensions.len());
        let mut query = sqlx::query(statement);
        for Extension { key, ttl } in extensions {
            query = query.bind(key_bytes(*key)).bind(*ttl);
        }
        let query = with_nulls(query, (room - extensions.len()) * 2);
        let rows = query.fetch_all(connection).await?;
        let keys = extensions.iter().map(|one| one.key);
        Ok(verdicts(keys, &rows, Verdict::Gone))
    }

    async fn rotate(
        &self,
        connection: &mut SqliteConnection,
        change: &Change,
        new: &Key,
    ) -> sqlx::Result<Verdict> {
        let query = change_query(sqlx::query(self.rotate.clone()), change);
        self.update_one(connection, query.bind(key_bytes(*new)), change).await
    }

    async fn destroy(
        &self,
        connection: &mut SqliteConnection,
        key: &Key,
        only: Option<Revision>,
    ) -> sqlx::Result<bool> {
        let lived: Option<bool> = sqlx::query_scalar(self.destroy.clone())
            .bind(key_bytes(*key))
            .bind(only.map(Revision::to_i64))
            .fetch_optional(connection)
            .await?;
        Ok(lived.unwrap_or(false))
    }

    async fn gc(&self, connection: &mut SqliteConnection, limit: i64) -> sqlx::Result<u64> {
        let query = sqlx::query(self.gc.clone()).bind(limit);
        Ok(query.execute(connection).await?.rows_affected())
    }

    async fn migrate(&self, connection: &mut SqliteConnection) -> sqlx::Result<()> {
        // Takes the lock at once: one that reads first and then wants to write may not wait.
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        sqlx::raw_sql(AssertSqlSafe(self.schema())).execute(&mut *transaction).await?;
        transaction.commit().await
    }
}

/// Fills up rows; a null key matches nothing.
fn with_nulls(query: Query, parameters: usize) -> Query {
    (0..parameters).fold(query, |query, _| query.bind(None::<i64>))
}
