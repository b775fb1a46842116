//! Servers as people run them: roles with few rights or few connections, connections that lead to the wrong
//! server, schema changes, serializable transactions.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use session_core::{Backend, ErrorKind, Record};
use session_sql::{MySqlBackend, PostgresBackend};
use sqlx::{AssertSqlSafe, Executor as _, MySqlPool, PgPool};
use test_servers::{Options, Server};

use crate::common::{LIFE, create, key, over, record, revision};

async fn postgres() -> (Server, PgPool, String) {
    let server = test_servers::postgres::start_new(Options::default()).expect("PostgreSQL");
    let admin = PgPool::connect(server.url()).await.unwrap();
    PostgresBackend::from_pool(admin.clone()).migrate().await.unwrap();
    admin.execute("CREATE ROLE app LOGIN").await.unwrap();
    admin.execute("GRANT SELECT, INSERT, UPDATE, DELETE ON sessions TO app").await.unwrap();
    let url = server.url().replace("postgres@", "app@");
    (server, admin, url)
}

async fn mariadb() -> (Server, MySqlPool, String) {
    let server = test_servers::mariadb::start_new(Options::default()).expect("MariaDB");
    let admin = MySqlPool::connect(server.url()).await.unwrap();
    MySqlBackend::from_pool(admin.clone()).migrate().await.unwrap();
    admin.execute("CREATE USER app IDENTIFIED BY 'right'").await.unwrap();
    let grant = "GRANT SELECT, INSERT, UPDATE, DELETE ON sessions.sessions TO app";
    admin.execute(grant).await.unwrap();
    let url = server.url().replace("root@", "app:right@");
    (server, admin, url)
}

#[tokio::test]
async fn a_role_without_the_right_to_create_starts() {
    let (_server, admin, url) = postgres().await;
    // From PostgreSQL 15 on it is so by default.
    admin.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC").await.unwrap();
    let backend = PostgresBackend::connect(&url).await.unwrap();
    backend.migrate().await.unwrap();
    serves(&backend).await;
    let (_server, _, url) = mariadb().await;
    let backend = MySqlBackend::connect(&url).await.unwrap();
    backend.migrate().await.unwrap();
    serves(&backend).await;
}

async fn serves(backend: &impl Backend) {
    backend.save(&key(0), &record(1), create()).await.unwrap();
    backend.save(&key(0), &record(2), over(1)).await.unwrap();
    backend.touch(&key(0), revision(2), LIFE).await.unwrap();
    assert_eq!(backend.load(&key(0)).await.unwrap().unwrap().record, record(2));
    assert!(backend.destroy(&key(0), None).await.unwrap());
    backend.gc(10).await.unwrap();
}

/// Connections that were made to it stay read-only: so does one to a primary that was demoted.
#[tokio::test]
async fn connections_to_a_demoted_primary_are_given_up() {
    let (_server, admin, url) = postgres().await;
    let set = "ALTER ROLE app SET default_transaction_read_only = on";
    admin.execute(set).await.unwrap();
    let backend = Arc::new(PostgresBackend::connect(&url).await.unwrap());
    is_given_up(backend, async || {
        admin.execute("ALTER ROLE app RESET default_transaction_read_only").await.unwrap();
    })
    .await;
    let (_server, admin, url) = mariadb().await;
    let set = "SET GLOBAL init_connect = 'SET SESSION TRANSACTION READ ONLY'";
    admin.execute(set).await.unwrap();
    let backend = Arc::new(MySqlBackend::connect(&url).await.unwrap());
    is_given_up(backend, async || {
        admin.execute("SET GLOBAL init_connect = ''").await.unwrap();
    })
    .await;
}

async fn is_given_up(backend: Arc<impl Backend>, promote: impl AsyncFn()) {
    at_once(&backend, 16, async |backend, number| {
        assert!(backend.load(&key(number)).await.unwrap().is_none());
    })
    .await;
    let saved = backend.save(&key(0), &record(1), create()).await;
    let error = saved.unwrap_err();
    assert!(error.message().contains("read-only") && error.nothing_was_written(), "{error:?}");
    promote().await;
    tokio::time::sleep(Duration::from_millis(1500)).await;
    // Whichever connection fails now, it is the last time, and the others go with it.
    let _ = backend.save(&key(0), &record(1), create()).await;
    at_once(&backend, 16, async |backend, number| {
        backend.save(&key(100 + number), &record(1), create()).await.unwrap();
    })
    .await;
}

