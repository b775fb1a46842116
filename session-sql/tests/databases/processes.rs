//! Ten processes that start at the same moment on an empty database, as a deployment does.

use std::collections::BTreeSet;
use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};

use session_core::{Backend, Result};
use session_sql::{MySqlBackend, PostgresBackend, SqliteBackend};
use sqlx::{AssertSqlSafe, Executor as _, MySqlPool, PgPool, Row as _, SqlitePool};

use crate::common::{create, fresh_table, key, record};

const PROCESSES: u32 = 10;
/// Each on another empty database: one race alone may happen to be none.
const ROUNDS: usize = 3;
const URL: &str = "SESSION_SQL_MIGRATES";
const TABLE: &str = "SESSION_SQL_MIGRATES_TABLE";
const NUMBER: &str = "SESSION_SQL_MIGRATES_AS";
const READY: &str = "ready to migrate";

/// What they must all agree on.
const COLUMNS: [&str; 5] = ["expires_at", "id_hash", "owner", "payload", "revision"];

#[tokio::test(flavor = "multi_thread")]
async fn ten_processes_migrate_postgres_at_once() {
    if let Some(started) = Started::as_one_of_many() {
        started.wait();
        let backend = PostgresBackend::connect(&started.url).await.unwrap();
        let backend = backend.with_table(&started.table).unwrap();
        started.wait();
        backend.migrate().await.unwrap();
        backend.migrate().await.unwrap();
        return started.saves(&backend).await.unwrap();
    }
    let url = test_servers::postgres::shared().expect("PostgreSQL").url();
    let pool = PgPool::connect(url).await.unwrap();
    for _ in 0..ROUNDS {
        let schema = fresh_table();
        pool.execute(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).await.unwrap();
        let table = format!("{schema}.web_sessions");
        at_once("ten_processes_migrate_postgres_at_once", url, &table);
        let columns = format!(
            "SELECT column_name::text FROM information_schema.columns \
             WHERE table_schema = '{schema}'"
        );
        assert_eq!(names(&pool, columns).await, COLUMNS);
        let indexes =
            format!("SELECT indexname::text FROM pg_indexes WHERE schemaname = '{schema}'");
        let expected = ["web_sessions_expires_at", "web_sessions_owner", "web_sessions_pkey"];
        assert_eq!(names(&pool, indexes).await, expected);
        let backend = PostgresBackend::connect(url).await.unwrap().with_table(&table).unwrap();
        backend.migrate().await.unwrap();
        all_are_there(&backend).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_processes_migrate_mariadb_at_once() {
    if let Some(started) = Started::as_one_of_many() {
        started.wait();
        let backend = MySqlBackend::connect(&started.url).await.unwrap();
        let backend = backend.with_table(&started.table).unwrap();
        started.wait();
        backend.migrate().await.unwrap();
        backend.migrate().await.unwrap();
        return started.saves(&backend).await.unwrap();
    }
    let url = test_servers::mariadb::shared().expect("MariaDB").url();
    let pool = MySqlPool::connect(url).await.unwrap();
    for _ in 0..ROUNDS {
        let schema = fresh_table();
        pool.execute(AssertSqlSafe(format!("CREATE DATABASE {schema}"))).await.unwrap();
        let table = format!("{schema}.web_sessions");
        at_once("ten_processes_migrate_mariadb_at_once", url, &table);
        let columns = format!(
            "SELECT column_name FROM information_schema.columns WHERE table_schema = '{schema}'"
        );
        assert_eq!(names(&pool, columns).await, COLUMNS);
        let indexes = format!(
            "SELECT index_name FROM information_schema.statistics WHERE table_schema = '{schema}'"
        );
        let expected = ["PRIMARY", "web_sessions_expires_at", "web_sessions_owner"];
        assert_eq!(names(&pool, indexes).await, expected);
        let backend = MySqlBackend::connect(url).await.unwrap().with_table(&table).unwrap();
        backend.migrate().await.unwrap();
        all_are_there(&backend).await;
    }
}

/// There is not even a file: to open it is part of the race.
#[tokio::test(flavor = "multi_thread")]
async fn ten_processes_migrate_sqlite_at_once() {
    if let Some(started) = Started::as_one_of_many() {
        started.wait();
        let backend = SqliteBackend::connect(&started.url).await.unwrap();
        let backend = backend.with_table(&started.table).unwrap();
        started.wait();
        backend.migrate().await.unwrap();
        backend.migrate().await.unwrap();
        return started.saves(&backend).await.unwrap();
    }
    for _ in 0..ROUNDS {
        let directory = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", directory.path().join("sessions.db").display());
        at_once("ten_processes_migrate_sqlite_at_once", &url, "web_sessions");
        let pool = SqlitePool::connect(&url).await.unwrap();
        let columns = "SELECT name FROM pragma_table_info('web_sessions')".to_owned();
        assert_eq!(names(&pool, columns).await, COLUMNS);
        let indexes = "SELECT name FROM pragma_index_list('web_sessions')".to_owned();
        let expected =
            ["sqlite_autoindex_web_sessions_1", "web_sessions_expires_at", "web_sessions_owner"];
        assert_eq!(names(&pool, indexes).await, expected);
        let backend = SqliteBackend::connect(&url).await.unwrap();
        let backend = backend.with_table("web_sessions").unwrap();
        backend.migrate().await.unwrap();
        all_are_there(&backend).await;
    }
}

/// What a process that was started for it is to do.
struct Started {
    url: String,
    table: String,
    number: u32,
}

impl Started {
    fn as_one_of_many() -> Option<Self> {
        Some(Self {
            url: std::env::var(URL).ok()?,
            table: std::env::var(TABLE).ok()?,
            number: std::env::var(NUMBER).ok()?.parse().ok()?,
        })
    }

    /// Until all are ready.
    fn wait(&self) {
        std::io::stdout().write_all(format!("\n{READY}\n").as_bytes()).unwrap();
        std::io::stdin().read_line(&mut String::new()).unwrap();
    }

    async fn saves(&self, backend: &impl Backend) -> Result<()> {
        backend.save(&key(self.number), &record(1), create()).await
    }
}

/// Starts this test in `PROCESSES` processes, which wait for each other before they connect and before they
/// migrate.
fn at_once(test: &str, url: &str, table: &str) {
    let start = |number: u32| {
        Command::new(std::env::current_exe().unwrap())
            .args(["--exact", &format!("processes::{test}"), "--nocapture"])
            .env(URL, url)
            .env(TABLE, table)
            .env(NUMBER, number.to_string())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap()
    };
    let mut started: Vec<Child> = (0..PROCESSES).map(start).collect();
    let mut said: Vec<_> = started
        .iter_mut()
        .map(|child| BufReader::new(child.stdout.take().unwrap()).lines())
        .collect();
    // First to connect, then to migrate.
    for _ in 0..2 {
        for lines in &mut said {
            // Whoever has failed is ready, too.
            lines.by_ref().map_while(|line| line.ok()).any(|line| line == READY);
        }
        for child in &mut started {
            let _ = child.stdin.as_mut().unwrap().write_all(b"go\n");
        }
    }
    let ended: Vec<_> =
        started.into_iter().map(|child| child.wait_with_output().unwrap()).collect();
    let failed: Vec<_> = ended.iter().filter(|output| !output.status.success()).collect();
    let said = failed.iter().map(|output| String::from_utf8_lossy(&output.stderr));
    let said: String = said.collect();
    assert!(failed.is_empty(), "{} of {PROCESSES} failed: {said}", failed.len());
}

async fn names<DB>(pool: &sqlx::Pool<DB>, select: String) -> Vec<String>
where
    DB: sqlx::Database,
    for<'c> &'c mut DB::Connection: sqlx::Executor<'c, Database = DB>,
    for<'r> String: sqlx::Decode<'r, DB> + sqlx::Type<DB>,
    usize: sqlx::ColumnIndex<DB::Row>,
{
    let rows = pool.fetch_all(AssertSqlSafe(select)).await.unwrap();
    let names: BTreeSet<String> = rows.iter().map(|row| row.get(0)).collect();
    names.into_iter().collect()
}

async fn all_are_there(backend: &impl Backend) {
    for number in 0..PROCESSES {
        assert_eq!(backend.load(&key(number)).await.unwrap().unwrap().record, record(1));
    }
}
