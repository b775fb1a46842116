//! How many commands each operation is, and what goes together.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod support;

use redis::aio::MultiplexedConnection;
use session_core::{Backend, BatchBackend, CreateItem, Key, Revision, SessionStore, Update, Write};
use session_redis::RedisBackend;
use support::{HOUR, calls, create, key, load, raw, record, redis, statistics, touch, update};
use test_servers::Options;

/// The futures are in boxes, and allocators are quick up to about 1 KB.
#[tokio::test(flavor = "multi_thread")]
async fn an_operation_is_small() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let (key, record) = (key(1), record(1));
    let update = Update { expected: record.revision, ttl: None };
    let sizes = [
        size_of_val(&*backend.load(&key)),
        size_of_val(&*backend.save(&key, &record, Write::Create { ttl: HOUR })),
        size_of_val(&*backend.save(&key, &record, Write::Update(update))),
        size_of_val(&*backend.touch(&key, record.revision, HOUR)),
        size_of_val(&*backend.destroy(&key, None)),
    ];
    assert!(sizes.iter().all(|size| *size < 1024), "{sizes:?}");
}

const COMMANDS: [&str; 12] = [
    "get", "mget", "pttl", "exists", "set", "setrange", "getrange", "evalsha", "pexpire", "del",
    "time", "eval",
];

/// What was called since, also by scripts, as `command: number`.
async fn counted(admin: &mut MultiplexedConnection) -> String {
    let statistics = statistics(admin).await;
    let counts = COMMANDS.iter().filter_map(|command| {
        let count = calls(&statistics, command);
        (count > 0).then(|| format!("{command} {count}"))
    });
    let counts = counts.collect::<Vec<_>>().join(", ");
    redis::cmd("CONFIG").arg("RESETSTAT").exec_async(admin).await.unwrap();
    counts
}

#[tokio::test(flavor = "multi_thread")]
async fn each_operation_is_a_few_commands() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    // The scripts become known.
    create(&backend, 9, 1).await.unwrap();
    update(&backend, 9, 1, 2).await.unwrap();
    touch(&backend, 9, 2).await.unwrap();
    backend.destroy(&key(9), Some(Revision::from_u64(2))).await.unwrap();
    counted(&mut admin).await;

    create(&backend, 1, 1).await.unwrap();
    assert_eq!(counted(&mut admin).await, "set 1");
    load(&backend, 1).await.unwrap();
    assert_eq!(counted(&mut admin).await, "get 1, pttl 1");
    update(&backend, 1, 1, 2).await.unwrap();
    assert_eq!(counted(&mut admin).await, "set 1, getrange 1, evalsha 1");
    let renew = Update { expected: Revision::from_u64(2), ttl: Some(HOUR) };
    backend.save(&key(1), &record(3), Write::Update(renew)).await.unwrap();
    assert_eq!(counted(&mut admin).await, "set 1, getrange 1, evalsha 1");
    touch(&backend, 1, 3).await.unwrap();
    assert_eq!(counted(&mut admin).await, "getrange 1, evalsha 1, pexpire 1");
    assert!(!backend.destroy(&key(1), Some(Revision::from_u64(1))).await.unwrap());
    assert_eq!(counted(&mut admin).await, "getrange 1, evalsha 1");
    assert!(backend.destroy(&key(1), None).await.unwrap());
    assert_eq!(counted(&mut admin).await, "del 1");
    assert_eq!(backend.gc(10).await.unwrap(), 0);
    assert_eq!(counted(&mut admin).await, "");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_batch_of_updates_is_one_script() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    // To connect takes some, too.
    counted(&mut admin).await;
    let items: Vec<_> =
        (0..64).map(|n| CreateItem { key: key(n), record: record(1), ttl: HOUR }).collect();
    for created in backend.create_many(&items).await {
        created.unwrap();
    }
    assert_eq!(counted(&mut admin).await, "set 64");
    let keys: Vec<Key> = (0..64).map(key).collect();
    for loaded in backend.load_many(&keys).await {
        assert_eq!(loaded.unwrap().unwrap().record, record(1));
    }
    assert_eq!(counted(&mut admin).await, "mget 1, pttl 64");
    for (from, to, expected) in
        [(1, 2, "set 64, getrange 64, evalsha 1, eval 1"), (2, 3, "set 64, getrange 64, evalsha 1")]
    {
        let update = Update { expected: Revision::from_u64(from), ttl: None };
        let items: Vec<_> = (0..64)
            .map(|n| session_core::UpdateItem { key: key(n), record: record(to), update })
            .collect();
        for updated in backend.update_many(&items).await {
            updated.unwrap();
        }
        assert_eq!(counted(&mut admin).await, expected);
    }
}

/// Through the handle, which decides what goes together.
#[tokio::test(flavor = "multi_thread")]
async fn operations_of_many_tasks_share_commands() {
    let Some(server) = redis(Options::default()).await else { return };
    let store = SessionStore::new(RedisBackend::connect(server.url()).await.unwrap());
    let mut admin = raw(server.url()).await;
    counted(&mut admin).await;
    let tasks: Vec<_> = (0..200)
        .map(|number| {
            let store = store.clone();
            tokio::spawn(async move {
                let session = store.create();
                session.insert("number", number).unwrap();
                let _ = store.save(&session).await.unwrap();
                for round in 0..10 {
                    session.insert("round", round).unwrap();
                    let _ = store.save(&session).await.unwrap();
                }
                let value = store.cookie_value(&session).unwrap();
                let found = store.load(value.as_str()).await.unwrap().unwrap();
                assert_eq!(found.get("number").unwrap(), Some(number));
                assert_eq!(found.get("round").unwrap(), Some(9));
                store.destroy(&session).await.unwrap();
                assert!(store.load(value.as_str()).await.unwrap().is_none());
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let statistics = statistics(&mut admin).await;
    let [updates, deletes] = ["evalsha", "del"].map(|command| calls(&statistics, command));
    assert!(updates < 1000, "{updates} scripts for 2000 updates");
    assert_eq!(deletes, 200);
}
