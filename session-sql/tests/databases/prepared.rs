//! The number of prepared statements, which MySQL and MariaDB limit for the whole server.

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::{Config, SessionStore};
use session_sql::MySqlBackend;
use sqlx::{AssertSqlSafe, MySqlPool, Row as _};
use test_servers::Options;

async fn prepared(admin: &MySqlPool) -> u64 {
    let status = "SHOW GLOBAL STATUS LIKE 'Prepared_stmt_count'";
    // Not prepared itself.
    let row = sqlx::raw_sql(status).fetch_one(admin).await.unwrap();
    row.get::<String, _>(1).parse().unwrap()
}

/// Tasks that create, change, renew and destroy sessions. Returns how many operations succeeded.
async fn load(store: &SessionStore, tasks: usize, time: Duration) -> u64 {
    let until = Instant::now() + time;
    let tasks: Vec<_> = (0..tasks)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut succeeded = 0;
                while Instant::now() < until {
                    let session = store.create();
                    session.insert("task", task).unwrap();
                    let Ok(_) = store.save(&session).await else {
                        continue;
                    };
                    let cookie = store.cookie_value(&session).unwrap().into_string();
                    if let Ok(Some(again)) = store.load(&cookie).await {
                        again.insert("task", task + 1).unwrap();
                        again.extend();
                        succeeded += u64::from(store.save(&again).await.is_ok());
                    }
                    succeeded += u64::from(store.destroy(&session).await.is_ok());
                }
                succeeded
            })
        })
        .collect();
    let mut succeeded = 0;
    for task in tasks {
        succeeded += task.await.unwrap();
    }
    succeeded
}

#[tokio::test(flavor = "multi_thread")]
async fn more_processes_than_the_server_has_statements_for() {
    let options = Options::default().set("max-prepared-stmt-count", "200");
    let server = test_servers::mariadb::start_new(options).expect("MariaDB");
    let admin = MySqlPool::connect(server.url()).await.unwrap();
    let mut stores = Vec::new();
    for _ in 0..3 {
        let backend = MySqlBackend::connect(server.url()).await.unwrap();
        backend.migrate().await.unwrap();
        let config = Config::default().renew_after(0.0);
        stores.push(Arc::new(SessionStore::new(backend).with_config(config).unwrap()));
    }
    load(&stores[0], 64, Duration::from_secs(2)).await;
    // 10 connections with at most 43 statements each, and not all of them in use.
    let one = prepared(&admin).await;
    assert!((10..=430).contains(&one), "one process has prepared {one} statements");
    let all = stores.iter().map(|store| {
        let store = Arc::clone(store);
        tokio::spawn(async move { load(&store, 64, Duration::from_secs(3)).await })
    });
    for succeeded in all.collect::<Vec<_>>() {
        assert!(
            succeeded.await.unwrap() > 100,
            "each process goes on with the statements that there are"
        );
    }
    // One process has to close several of its connections before it may prepare a statement.
    let held = prepared(&admin).await;
    assert!(held > 150, "{held} statements are prepared");
    let fewer = format!("SET GLOBAL max_prepared_stmt_count = {}", held - 30);
    sqlx::raw_sql(AssertSqlSafe(fewer)).execute(&admin).await.unwrap();
    stores[0].gc().await.unwrap();
    for store in &stores {
        let session = store.create();
        session.insert("later", true).unwrap();
        store.save(&session).await.unwrap();
        store.destroy(&session).await.unwrap();
    }
}
