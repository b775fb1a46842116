//! Several runtimes, blocked workers and callers that leave, through the handle.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use session_core::SessionStore;
use session_redis::RedisBackend;
use support::redis;
use test_servers::{Options, Server};
use tokio::runtime::{Builder, Runtime};

/// A store and the cookie values of some sessions in it; connected by this runtime.
fn store(runtime: &Runtime) -> Option<(Server, SessionStore, Vec<String>)> {
    runtime.block_on(async {
        let server = redis(Options::default()).await?;
        let store = SessionStore::new(RedisBackend::connect(server.url()).await.unwrap());
        let mut values = Vec::new();
        for number in 0..64 {
            let session = store.create();
            session.insert("number", number).unwrap();
            let _ = store.save(&session).await.unwrap();
            values.push(store.cookie_value(&session).unwrap().into_string());
        }
        Some((server, store, values))
    })
}

/// Loads and saves all these sessions, each in a task of its own, until the runtime ends.
fn keep_busy(runtime: &Runtime, store: &SessionStore, values: &[String]) -> Arc<AtomicUsize> {
    let done = Arc::new(AtomicUsize::new(0));
    for value in values {
        let (store, value, done) = (store.clone(), value.clone(), Arc::clone(&done));
        runtime.spawn(async move {
            for round in 0.. {
                let session = store.load(&value).await.unwrap().unwrap();
                session.insert("round", round).unwrap();
                let _ = store.save(&session).await.unwrap();
                done.fetch_add(1, Ordering::Relaxed);
            }
        });
    }
    done
}

#[test]
fn callers_that_leave_hold_up_no_others() {
    let runtime = Runtime::new().unwrap();
    let Some((_server, store, values)) = store(&runtime) else { return };
    runtime.block_on(async {
        for round in 0..50_u64 {
            let tasks: Vec<_> = (0..100)
                .map(|number| {
                    let (store, value) = (store.clone(), values[number % 64].clone());
                    tokio::spawn(async move {
                        let session = store.load(&value).await.unwrap().unwrap();
                        session.insert("round", round).unwrap();
                        let _ = store.save(&session).await.unwrap();
                    })
                })
                .collect();
            tokio::time::sleep(Duration::from_micros(round * 20)).await;
            for (index, task) in tasks.into_iter().enumerate() {
                if index % 2 == 0 {
                    task.abort();
                } else {
                    task.await.unwrap();
                }
            }
        }
    });
}

#[test]
fn a_runtime_that_rests_holds_up_no_other() {
    let runtime = Runtime::new().unwrap();
    let Some((server, store, values)) = store(&runtime) else { return };
    let resting = Builder::new_current_thread().enable_all().build().unwrap();
    // It comes to rest with operations alone, in batches and waiting.
    server.pause().unwrap();
    let done_there = keep_busy(&resting, &store, &values);
    resting.block_on(async { tokio::time::sleep(Duration::from_millis(20)).await });
    server.resume().unwrap();

    let done = keep_busy(&runtime, &store, &values);
    let mut before = 0;
    for _ in 0..10 {
        std::thread::sleep(Duration::from_millis(200));
        let now = done.load(Ordering::Relaxed);
        assert!(now > before + 50, "{before}, then {now}");
        before = now;
    }
    assert_eq!(done_there.load(Ordering::Relaxed), 0);
    runtime.shutdown_background();
}

/// A request that saves its session and then computes, on the same worker.
#[test]
fn a_worker_that_blocks_holds_up_only_its_own_request() {
    const BLOCKED: Duration = Duration::from_secs(1);
    let runtime = Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    let Some((_server, store, values)) = store(&runtime) else { return };
    let done = keep_busy(&runtime, &store, &values[..60]);
    let value = values[60].clone();
    let blocking = runtime.spawn(async move {
        for round in 0..4 {
            let session = store.load(&value).await.unwrap().unwrap();
            session.insert("round", round).unwrap();
            let _ = store.save(&session).await.unwrap();
            std::thread::sleep(BLOCKED);
        }
    });
    let mut before = 0;
    while !blocking.is_finished() {
        std::thread::sleep(BLOCKED / 4);
        let now = done.load(Ordering::Relaxed);
        assert!(now > before + 50, "{before}, then {now}");
        before = now;
    }
    runtime.shutdown_background();
}
