use std::sync::Arc;

use session_core::{Backend, CreateItem, ErrorKind, Key, Record, Update, UpdateItem};
use session_sql::MySqlBackend;
use sqlx::mysql::MySqlPoolOptions;
use sqlx::{AssertSqlSafe, Executor as _, MySqlPool, Row as _};
use test_servers::{Options, Server};

use crate::common::{self, create, fresh_table, key, kind, over, record};
use crate::outages;
use crate::servers::on_a_server;

on_a_server!(MySqlBackend, mariadb);

fn literal(number: u32) -> String {
    key(number).as_bytes().iter().fold("x'".to_owned(), |text, byte| format!("{text}{byte:02x}"))
        + "'"
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_that_is_no_session_is_corrupt() {
    let table = fresh_table();
    let backend = MySqlBackend::connect(shared()).await.unwrap().with_table(&table).unwrap();
    backend.migrate().await.unwrap();
    let insert = format!(
        "INSERT INTO {table} (id_hash, revision, expires_at, owner, payload) \
         VALUES (REPEAT(x'00', 32), 1, 4000000000000, x'ff', '')"
    );
    backend.pool().execute(AssertSqlSafe(insert)).await.unwrap();
    let broken = Key::from_bytes([0; 32]);
    common::a_row_that_is_no_session_is_corrupt(Arc::new(backend), broken).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_are_terminated() {
    let server = own();
    let backend = on(&server).await;
    let admin = MySqlPoolOptions::new().max_connections(1).connect(server.url()).await.unwrap();
    outages::connections_are_killed(backend, || async {
        let others = "SELECT ID FROM information_schema.PROCESSLIST \
                      WHERE ID <> CONNECTION_ID() AND COMMAND <> 'Daemon'";
        for row in admin.fetch_all(others).await.unwrap() {
            let id: i64 = row.get(0);
            // It may have ended by itself.
            let _ = admin.execute(AssertSqlSafe(format!("KILL {id}"))).await;
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_exhausted_pool_is_reported_in_time() {
    let pool = MySqlPoolOptions::new().max_connections(1).connect(shared()).await.unwrap();
    let backend = MySqlBackend::from_pool(pool.clone()).with_table(&fresh_table()).unwrap();
    backend.migrate().await.unwrap();
    outages::pool_is_exhausted(backend, pool.acquire().await.unwrap()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_read_only_database_loads_and_refuses_to_save() {
    let server = own();
    let admin = MySqlPool::connect(server.url()).await.unwrap();
    // Who may do everything may write all the same.
    admin.execute("CREATE USER app IDENTIFIED BY 'right'").await.unwrap();
    admin.execute("GRANT ALL ON sessions.* TO app").await.unwrap();
    let url = server.url().replace("root@", "app:right@");
    let backend = MySqlBackend::connect(&url).await.unwrap();
    backend.migrate().await.unwrap();
    let read_only = async |on: &str| {
        admin.execute(AssertSqlSafe(format!("SET GLOBAL read_only = {on}"))).await.unwrap();
    };
    outages::database_is_read_only(backend, read_only).await;
}

#[tokio::test]
async fn a_wrong_password_is_a_wrong_setting() {
    let server = own();
    let admin = MySqlPool::connect(server.url()).await.unwrap();
    admin.execute("CREATE USER somebody IDENTIFIED BY 'right'").await.unwrap();
    admin.execute("GRANT ALL ON sessions.* TO somebody").await.unwrap();
    let url = |password: &str| server.url().replace("root@", &format!("somebody:{password}@"));
    outages::password_is_wrong(url, "mysql", async |url| MySqlBackend::connect(&url).await).await;
}

/// A batch that fails in the middle lets go of the rows that it had locked already.
#[tokio::test(flavor = "multi_thread")]
async fn a_batch_that_fails_keeps_no_locks() {
    let server = own();
    let admin = MySqlPool::connect(server.url()).await.unwrap();
    admin.execute("SET GLOBAL innodb_lock_wait_timeout = 1").await.unwrap();
    let backend = on(&server).await;
    for number in 0..32 {
        backend.save(&key(number), &record(1), create()).await.unwrap();
    }
    let mut other = admin.begin().await.unwrap();
    let hold = format!("SELECT 1 FROM sessions WHERE id_hash = {} FOR UPDATE", literal(31));
    other.execute(AssertSqlSafe(hold)).await.unwrap();
    let items: Vec<_> = (0..32)
        .map(|number| UpdateItem {
            key: key(number),
            record: record(2),
            update: Update { expected: common::revision(1), ttl: None },
        })
        .collect();
    for saved in backend.batch().unwrap().update_many(&items).await {
        let error = saved.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
        assert!(error.nothing_was_written(), "{error:?}");
    }
    let free = "SELECT COUNT(*) FROM (SELECT 1 FROM sessions FOR UPDATE SKIP LOCKED) AS free";
    let free: i64 = admin.fetch_one(free).await.unwrap().get(0);
    assert_eq!(free, 31);
    other.rollback().await.unwrap();
}

/// The server would close a connection on which something too large was sent, and its answer, which says
/// why, may be lost with it.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_too_large_is_refused_and_harms_nobody() {
    let server = own();
    let admin = MySqlPool::connect(server.url()).await.unwrap();
    admin.execute("SET GLOBAL max_allowed_packet = 2097152").await.unwrap();
    let backend = on(&server).await;
    let large = |revision, bytes| Record { payload: vec![7; bytes].into(), ..record(revision) };
    backend.save(&key(0), &record(1), create()).await.unwrap();
    // One byte more than fits, and more than the default.
    for bytes in [2 << 20, 3 << 20, 20 << 20] {
        let saved = backend.save(&key(0), &large(2, bytes), over(1)).await;
        assert_eq!(kind(saved), ErrorKind::TooLarge);
        assert_eq!(
            kind(backend.save(&key(1), &large(1, bytes), create()).await),
            ErrorKind::TooLarge
        );
        backend.touch(&key(0), common::revision(1), common::LIFE).await.unwrap();
        assert_eq!(backend.load(&key(0)).await.unwrap().unwrap().record, record(1));
    }
    let fits = large(2, (2 << 20) - 1024);
    backend.save(&key(0), &fits, over(1)).await.unwrap();
    assert_eq!(backend.load(&key(0)).await.unwrap().unwrap().record, fits);
    // One that is too large does not spoil the others.
    let batch = backend.batch().unwrap();
    let sizes = (10..20).zip([10, 3 << 20].into_iter().cycle());
    let items: Vec<_> = sizes
        .map(|(number, bytes)| (key(number), large(1, bytes)))
        .map(|(key, record)| CreateItem { key, record, ttl: common::LIFE })
        .collect();
    for (place, created) in batch.create_many(&items).await.into_iter().enumerate() {
        match place % 2 {
            0 => created.unwrap(),
            _ => assert_eq!(kind(created), ErrorKind::TooLarge),
        }
    }
    // Each fits, and so do all together; what a batch is filled up with must not be the largest.
    for round in 1..5 {
        let large = |number: u32, revision| {
            let bytes = if number % 10 == 1 { 200_000 } else { 10 };
            (key(100 * round + number), large(revision, bytes))
        };
        let creates: Vec<_> = (0..40)
            .map(|number| large(number, 1))
            .map(|(key, record)| CreateItem { key, record, ttl: common::LIFE })
            .collect();
        assert!(batch.create_many(&creates).await.into_iter().all(|one| one.is_ok()));
        let update = Update { expected: common::revision(1), ttl: None };
        let updates: Vec<_> = (0..40)
            .map(|number| large(number, 2))
            .map(|(key, record)| UpdateItem { key, record, update })
            .collect();
        assert!(batch.update_many(&updates).await.into_iter().all(|one| one.is_ok()));
    }
}

/// A row that somebody is at work on is left for the next time, and is not waited for.
#[tokio::test]
async fn gc_waits_for_nobody() {
    let table = fresh_table();
    let backend = MySqlBackend::connect(shared()).await.unwrap().with_table(&table).unwrap();
    backend.migrate().await.unwrap();
    let fill = format!(
        "INSERT INTO {table} SELECT UNHEX(SHA2(seq, 256)), 0, seq, NULL, '' FROM seq_1_to_10"
    );
    backend.pool().execute(AssertSqlSafe(fill)).await.unwrap();
    let mut other = backend.pool().begin().await.unwrap();
    let hold = format!("SELECT 1 FROM {table} WHERE id_hash = UNHEX(SHA2(3, 256)) FOR UPDATE");
    other.execute(AssertSqlSafe(hold)).await.unwrap();
    assert_eq!(backend.gc(100).await.unwrap(), 9);
    other.rollback().await.unwrap();
    assert_eq!(backend.gc(100).await.unwrap(), 1);
}
