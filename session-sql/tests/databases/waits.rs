//! A record that expires while a statement waits for the lock of its row is gone.

use std::time::Duration;

use session_core::{Backend, BatchBackend, ErrorKind, TouchItem, Update, UpdateItem, Write};
use sqlx::{AssertSqlSafe, Database, Executor, Pool};

use crate::common::{LIFE, key, kind, record, revision};
use crate::{mariadb, postgres};

const SHORT: Duration = Duration::from_millis(700);

#[tokio::test(flavor = "multi_thread")]
async fn postgres() {
    let (table, backend) = postgres::backend_and_table().await;
    let pool = backend.pool().clone();
    what_expires_meanwhile_is_gone(backend, pool, table).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn mariadb() {
    let (table, backend) = mariadb::backend_and_table().await;
    let pool = backend.pool().clone();
    what_expires_meanwhile_is_gone(backend, pool, table).await;
}

async fn what_expires_meanwhile_is_gone<B, DB>(backend: B, pool: Pool<DB>, table: String)
where
    B: Backend + BatchBackend + Clone,
    DB: Database,
    for<'c> &'c mut DB::Connection: Executor<'c, Database = DB>,
{
    let update = |ttl| Update { expected: revision(1), ttl };
    let save = |number, ttl| {
        let backend = backend.clone();
        tokio::spawn(async move {
            backend.save(&key(number), &record(2), Write::Update(update(ttl))).await
        })
    };
    for number in 0..8 {
        backend.save(&key(number), &record(1), Write::Create { ttl: SHORT }).await.unwrap();
    }
    let mut other = pool.begin().await.unwrap();
    let hold = format!("SELECT 1 FROM {table} FOR UPDATE");
    other.execute(AssertSqlSafe(hold)).await.unwrap();
    let alone = [
        tokio::spawn({
            let backend = backend.clone();
            async move { backend.touch(&key(0), revision(1), LIFE).await }
        }),
        save(1, Some(LIFE)),
        save(2, None),
    ];
    let touches = tokio::spawn({
        let backend = backend.clone();
        let item = |number| TouchItem { key: key(number), expected: revision(1), ttl: LIFE };
        let items = [3, 4].map(item);
        async move { backend.touch_many(&items).await }
    });
    let updates = tokio::spawn({
        let backend = backend.clone();
        let item =
            |(number, ttl)| UpdateItem { key: key(number), record: record(2), update: update(ttl) };
        let items = [(5, Some(LIFE)), (6, None)].map(item);
        async move { backend.update_many(&items).await }
    });
    tokio::time::sleep(SHORT * 3 / 2).await;
    let waited = alone.iter().all(|one| !one.is_finished());
    assert!(waited && !touches.is_finished() && !updates.is_finished());
    other.rollback().await.unwrap();
    for one in alone {
        assert_eq!(kind(one.await.unwrap()), ErrorKind::Gone);
    }
    let together = touches.await.unwrap().into_iter().chain(updates.await.unwrap());
    for one in together {
        assert_eq!(kind(one), ErrorKind::Gone);
    }
    for number in 0..8 {
        assert!(backend.load(&key(number)).await.unwrap().is_none());
    }
}
