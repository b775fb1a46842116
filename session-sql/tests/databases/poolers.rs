//! PgBouncer between the store and PostgreSQL.

use std::sync::Arc;

use session_core::{Backend, ErrorKind};
use session_sql::PostgresBackend;
use sqlx::postgres::PgPoolOptions;
use test_servers::{Options, Server, pgbouncer};

use crate::common::{self, create, key, over, record};

/// The older versions of PgBouncer know no prepared statements in transaction mode.
fn without_prepared_statements(settings: &[(&str, &str)]) -> (Server, Server) {
    let server = test_servers::postgres::start_new(Options::default()).expect("PostgreSQL");
    let options = settings
        .iter()
        .fold(Options::default(), |options, (name, value)| options.set(*name, *value));
    let pooler = pgbouncer::start_new(&server, &options).expect("PgBouncer");
    (server, pooler)
}

#[tokio::test]
async fn connect_refuses_a_pooler_that_mixes_statements() {
    let (_server, pooler) = without_prepared_statements(&[("pool_mode", "transaction")]);
    let error = PostgresBackend::connect(pooler.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{error:?}");
    assert!(error.message().contains("connect_through_pooler"), "{error}");
}

/// Several stores share few connections of the server, so that each transaction of a store is on another one.
#[tokio::test(flavor = "multi_thread")]
async fn through_a_pooler_each_statement_is_its_own() {
    let few = [("pool_mode", "transaction"), ("default_pool_size", "3")];
    let (_server, pooler) = without_prepared_statements(&few);
    let mut stores: Vec<Arc<dyn Backend>> = Vec::new();
    for _ in 0..2 {
        let store = PostgresBackend::connect_through_pooler(pooler.url()).await.unwrap();
        store.migrate().await.unwrap();
        stores.push(Arc::new(store));
    }
    let pool = PgPoolOptions::new().max_connections(4).connect(pooler.url()).await.unwrap();
    let store = PostgresBackend::from_pool_through_pooler(pool).with_table("sessions").unwrap();
    stores.push(Arc::new(store));
    let tasks: Vec<_> = (0..24_u32)
        .map(|number| {
            let store = Arc::clone(&stores[number as usize % stores.len()]);
            let other = Arc::clone(&stores[(number as usize + 1) % stores.len()]);
            tokio::spawn(async move {
                let key = key(number);
                store.save(&key, &record(0), create()).await.unwrap();
                for round in 1..40_u64 {
                    other.save(&key, &record(round), over(round - 1)).await.unwrap();
                    let found = store.load(&key).await.unwrap();
                    assert_eq!(found.expect("it is live").record, record(round));
                    let again = store.save(&key, &record(round), over(round - 1)).await;
                    assert_eq!(common::kind(again), ErrorKind::Conflict);
                }
                assert!(other.destroy(&key, None).await.unwrap());
                assert!(store.load(&key).await.unwrap().is_none());
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let table = common::fresh_table();
    let store = PostgresBackend::connect_through_pooler(pooler.url()).await.unwrap();
    let store = store.with_table(&table).unwrap();
    store.migrate().await.unwrap();
    common::each_of_a_batch_has_its_own_result(&store).await;
    common::each_has_its_own_result(Arc::new(store), common::FEW).await;
}

/// In session mode a client keeps its connection of the server; with fewer of them than the store wants, it goes on
/// with those.
#[tokio::test(flavor = "multi_thread")]
async fn a_pooler_in_session_mode_with_few_connections_is_enough() {
    let few = [("pool_mode", "session"), ("default_pool_size", "4"), ("query_wait_timeout", "2")];
    let (_server, pooler) = without_prepared_statements(&few);
    let store = Arc::new(PostgresBackend::connect(pooler.url()).await.unwrap());
    store.migrate().await.unwrap();
    let rounds = |store: &Arc<PostgresBackend>| {
        let tasks: Vec<_> = (0..32)
            .map(|number| {
                let store = Arc::clone(store);
                tokio::spawn(async move {
                    for _ in 0..50 {
                        store.load(&key(number)).await?;
                    }
                    Ok::<_, session_core::Error>(())
                })
            })
            .collect();
        async move {
            for task in tasks {
                task.await.unwrap().unwrap();
            }
        }
    };
    // In the first one it finds out how many there are.
    rounds(&store).await;
    let begun = std::time::Instant::now();
    rounds(&store).await;
    assert!(begun.elapsed() < std::time::Duration::from_secs(2), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn fewer_connections_by_a_setting() {
    let server = test_servers::postgres::start_new(Options::default()).expect("PostgreSQL");
    let store = PostgresBackend::connect(server.url()).await.unwrap();
    assert_eq!(store.clone().with_max_connections(0).unwrap_err().kind(), ErrorKind::InvalidConfig);
    let store = Arc::new(store.with_max_connections(2).unwrap());
    store.migrate().await.unwrap();
    let tasks: Vec<_> = (0..32)
        .map(|number| {
            let store = Arc::clone(&store);
            tokio::spawn(async move { store.load(&key(number)).await.unwrap() })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let count = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'";
    let count: i64 = sqlx::query_scalar(count).fetch_one(store.pool()).await.unwrap();
    assert!(count <= 3, "two of the store and one of this test's pool, but there are {count}");
    let pool = PostgresBackend::from_pool(store.pool().clone());
    assert_eq!(pool.with_max_connections(2).unwrap_err().kind(), ErrorKind::InvalidConfig);
}
