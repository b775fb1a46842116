//! A logout that waits until replicas have it, too.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod support;

use std::time::{Duration, Instant};

use session_core::{
    Backend, BatchBackend, Config, DestroyItem, Error, ErrorKind, Owner, Revision, SessionStore,
};
use session_redis::{NotConfirmed, RedisBackend};
#[cfg(feature = "cluster")]
use support::cluster::{FAILOVER, masters, serves, url, wait_for_replica};
use support::{calls, create, eventually, key, load, raw, redis, statistics};
use test_servers::{Options, Server};

async fn master_and_replica() -> Option<(Server, Server)> {
    let master = redis(Options::default()).await?;
    let (host, port) = master.address().split_once(':').unwrap();
    let options = Options::default()
        .set("replicaof", format!("{host} {port}"))
        .set("repl-diskless-sync-delay", "0");
    let replica = redis(options).await?;
    Some((master, replica))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destruction_is_confirmed_by_replicas_or_says_so() {
    let Some((master, replica)) = master_and_replica().await else { return };
    let backend = RedisBackend::connect(master.url()).await.unwrap();
    let patient = backend.clone().confirm_destroy(1, Duration::from_secs(20));
    let hasty = backend.clone().confirm_destroy(1, Duration::from_millis(100));
    for number in [1, 2, 3, 5] {
        create(&backend, number, 1).await.unwrap();
    }
    assert!(patient.destroy(&key(1), None).await.unwrap());
    assert!(!patient.destroy(&key(1), None).await.unwrap());
    // Also while there is no memory for other writes.
    let mut admin = raw(master.url()).await;
    for (limit, number, existed) in [("1", 5, true), ("1", 5, false), ("0", 5, false)] {
        let set = ["SET", "maxmemory", limit];
        redis::cmd("CONFIG").arg(&set).exec_async(&mut admin).await.unwrap();
        assert_eq!(patient.destroy(&key(number), None).await.unwrap(), existed);
        assert_eq!(load(&backend, number).await.unwrap(), None);
    }
    replica.pause().unwrap();
    assert_not_confirmed(&hasty.destroy(&key(2), None).await.unwrap_err());
    assert_eq!(load(&backend, 2).await.unwrap(), None);
    let other = Some(Revision::from_u64(9));
    assert!(!hasty.destroy(&key(3), other).await.unwrap(), "nothing was destroyed");
    assert_eq!(load(&backend, 3).await.unwrap(), Some(1));
    // Also the second time, when there is nothing to destroy any more.
    let only = Some(Revision::from_u64(1));
    for _ in 0..2 {
        assert_not_confirmed(&hasty.destroy(&key(3), only).await.unwrap_err());
        assert_eq!(load(&backend, 3).await.unwrap(), None);
    }
    // Others don't wait behind it.
    let waiting = tokio::spawn({
        let patient = patient.clone();
        async move { patient.destroy(&key(2), None).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let started = Instant::now();
    load(&patient, 1).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(500));
    // A batch waits once, and a record that it left alone has nothing to confirm.
    for number in 6..=8 {
        create(&backend, number, 1).await.unwrap();
    }
    let waits = calls(&statistics(&mut admin).await, "wait");
    let item = |number, only| DestroyItem { key: key(number), only };
    let items = [item(6, None), item(7, only), item(8, other), item(9, None), item(10, only)];
    let mut results = hasty.destroy_many(&items).await;
    assert!(!results.remove(2).unwrap());
    assert_eq!(results.len(), 4);
    results.into_iter().for_each(|result| assert_not_confirmed(&result.unwrap_err()));
    for (number, left) in [(6, None), (7, None), (8, Some(1))] {
        assert_eq!(load(&backend, number).await.unwrap(), left);
    }
    assert_eq!(calls(&statistics(&mut admin).await, "wait"), waits + 1);
    // Not even another logout: it is carried out while its confirmation queues behind this one.
    create(&backend, 4, 1).await.unwrap();
    let behind = tokio::spawn({
        let patient = patient.clone();
        async move { patient.destroy(&key(4), None).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(load(&backend, 4).await.unwrap(), None);
    // Meanwhile another record has come under that key, as a failover brings one back: it is left alone.
    create(&backend, 5, 1).await.unwrap();
    let overtaken = tokio::spawn({
        let patient = patient.clone();
        async move { patient.destroy(&key(5), only).await }
    });
    while load(&backend, 5).await.unwrap().is_some() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    create(&backend, 5, 2).await.unwrap();
    replica.resume().unwrap();
    assert!(!waiting.await.unwrap().unwrap());
    assert!(behind.await.unwrap().unwrap());
    assert_not_confirmed(&overtaken.await.unwrap().unwrap_err());
    assert_eq!(load(&backend, 5).await.unwrap(), Some(2));

    // The master is demoted while it waits: `WAIT` ends with an error.
    replica.pause().unwrap();
    let waiting = tokio::spawn(async move { patient.destroy(&key(2), None).await });
    tokio::time::sleep(Duration::from_millis(100)).await;
    redis::cmd("REPLICAOF").arg(&["127.0.0.1", "1"]).exec_async(&mut admin).await.unwrap();
    assert_not_confirmed(&waiting.await.unwrap().unwrap_err());
}

fn assert_not_confirmed(error: &Error) {
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    let source = std::error::Error::source(error).unwrap().downcast_ref::<NotConfirmed>();
    assert_eq!(source, Some(&NotConfirmed { confirmed: 0, wanted: 1 }));
}

/// As an application has it: a logout names the revision that it has loaded.
#[tokio::test(flavor = "multi_thread")]
async fn a_logout_is_confirmed_and_so_is_its_repetition() {
    let Some((master, replica)) = master_and_replica().await else { return };
    let backend = RedisBackend::connect(master.url()).await.unwrap();
    let store = |patience| {
        let confirming = backend.clone().confirm_destroy(1, Duration::from_millis(patience));
        let config = Config::default().deadline(Duration::from_secs(30));
        SessionStore::new(confirming).with_config(config).unwrap()
    };
    let (patient, hasty) = (store(20_000), store(100));
    let (first, second) = (patient.create(), patient.create());
    for session in [&first, &second] {
        session.insert("user", 7).unwrap();
        let _ = patient.save(session).await.unwrap();
    }
    let cookie = patient.cookie_value(&second).unwrap();
    let on_replica = SessionStore::new(RedisBackend::connect(replica.url()).await.unwrap());
    patient.destroy(&first).await.unwrap();
    // The replica has all that came before it.
    assert!(on_replica.load(cookie.as_str()).await.unwrap().is_some());

    replica.pause().unwrap();
    for _ in 0..3 {
        assert_not_confirmed(&hasty.destroy(&second).await.unwrap_err());
        assert!(hasty.load(cookie.as_str()).await.unwrap().is_none());
    }
    replica.resume().unwrap();
    patient.destroy(&second).await.unwrap();
    assert!(on_replica.load(cookie.as_str()).await.unwrap().is_none());
}

/// A repetition must not take a session that is not there any more for one whose end is confirmed.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_an_account_is_confirmed_and_so_is_its_repetition() {
    let Some((master, replica)) = master_and_replica().await else { return };
    let backend = RedisBackend::connect(master.url()).await.unwrap();
    let store = |patience| {
        let confirming = backend.clone().confirm_destroy(1, Duration::from_millis(patience));
        let config = Config::default().deadline(Duration::from_secs(30));
        SessionStore::new(confirming).with_config(config).unwrap()
    };
    let (patient, hasty) = (store(20_000), store(100));
    let alice = Owner::new("alice").unwrap();
    let mut cookies = Vec::new();
    for _ in 0..3 {
        let session = patient.create();
        session.sign_in(alice.clone());
        let _ = patient.save(&session).await.unwrap();
        cookies.push(patient.cookie_value(&session).unwrap());
    }
    // The replica has all that came before this.
    let first = patient.create();
    first.insert("n", 1).unwrap();
    let _ = patient.save(&first).await.unwrap();
    patient.destroy(&first).await.unwrap();

    replica.pause().unwrap();
    let listed = hasty.sessions_of(&alice).await.unwrap();
    for _ in 0..2 {
        assert_not_confirmed(&listed[0].end().await.unwrap_err());
    }
    for _ in 0..5 {
        assert_not_confirmed(&hasty.destroy_all(&alice).await.unwrap_err());
    }
    replica.resume().unwrap();
    patient.destroy_all(&alice).await.unwrap();
    let on_replica = SessionStore::new(RedisBackend::connect(replica.url()).await.unwrap());
    for cookie in &cookies {
        assert!(on_replica.load(cookie.as_str()).await.unwrap().is_none());
    }
}

/// What the documentation warns of: replication lags, so a failover may bring back what was
/// destroyed. A confirmed destruction says so.
#[cfg(feature = "cluster")]
#[tokio::test(flavor = "multi_thread")]
async fn a_failover_may_bring_back_what_no_replica_saw_destroyed() {
    let Some(cluster) = support::start(|| test_servers::redis::cluster::start_new(3, 1)).await
    else {
        return;
    };
    let backend = RedisBackend::connect(&url(&cluster)).await.unwrap();
    let confirming = backend.clone().confirm_destroy(1, Duration::from_millis(300));
    let mut nodes = masters(&cluster).await;
    let owner = serves(&mut nodes, 1).await;
    create(&backend, 1, 1).await.unwrap();
    // A young replica may not answer to its master yet.
    let confirmed = || async {
        create(&confirming, 9, 1).await?;
        confirming.destroy(&key(9), None).await
    };
    assert!(eventually(FAILOVER, confirmed).await);

    let (_, master) = nodes.iter_mut().find(|(address, _)| *address == owner).unwrap();
    wait_for_replica(master).await;
    let replication: String =
        redis::cmd("INFO").arg("replication").query_async(master).await.unwrap();
    let replica_port = replication.split_once("port=").unwrap().1.split(',').next().unwrap();
    let replica = format!("127.0.0.1:{replica_port}");
    let replica = cluster.nodes().find(|node| node.address() == replica).unwrap();
    // It falls behind: it stops, and what the master sends from here on is dropped.
    replica.pause().unwrap();
    redis::cmd("CLIENT").arg(&["KILL", "TYPE", "replica"]).exec_async(master).await.unwrap();

    let error = confirming.destroy(&key(1), None).await.unwrap_err();
    assert_not_confirmed(&error);
    assert_eq!(load(&backend, 1).await.unwrap(), None);
    cluster.nodes().find(|node| node.address() == owner).unwrap().kill().unwrap();
    replica.resume().unwrap();
    let found = eventually(FAILOVER, || load(&backend, 1)).await;
    assert_eq!(found, Some(1), "the replica had it, and nobody told it otherwise");
}
