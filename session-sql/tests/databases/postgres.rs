use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::{Backend, ErrorKind, Key};
use session_sql::PostgresBackend;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Executor as _, PgPool, Row as _};
use test_servers::{Options, Server};

use crate::common::{self, create, fresh_table, key, kind, over, record};
use crate::outages;

fn shared() -> &'static str {
    test_servers::postgres::shared().expect("PostgreSQL").url()
}

fn own() -> Server {
    test_servers::postgres::start_new(Options::default()).expect("PostgreSQL")
}

async fn backend() -> PostgresBackend {
    let backend = PostgresBackend::connect(shared()).await.unwrap();
    let backend = backend.with_table(&fresh_table()).unwrap();
    backend.migrate().await.unwrap();
    backend
}

async fn on(server: &Server) -> Arc<dyn Backend> {
    let backend = PostgresBackend::connect(server.url()).await.unwrap();
    backend.migrate().await.unwrap();
    Arc::new(backend)
}

#[tokio::test(flavor = "multi_thread")]
async fn each_of_a_batch_has_its_own_verdict() {
    common::each_of_a_batch_has_its_own_verdict(Arc::new(backend().await)).await;
    let alone = backend().await.group_commit(false);
    common::each_of_a_batch_has_its_own_verdict(Arc::new(alone)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn batches_of_two_servers_agree() {
    let table = fresh_table();
    let connect = async || {
        let backend = PostgresBackend::connect(shared()).await.unwrap();
        let backend = backend.with_table(&table).unwrap();
        backend.migrate().await.unwrap();
        Arc::new(backend)
    };
    common::batches_of_two_servers_agree(connect().await, connect().await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn who_goes_away_harms_nobody() {
    common::who_goes_away_harms_nobody(Arc::new(backend().await)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_no_session_is_corrupt() {
    let table = fresh_table();
    let backend = PostgresBackend::connect(shared()).await.unwrap().with_table(&table).unwrap();
    backend.migrate().await.unwrap();
    let insert = format!(
        "INSERT INTO {table} (id_hash, revision, expires_at, owner, payload) \
         VALUES (decode(repeat('00', 32), 'hex'), 1, 4000000000000, '\\xff', '')"
    );
    backend.pool().execute(AssertSqlSafe(insert)).await.unwrap();
    let broken = Key::from_bytes([0; 32]);
    common::a_row_that_is_no_session_is_corrupt(Arc::new(backend), broken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn ten_migrate_at_once_in_a_schema() {
    let schema = format!("s{}", std::process::id());
    let pool = PgPool::connect(shared()).await.unwrap();
    pool.execute(AssertSqlSafe(format!("CREATE SCHEMA {schema}"))).await.unwrap();
    let migrating: Vec<_> = (0..10)
        .map(|number| {
            let table = format!("{schema}.web_sessions");
            tokio::spawn(async move {
                let backend = PostgresBackend::connect(shared()).await?.with_table(&table)?;
                backend.migrate().await?;
                backend.migrate().await?;
                backend.save(&key(number), &record(1), create()).await
            })
        })
        .collect();
    for one in migrating {
        one.await.unwrap().unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_killed_and_comes_back() {
    let server = own();
    let backend = on(&server).await;
    outages::server_is_killed_and_comes_back(server, backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_server_is_paused_and_goes_on() {
    let server = own();
    let backend = on(&server).await;
    outages::server_is_paused_and_goes_on(server, backend).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_terminated() {
    let server = own();
    let backend = on(&server).await;
    let admin = PgPool::connect(server.url()).await.unwrap();
    outages::connections_are_killed(backend, || async {
        let kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity \
                    WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'";
        admin.execute(kill).await.unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_pool_is_reported_in_time() {
    let pool = PgPoolOptions::new().max_connections(1).connect(shared()).await.unwrap();
    let backend = PostgresBackend::from_pool(pool.clone()).with_table(&fresh_table()).unwrap();
    backend.migrate().await.unwrap();
    let held = pool.acquire().await.unwrap();
    let start = Instant::now();
    let loaded = backend.load(&key(0)).await;
    assert!(loaded.as_ref().unwrap_err().message().contains("pool is exhausted"), "{loaded:?}");
    assert_eq!(kind(loaded), ErrorKind::Unavailable);
    assert!(start.elapsed() < outages::DEADLINE);
    drop(held);
    assert!(backend.load(&key(0)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_loads_and_refuses_to_save() {
    let server = own();
    let backend = on(&server).await;
    backend.save(&key(0), &record(1), create()).await.unwrap();
    let admin = PgPool::connect(server.url()).await.unwrap();
    let read_only = async |on: &str| {
        let set = format!("ALTER SYSTEM SET default_transaction_read_only = {on}");
        admin.execute(AssertSqlSafe(set)).await.unwrap();
        admin.execute("SELECT pg_reload_conf()").await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    read_only("on").await;
    for _ in 0..3 {
        let saved = backend.save(&key(0), &record(2), over(1)).await;
        assert!(saved.as_ref().unwrap_err().message().contains("read-only"), "{saved:?}");
        assert_eq!(kind(saved), ErrorKind::Unavailable);
        assert_eq!(backend.load(&key(0)).await.unwrap().unwrap().record, record(1));
    }
    read_only("off").await;
    backend.save(&key(0), &record(2), over(1)).await.unwrap();
}

#[tokio::test]
async fn without_its_table_it_says_what_to_do() {
    let backend = PostgresBackend::connect(shared()).await.unwrap();
    let backend = backend.with_table(&fresh_table()).unwrap();
    let loaded = backend.load(&key(0)).await;
    assert!(loaded.as_ref().unwrap_err().message().contains("migrate()"), "{loaded:?}");
    assert_eq!(kind(loaded), ErrorKind::InvalidConfig);
    assert_eq!(kind(backend.save(&key(0), &record(1), create()).await), ErrorKind::InvalidConfig);
    backend.migrate().await.unwrap();
    backend.save(&key(0), &record(1), create()).await.unwrap();
}

#[tokio::test]
async fn a_wrong_password_is_a_wrong_setting() {
    let server = own();
    let admin = PgPool::connect(server.url()).await.unwrap();
    admin.execute("CREATE ROLE somebody LOGIN PASSWORD 'right'").await.unwrap();
    let file: String = admin.fetch_one("SHOW hba_file").await.unwrap().get(0);
    std::fs::write(&file, "host all somebody all scram-sha-256\nhost all all all trust\n").unwrap();
    admin.execute("SELECT pg_reload_conf()").await.unwrap();
    tokio::time::sleep(Duration::from_millis(500)).await;
    let url = |password| server.url().replace("postgres@", &format!("somebody:{password}@"));
    let error = PostgresBackend::connect(&url("zebra7")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    assert!(!format!("{error:?}").contains("zebra7"));
    PostgresBackend::connect(&url("right")).await.unwrap();
    let nobody = PostgresBackend::connect("postgres://nobody@127.0.0.1:1/x").await;
    assert_eq!(kind(nobody), ErrorKind::Unavailable);
    assert_eq!(kind(PostgresBackend::connect("no url").await), ErrorKind::InvalidConfig);
}

/// A row that somebody is at work on is left for the next time, and is not waited for.
#[tokio::test]
async fn gc_waits_for_nobody() {
    let table = fresh_table();
    let backend = PostgresBackend::connect(shared()).await.unwrap().with_table(&table).unwrap();
    backend.migrate().await.unwrap();
    let fill = format!(
        "INSERT INTO {table} SELECT sha256(i::text::bytea), 0, i, NULL, '' \
         FROM generate_series(1, 10) AS i"
    );
    backend.pool().execute(AssertSqlSafe(fill)).await.unwrap();
    let mut other = backend.pool().begin().await.unwrap();
    let hold = format!("SELECT FROM {table} WHERE expires_at = 3 FOR UPDATE");
    other.execute(AssertSqlSafe(hold)).await.unwrap();
    assert_eq!(backend.gc(100).await.unwrap(), 9);
    other.rollback().await.unwrap();
    assert_eq!(backend.gc(100).await.unwrap(), 1);
}
