//! A cluster, also while it loses a master in the middle of a concurrent run.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]
#![cfg(feature = "cluster")]

mod support;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use session_core::{Backend, ErrorKind, Record};
use session_redis::RedisBackend;
use support::cluster::{FAILOVER, masters, serves, url, wait_for_replica};
use support::{create, eventually, key, load, record, update};

const KEYS: u8 = 48;
/// Keys beyond those, with two writers each.
const RIVALS: std::ops::Range<u8> = KEYS..KEYS + 16;

/// One key's history, as its only writer sees it.
#[derive(Debug, Default)]
struct History {
    acknowledged: AtomicU64,
    /// Acknowledged updates that a later load did not find.
    lost: AtomicU64,
    unavailable: AtomicU64,
}

/// Counts a key up for as long as the run lasts. What is loaded must be what was acknowledged last,
/// or what was written last without an answer; anything older was lost.
async fn count_up(backend: RedisBackend, number: u8, history: Arc<History>, stop: Arc<AtomicBool>) {
    let mut unanswered = None;
    let mut acknowledged = 1;
    let mut next = 2;
    while !stop.load(Ordering::Relaxed) {
        let found = match load(&backend, number).await {
            Ok(Some(found)) => found,
            Ok(None) => panic!("all replicas had it before the failover"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                history.unavailable.fetch_add(1, Ordering::Relaxed);
                continue;
            }
        };
        if found != acknowledged && Some(found) != unanswered {
            assert!(found < acknowledged, "{found} was never written");
            history.lost.fetch_add(1, Ordering::Relaxed);
        }
        match update(&backend, number, found, next).await {
            Ok(()) => {
                (acknowledged, unanswered) = (next, None);
                history.acknowledged.fetch_add(1, Ordering::Relaxed);
            }
            Err(error) => {
                // Nobody else writes this key: a conflict would be a lie about our own write.
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                history.unavailable.fetch_add(1, Ordering::Relaxed);
                (acknowledged, unanswered) = (found, Some(next));
            }
        }
        next += 1;
    }
}

