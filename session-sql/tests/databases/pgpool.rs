//! pgpool, which leads statements that only read to a replica.

use session_core::Backend as _;
use session_sql::PostgresBackend;
use sqlx::PgPool;
use test_servers::{Options, pgpool, postgres};

use crate::common::{create, key, over, record};

/// A replica may be behind by any time; this one is behind by an hour.
#[tokio::test(flavor = "multi_thread")]
async fn behind_pgpool_a_load_reads_the_last_save() {
    let primary = postgres::start_new(Options::default()).expect("PostgreSQL");
    PostgresBackend::connect(primary.url()).await.unwrap().migrate().await.unwrap();
    let behind = Options::default().set("recovery_min_apply_delay", "1h");
    let replica = postgres::start_replica(&primary, &behind).expect("a replica");
    let pooler = pgpool::start_new(&primary, &replica).expect("pgpool");

    let store = PostgresBackend::connect(pooler.url()).await.unwrap();
    store.migrate().await.unwrap();
    for number in 0..50 {
        store.save(&key(number), &record(1), create()).await.unwrap();
        assert_eq!(store.load(&key(number)).await.unwrap().unwrap().record, record(1));
        store.save(&key(number), &record(2), over(1)).await.unwrap();
        assert_eq!(store.load(&key(number)).await.unwrap().unwrap().record, record(2));
    }
    let owner = record(1).owner.unwrap();
    let index = store.owner_index().unwrap();
    assert_eq!(index.keys_of(&owner, None, 100).await.unwrap().len(), 50);
    for number in 0..50 {
        assert!(store.destroy(&key(number), None).await.unwrap());
        assert!(store.load(&key(number)).await.unwrap().is_none());
    }

    // Otherwise this test would prove nothing.
    store.save(&key(0), &record(1), create()).await.unwrap();
    let pool = PgPool::connect(pooler.url()).await.unwrap();
    let count = sqlx::query_scalar::<_, i64>("SELECT count(*) FROM sessions").fetch_one(&pool);
    assert_eq!(count.await.unwrap(), 0, "another statement that reads is answered by the replica");
}