/// The server plans prepared statements anew, but does not change the type of their results.
#[tokio::test]
async fn a_changed_column_costs_one_more_attempt() {
    let (_server, admin, url) = postgres().await;
    let backend = PostgresBackend::connect(&url).await.unwrap();
    let record = Record { owner: None, ..record(1) };
    backend.save(&key(0), &record, create()).await.unwrap();
    for change in ["TYPE varchar USING NULL", "TYPE bytea USING NULL"] {
        assert!(backend.load(&key(0)).await.unwrap().is_some());
        let alter = format!("ALTER TABLE sessions ALTER owner {change}");
        admin.execute(AssertSqlSafe(alter)).await.unwrap();
        assert_eq!(backend.load(&key(0)).await.unwrap().unwrap().record, record);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn few_connections_are_enough() {
    let (server, admin, url) = postgres().await;
    admin.execute("ALTER ROLE app CONNECTION LIMIT 4").await.unwrap();
    let many = PostgresBackend::connect(server.url()).await.unwrap();
    few_are_enough(PostgresBackend::connect(&url).await.unwrap(), many).await;
    let (server, admin, url) = mariadb().await;
    admin.execute("ALTER USER app WITH MAX_USER_CONNECTIONS 4").await.unwrap();
    let many = MySqlBackend::connect(server.url()).await.unwrap();
    few_are_enough(MySqlBackend::connect(&url).await.unwrap(), many).await;
}

async fn few_are_enough<B: Backend>(few: B, many: B) {
    let [few, many] = [Arc::new(few), Arc::new(many)];
    let round = async |backend: &Arc<B>, operations: u32| {
        let start = Instant::now();
        at_once(backend, 64, async |backend, number| {
            for _ in 0..operations {
                backend.load(&key(number)).await.unwrap();
            }
        })
        .await;
        start.elapsed()
    };
    // In the first one they find out how many there are.
    round(&few, 10).await;
    round(&many, 10).await;
    // It would take seconds for each that waits for a connection in vain. Other tests may be in the way.
    let mut took = Vec::new();
    for _ in 0..4 {
        took.push((round(&few, 100).await, round(&many, 100).await));
    }
    let is_enough = took.iter().any(|(few, many)| *few < *many * 3);
    assert!(is_enough, "(with four connections, with ten): {took:?}");
}

/// Two that write one row at the same time fail to serialize; of all of them, one wins.
#[tokio::test(flavor = "multi_thread")]
async fn serialization_failures_are_repeated() {
    let (_server, admin, url) = postgres().await;
    let set = "ALTER ROLE app SET default_transaction_isolation = 'serializable'";
    admin.execute(set).await.unwrap();
    let backend = Arc::new(PostgresBackend::connect(&url).await.unwrap());
    backend.save(&key(0), &record(0), create()).await.unwrap();
    for round in 0..30_u64 {
        let current = backend.load(&key(0)).await.unwrap().unwrap().record.revision;
        let winners = AtomicU32::new(0);
        at_once(&backend, 8, async |backend, number| {
            let next = record(round * 100 + u64::from(number) + 1);
            match backend.save(&key(0), &next, over(current.to_u64())).await {
                Ok(()) => drop(winners.fetch_add(1, Ordering::Relaxed)),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
            }
        })
        .await;
        assert_eq!(winners.into_inner(), 1);
    }
}

async fn at_once<B: Backend>(backend: &Arc<B>, tasks: u32, work: impl AsyncFn(&B, u32) + Copy) {
    let mut all: Vec<_> = (0..tasks).map(|number| Box::pin(work(backend, number))).collect();
    std::future::poll_fn(|context| {
        all.retain_mut(|one| one.as_mut().poll(context).is_pending());
        if all.is_empty() { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
