use std::sync::Arc;
use std::time::Duration;

use session_core::{Backend, ErrorKind, Key, Update, UpdateItem};
use session_sql::PostgresBackend;
use sqlx::postgres::PgPoolOptions;
use sqlx::{AssertSqlSafe, Executor as _, PgPool, Row as _};
use test_servers::{Options, Server};

use crate::common::{self, create, fresh_table, key, kind, over, record, revision};
use crate::outages;
use crate::servers::on_a_server;

on_a_server!(PostgresBackend, postgres);

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
    outages::pool_is_exhausted(backend, pool.acquire().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_loads_and_refuses_to_save() {
    let server = own();
    let backend = PostgresBackend::connect(server.url()).await.unwrap();
    backend.migrate().await.unwrap();
    let admin = PgPool::connect(server.url()).await.unwrap();
    let read_only = async |on: &str| {
        let set = format!("ALTER SYSTEM SET default_transaction_read_only = {on}");
        admin.execute(AssertSqlSafe(set)).await.unwrap();
        admin.execute("SELECT pg_reload_conf()").await.unwrap();
        tokio::time::sleep(Duration::from_millis(500)).await;
    };
    outages::database_is_read_only(backend, read_only).await;
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
    let url = |password: &str| server.url().replace("postgres@", &format!("somebody:{password}@"));
    outages::password_is_wrong(url, "postgres", async |url| PostgresBackend::connect(&url).await)
        .await;
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

/// The update waits for a row that has expired when it gets it: its snapshot still shows it alive.
#[tokio::test]
async fn what_expires_while_an_update_waits_is_gone() {
    let table = fresh_table();
    let backend = PostgresBackend::connect(shared()).await.unwrap().with_table(&table).unwrap();
    backend.migrate().await.unwrap();
    backend.save(&key(0), &record(1), create()).await.unwrap();
    let mut other = backend.pool().begin().await.unwrap();
    other.execute(AssertSqlSafe(format!("UPDATE {table} SET expires_at = 1"))).await.unwrap();
    let waiting = tokio::spawn({
        let backend = backend.clone();
        async move { backend.save(&key(0), &record(2), over(1)).await }
    });
    tokio::time::sleep(Duration::from_millis(300)).await;
    other.commit().await.unwrap();
    assert_eq!(kind(waiting.await.unwrap()), ErrorKind::Gone);
}

/// A row's ctid is unique in its partition only.
#[tokio::test]
async fn gc_of_a_partitioned_table_keeps_to_its_limit() {
    let table = fresh_table();
    let backend = PostgresBackend::connect(shared()).await.unwrap().with_table(&table).unwrap();
    let partitions = (0..8).map(|number| {
        format!(
            "CREATE TABLE {table}_{number} PARTITION OF {table} \
             FOR VALUES WITH (MODULUS 8, REMAINDER {number});"
        )
    });
    let create = format!(
        "CREATE TABLE {table} (id_hash bytea PRIMARY KEY, revision bigint NOT NULL, \
         expires_at bigint NOT NULL, owner bytea, payload bytea NOT NULL) \
         PARTITION BY HASH (id_hash); {}",
        partitions.collect::<String>()
    );
    backend.pool().execute(AssertSqlSafe(create)).await.unwrap();
    backend.migrate().await.unwrap();
    let fill = format!(
        "INSERT INTO {table} SELECT sha256(i::text::bytea), 0, i, NULL, '' \
         FROM generate_series(1, 80) AS i"
    );
    backend.pool().execute(AssertSqlSafe(fill)).await.unwrap();
    assert_eq!(backend.gc(10).await.unwrap(), 10);
    assert_eq!(backend.gc(1000).await.unwrap(), 70);
    common::each_of_a_batch_has_its_own_result(&backend).await;
}

/// Lets each UPDATE run `body`, after it was counted in a sequence, which no rollback takes back.
async fn raise(backend: &PostgresBackend, table: &str, body: &str) {
    let trigger = format!(
        "CREATE SEQUENCE {table}_tries; CREATE FUNCTION {table}_raise() RETURNS trigger \
         LANGUAGE plpgsql AS $$ BEGIN PERFORM nextval('{table}_tries'); {body}; RETURN NULL; END $$; \
         CREATE TRIGGER raise AFTER UPDATE ON {table} REFERENCING NEW TABLE AS changed \
         FOR EACH STATEMENT EXECUTE FUNCTION {table}_raise()"
    );
    backend.pool().execute(AssertSqlSafe(trigger)).await.unwrap();
}

/// PgBouncer reports a server that it lost, maybe after the commit, by the code by which it reports an
/// unknown prepared statement.
#[tokio::test]
async fn a_protocol_violation_is_in_doubt_unless_it_is_about_a_prepared_statement() {
    for (message, tries, refused) in [
        ("server conn crashed?", 1, false),
        ("prepared statement \"sqlx_s_1\" does not exist", 2, true),
    ] {
        let (table, backend) = backend_and_table().await;
        backend.save(&key(0), &record(1), create()).await.unwrap();
        let body = format!("RAISE EXCEPTION '{message}' USING ERRCODE = '08P01'");
        raise(&backend, &table, &body).await;
        let error = backend.save(&key(0), &record(2), over(1)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert_eq!(error.nothing_was_written(), refused, "{error:?}");
        let tried = format!("SELECT last_value FROM {table}_tries");
        let tried = backend.pool().fetch_one(AssertSqlSafe(tried)).await.unwrap();
        assert_eq!(tried.get::<i64, _>(0), tries, "{message}");
    }
}

/// Carried out alone after such a batch, no item can promise that nothing was written.
#[tokio::test]
async fn after_a_batch_in_doubt_no_item_is_refused() {
    let (table, backend) = backend_and_table().await;
    for number in 0..4 {
        backend.save(&key(number), &record(1), create()).await.unwrap();
    }
    let body = "IF (SELECT count(*) FROM changed) > 1 THEN RAISE EXCEPTION 'unknown'; \
                ELSIF (SELECT count(*) FROM changed) = 1 \
                THEN RAISE EXCEPTION 'too many' USING ERRCODE = '53300'; END IF";
    raise(&backend, &table, body).await;
    let alone = backend.save(&key(0), &record(2), over(1)).await.unwrap_err();
    assert!(alone.nothing_was_written(), "{alone:?}");
    let items: Vec<_> = [(0, 1), (1, 1), (2, 7), (9, 1)]
        .into_iter()
        .map(|(number, expected)| UpdateItem {
            key: key(number),
            record: record(2),
            update: Update { expected: revision(expected), ttl: None },
        })
        .collect();
    let results = backend.batch().unwrap().update_many(&items).await;
    for (result, number) in results.into_iter().zip(0..) {
        let error = result.unwrap_err();
        // What is gone is gone, whoever wrote what before.
        let kind = if number == 3 { ErrorKind::Gone } else { ErrorKind::Unavailable };
        assert_eq!(error.kind(), kind, "{error:?}");
        assert_eq!(error.nothing_was_written(), number == 3, "{error:?}");
    }
}