/// One of a key's two writers; notes over which revisions its updates were acknowledged.
async fn compete(
    backend: RedisBackend,
    (number, first): (u8, u64),
    replaced: Arc<Mutex<Vec<u64>>>,
    stop: Arc<AtomicBool>,
) {
    let mut next = first;
    while !stop.load(Ordering::Relaxed) {
        let Ok(found) = load(&backend, number).await else { continue };
        let found = found.expect("all replicas had it before the failover");
        match update(&backend, number, found, next).await {
            Ok(()) => replaced.lock().unwrap().push(found),
            Err(error) => assert!(
                matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Unavailable),
                "{error:?}"
            ),
        }
        next += 2;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_acknowledged_update_is_contradicted_while_its_master_lives() {
    let Some(cluster) = support::start(|| test_servers::redis::cluster::start_new(3, 1)).await
    else {
        return;
    };
    let backend = RedisBackend::connect(&url(&cluster)).await.unwrap();
    let mut nodes = masters(&cluster).await;
    let mut owners = HashMap::new();
    for number in 0..RIVALS.end {
        create(&backend, number, 1).await.unwrap();
        owners.insert(number, serves(&mut nodes, number).await);
    }
    for (_, master) in &mut nodes {
        wait_for_replica(master).await;
    }
    let stop = Arc::new(AtomicBool::new(false));
    let mut tasks = Vec::new();
    for number in 0..KEYS {
        let history = Arc::new(History::default());
        let task = count_up(backend.clone(), number, Arc::clone(&history), Arc::clone(&stop));
        tasks.push((number, history, tokio::spawn(task)));
    }
    let mut rivals = Vec::new();
    for number in RIVALS {
        let replaced = Arc::new(Mutex::new(Vec::new()));
        let tasks = [2, 3].map(|first| {
            let (replaced, stop) = (Arc::clone(&replaced), Arc::clone(&stop));
            tokio::spawn(compete(backend.clone(), (number, first), replaced, stop))
        });
        rivals.push((number, replaced, tasks));
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    let victim = owners[&0].clone();
    cluster.nodes().find(|node| node.address() == victim).unwrap().kill().unwrap();

    // The keys of the dead master are served again by its replica.
    eventually(FAILOVER, || load(&backend, 0)).await;
    tokio::time::sleep(Duration::from_millis(500)).await;
    stop.store(true, Ordering::Relaxed);
    let mut nodes = masters(&cluster).await;
    let (mut lost, mut acknowledged) = (0, 0);
    for (number, history, task) in tasks {
        task.await.unwrap();
        let lost_here = history.lost.load(Ordering::Relaxed);
        acknowledged += history.acknowledged.load(Ordering::Relaxed);
        assert!(history.acknowledged.load(Ordering::Relaxed) > 0, "key {number}: {history:?}");
        // On a busy machine a living master may be taken for dead, and replaced as well.
        if serves(&mut nodes, number).await == owners[&number] {
            assert_eq!(lost_here, 0, "key {number} on a living master: {history:?}");
        } else {
            lost += lost_here;
        }
    }
    for (number, replaced, tasks) in rivals {
        for task in tasks {
            task.await.unwrap();
        }
        if serves(&mut nodes, number).await == owners[&number] {
            let replaced = replaced.lock().unwrap();
            let distinct: HashSet<u64> = replaced.iter().copied().collect();
            assert!(!replaced.is_empty(), "key {number} was never written");
            assert_eq!(distinct.len(), replaced.len(), "key {number}: one revision replaced twice");
        }
    }
    println!("{acknowledged} updates acknowledged; the failover lost the last of {lost} keys");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_given_cluster_connection_serves_too() {
    let Some(cluster) = support::start(|| test_servers::redis::cluster::start_new(3, 0)).await
    else {
        return;
    };
    let client = redis::cluster::ClusterClientBuilder::new(cluster.urls()).retries(0).build();
    let connection = client.unwrap().get_async_connection().await.unwrap();
    let backend = RedisBackend::from_connection(connection).await.unwrap();
    for number in 0..KEYS {
        create(&backend, number, 1).await.unwrap();
        update(&backend, number, 1, 2).await.unwrap();
        assert_eq!(load(&backend, number).await.unwrap(), Some(2));
        let Record { revision, .. } = record(2);
        assert!(backend.destroy(&key(number), Some(revision)).await.unwrap());
    }
    assert!(backend.batch().is_none(), "two keys may be on two nodes");
}

/// A silent node makes neither connecting nor the keys of the others unavailable.
#[tokio::test(flavor = "multi_thread")]
async fn what_other_masters_serve_is_available_while_one_is_silent() {
    let Some(cluster) = support::start(|| test_servers::redis::cluster::start_new(3, 0)).await
    else {
        return;
    };
    let mut nodes = masters(&cluster).await;
    for (_, connection) in &mut nodes {
        let set = ["SET", "cluster-require-full-coverage", "no"];
        redis::cmd("CONFIG").arg(&set).exec_async(connection).await.unwrap();
    }
    let backend = RedisBackend::connect(&url(&cluster)).await.unwrap();
    let mut owners = HashMap::new();
    for number in 0..KEYS {
        create(&backend, number, 1).await.unwrap();
        owners.insert(number, serves(&mut nodes, number).await);
    }
    let victim = owners[&0].clone();
    cluster.nodes().find(|node| node.address() == victim).unwrap().pause().unwrap();
    let again = RedisBackend::connect(&url(&cluster)).await.unwrap();
    let started = std::time::Instant::now();
    while started.elapsed() < Duration::from_secs(4) {
        let waiting = tokio::spawn({
            let backend = backend.clone();
            async move { load(&backend, 0).await }
        });
        for number in (0..KEYS).filter(|number| owners[number] != victim) {
            for backend in [&backend, &again] {
                assert_eq!(load(backend, number).await.unwrap(), Some(1), "key {number}");
            }
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
        waiting.abort();
    }
}
