//! session-sql: SQLite in a file and in memory, PostgreSQL and MariaDB.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use session_conformance::{Fixture, Harness};
use session_core::{Backend, Capabilities, Error, Result, async_trait};
use session_sql::{MySqlBackend, PostgresBackend, SqliteBackend};
use sqlx::{
    AssertSqlSafe, ColumnIndex, Database, Decode, Executor, IntoArguments, Pool, Row, Type,
};
use test_servers::{Missing, Server};

const CLAIMS: Capabilities = Capabilities { durable: true, expires_natively: false };

pub(crate) fn harnesses() -> Vec<Box<dyn Harness>> {
    vec![Box::new(SqliteFile), Box::new(SqliteMemory), Box::new(Postgres), Box::new(MariaDb)]
}

struct SqliteFile;

#[async_trait]
impl Harness for SqliteFile {
    fn name(&self) -> &str {
        "sqlite"
    }

    fn capabilities(&self) -> Capabilities {
        CLAIMS
    }

    async fn open(&self) -> Result<Fixture> {
        let directory = Arc::new(tempfile::tempdir().map_err(broken)?);
        let url = format!("sqlite:{}", directory.path().join("sessions.db").display());
        let first = SqliteBackend::connect(&url).await?;
        first.migrate().await?;
        let pool = first.pool().clone();
        Ok(Fixture::connecting(move || {
            let url = url.clone();
            async move { SqliteBackend::connect(&url).await }
        })
        .dumping(move || rows(pool.clone(), "sessions".to_owned()))
        .finally(move || async move { drop(directory) }))
    }
}

struct SqliteMemory;

#[async_trait]
impl Harness for SqliteMemory {
    fn name(&self) -> &str {
        "sqlite-memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: false, ..CLAIMS }
    }

    async fn open(&self) -> Result<Fixture> {
        let backend = SqliteBackend::connect("sqlite::memory:").await?;
        backend.migrate().await?;
        let pool = backend.pool().clone();
        Ok(Fixture::new(backend).dumping(move || rows(pool.clone(), "sessions".to_owned())))
    }
}

struct Postgres;

#[async_trait]
impl Harness for Postgres {
    fn name(&self) -> &str {
        "postgres"
    }

    fn capabilities(&self) -> Capabilities {
        CLAIMS
    }

    async fn open(&self) -> Result<Fixture> {
        let server = match server(test_servers::postgres::shared).await {
            Ok(server) => server,
            Err(missing) => return Ok(Fixture::missing(missing.to_string())),
        };
        let table = fresh_table();
        let first = PostgresBackend::connect(server.url()).await?.with_table(&table)?;
        first.migrate().await?;
        let pool = first.pool().clone();
        let connect = move |table: String| async move {
            PostgresBackend::connect(server.url()).await?.with_table(&table)
        };
        Ok(on_a_server(pool, table, connect))
    }
}

struct MariaDb;

#[async_trait]
impl Harness for MariaDb {
    fn name(&self) -> &str {
        "mariadb"
    }

    fn capabilities(&self) -> Capabilities {
        CLAIMS
    }

    async fn open(&self) -> Result<Fixture> {
        let server = match server(test_servers::mariadb::shared).await {
            Ok(server) => server,
            Err(missing) => return Ok(Fixture::missing(missing.to_string())),
        };
        let table = fresh_table();
        let first = MySqlBackend::connect(server.url()).await?.with_table(&table)?;
        first.migrate().await?;
        let pool = first.pool().clone();
        let connect = move |table: String| async move {
            MySqlBackend::connect(server.url()).await?.with_table(&table)
        };
        Ok(on_a_server(pool, table, connect))
    }
}

type Shared = Result<&'static Server, &'static Missing>;

/// Starts a server on a thread for blocking work.
async fn server(shared: fn() -> Shared) -> Shared {
    let started = tokio::task::spawn_blocking(shared).await;
    started.expect("a server that does not start is an error, no panic")
}

/// The cases share a server, and each has its own table.
fn fresh_table() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("sessions_{}_{number}", std::process::id())
}

fn on_a_server<DB, F, B>(
    pool: Pool<DB>,
    table: String,
    connect: impl Fn(String) -> F + Send + Sync + 'static,
) -> Fixture
where
    DB: Database,
    F: Future<Output = Result<B>> + Send + 'static,
    B: Backend,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    usize: ColumnIndex<DB::Row>,
    for<'r> i64: Decode<'r, DB> + Type<DB>,
    for<'r> Vec<u8>: Decode<'r, DB> + Type<DB>,
{
    let (dumped, dumped_pool) = (table.clone(), pool.clone());
    let dropped = table.clone();
    Fixture::connecting(move || connect(table.clone()))
        .dumping(move || rows(dumped_pool.clone(), dumped.clone()))
        .finally(move || async move {
            let drop = AssertSqlSafe(format!("DROP TABLE {dropped}"));
            // A table that is not dropped is lost with the server.
            let _ = pool.execute(drop).await;
        })
}

/// All the bytes of all the rows.
async fn rows<DB>(pool: Pool<DB>, table: String) -> Result<Vec<u8>>
where
    DB: Database,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
    DB::Arguments: IntoArguments<DB>,
    usize: ColumnIndex<DB::Row>,
    for<'r> i64: Decode<'r, DB> + Type<DB>,
    for<'r> Vec<u8>: Decode<'r, DB> + Type<DB>,
{
    let select = format!("SELECT id_hash, payload, owner, revision, expires_at FROM {table}");
    let rows = sqlx::query(AssertSqlSafe(select)).fetch_all(&pool).await.map_err(broken)?;
    let mut bytes = Vec::new();
    for row in rows {
        for column in 0..3 {
            let value: Option<Vec<u8>> = row.try_get(column).map_err(broken)?;
            bytes.extend(value.unwrap_or_default());
        }
        for column in 3..5 {
            let value: i64 = row.try_get(column).map_err(broken)?;
            bytes.extend(value.to_string().into_bytes());
        }
    }
    Ok(bytes)
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> Error {
    Error::unavailable("the harness failed").with_source(error)
}
