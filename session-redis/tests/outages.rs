//! Redis in trouble: each trouble is a typed error in time, and over when the trouble is.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod support;

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use session_core::{Backend, BatchBackend, CreateItem, ErrorKind, TouchItem, UpdateItem};
use session_redis::RedisBackend;
use support::proxy::Proxy;
use support::{all_fail, create, eventually, key, kind, load, name, raw, redis, touch, update};
use test_servers::Options;
use tokio::net::{TcpListener, TcpStream};

const SHORT: Duration = Duration::from_millis(400);
const SOON: Duration = Duration::from_millis(1500);

#[tokio::test(flavor = "multi_thread")]
async fn killed_is_unavailable_and_restarted_works_at_the_first_call() {
    let Some(server) = redis(Options::default().set("appendonly", "yes")).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    create(&backend, 1, 1).await.unwrap();
    server.kill().unwrap();
    all_fail(&backend, ErrorKind::Unavailable, SOON).await;
    // Without a connection nothing is sent.
    assert!(update(&backend, 1, 1, 2).await.unwrap_err().nothing_was_written());
    server.restart().unwrap();
    update(&backend, 1, 1, 2).await.unwrap();
    assert_eq!(load(&backend, 1).await.unwrap(), Some(2));

    // Nobody called while it was away this time: the first call is a write.
    server.restart().unwrap();
    update(&backend, 1, 2, 3).await.unwrap();
    assert_eq!(load(&backend, 1).await.unwrap(), Some(3));
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_connections_come_back_unnoticed() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    create(&backend, 1, 1).await.unwrap();
    let mut admin = raw(server.url()).await;
    for revision in 1..20 {
        let killed: i64 = redis::cmd("CLIENT")
            .arg(&["KILL", "TYPE", "normal", "SKIPME", "yes"])
            .query_async(&mut admin)
            .await
            .unwrap();
        assert_eq!(killed, 1);
        // The news travels for a moment; a write that overtakes it can't be repeated safely.
        tokio::time::sleep(Duration::from_millis(20)).await;
        update(&backend, 1, revision, revision + 1).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_server_is_unavailable_in_time() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap().timeout(SHORT);
    create(&backend, 1, 1).await.unwrap();
    let mut admin = raw(server.url()).await;
    redis::cmd("CLIENT").arg(&["PAUSE", "5000", "ALL"]).exec_async(&mut admin).await.unwrap();
    // The first one was sent.
    let error = update(&backend, 1, 7, 8).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.message().contains("400ms"), "{error}");
    assert!(!error.nothing_was_written(), "{error:?}");
    // Its connection was given up, and there is no other yet.
    let error = update(&backend, 1, 7, 8).await.unwrap_err();
    assert!(error.message().contains("400ms"), "{error}");
    assert!(error.nothing_was_written(), "{error:?}");
    all_fail(&backend, ErrorKind::Unavailable, SOON).await;
    // A paused server keeps what it was sent, and does it when it goes on: the outcome was unknown.
    eventually(Duration::from_secs(10), || load(&backend, 1)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stopped_process_is_unavailable_in_time() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap().timeout(SHORT);
    create(&backend, 1, 1).await.unwrap();
    server.pause().unwrap();
    assert_eq!(kind(load(&backend, 1).await), Some(ErrorKind::Unavailable));
    assert_eq!(kind(load(&backend, 1).await), Some(ErrorKind::Unavailable));
    server.resume().unwrap();
    assert_eq!(load(&backend, 1).await.unwrap(), Some(1));
}

/// Those that wait behind others wait no longer for it.
#[tokio::test(flavor = "multi_thread")]
async fn many_at_once_are_unavailable_in_time() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap().timeout(SHORT);
    create(&backend, 1, 1).await.unwrap();
    server.pause().unwrap();
    let started = Instant::now();
    let tasks: Vec<_> = (0..300)
        .map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move { (load(&backend, 1).await, update(&backend, 1, 9, 9).await) })
        })
        .collect();
    for task in tasks {
        let (loaded, updated) = task.await.unwrap();
        assert_eq!(kind(loaded), Some(ErrorKind::Unavailable));
        assert_eq!(kind(updated), Some(ErrorKind::Unavailable));
    }
    assert!(started.elapsed() < 3 * SHORT, "{:?}", started.elapsed());
    server.resume().unwrap();
    assert_eq!(load(&backend, 1).await.unwrap(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_is_given_up() {
    let Some(server) = redis(Options::default()).await else { return };
    let proxy = Proxy::to(server.address()).await;
    let backend = RedisBackend::connect(&proxy.url).await.unwrap().timeout(SHORT);
    create(&backend, 1, 1).await.unwrap();
    proxy.stopped.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(kind(load(&backend, 1).await), Some(ErrorKind::Unavailable));
    proxy.stopped.store(false, Ordering::Relaxed);
    assert_eq!(load(&backend, 1).await.unwrap(), Some(1));
    update(&backend, 1, 1, 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_half_open_connection_is_given_up_when_the_caller_gives_up_first() {
    let Some(server) = redis(Options::default()).await else { return };
    let proxy = Proxy::to(server.address()).await;
    let backend = RedisBackend::connect(&proxy.url).await.unwrap();
    create(&backend, 1, 1).await.unwrap();
    proxy.stopped.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(tokio::time::timeout(SHORT, load(&backend, 1)).await.is_err());
    proxy.stopped.store(false, Ordering::Relaxed);
    let started = Instant::now();
    assert_eq!(load(&backend, 1).await.unwrap(), Some(1));
    assert!(started.elapsed() < SHORT, "{:?}", started.elapsed());
}

/// An attempt to connect that began while the network lost everything ends late: nobody waits for it afterwards.
#[tokio::test(flavor = "multi_thread")]
async fn an_attempt_to_connect_that_is_lost_holds_up_nobody_for_long() {
    let Some(server) = redis(Options::default()).await else { return };
    let proxy = Proxy::to(server.address()).await;
    let backend = RedisBackend::connect(&proxy.url).await.unwrap().timeout(SHORT);
    create(&backend, 1, 1).await.unwrap();
    proxy.stopped.store(true, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(50)).await;
    // The first finds the connection dead, the second begins an attempt.
    for _ in 0..2 {
        assert_eq!(kind(load(&backend, 1).await), Some(ErrorKind::Unavailable));
    }
    proxy.stopped.store(false, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_millis(1_100)).await;
    assert_eq!(load(&backend, 1).await.unwrap(), Some(1));
}

/// Forwards connections, each from `delay` after it was accepted.
async fn slow_proxy(server: &str, delay: Duration) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("redis://{}/", listener.local_addr().unwrap());
    let server = server.to_owned();
    tokio::spawn(async move {
        while let Ok((mut client, _)) = listener.accept().await {
            let mut server = TcpStream::connect(&server).await.unwrap();
            tokio::spawn(async move {
                tokio::time::sleep(delay).await;
                tokio::io::copy_bidirectional(&mut client, &mut server).await
            });
        }
    });
    url
}

/// Connecting takes longer than any operation waits: it goes on without them.
#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_takes_longer_than_an_operation_comes_about() {
    let Some(server) = redis(Options::default()).await else { return };
    let url = slow_proxy(server.address(), Duration::from_millis(500)).await;
    let backend = RedisBackend::connect(&url).await.unwrap().timeout(Duration::from_millis(300));
    eventually(SOON, || create(&backend, 1, 1)).await;
    let mut admin = raw(server.url()).await;
    let kill = ["KILL", "TYPE", "normal", "SKIPME", "yes"];
    redis::cmd("CLIENT").arg(&kill).exec_async(&mut admin).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(kind(load(&backend, 1).await), Some(ErrorKind::Unavailable));
    assert_eq!(eventually(SOON, || load(&backend, 1)).await, Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn out_of_memory_refuses_writes_and_keeps_what_is_there() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    create(&backend, 1, 1).await.unwrap();
    let mut admin = raw(server.url()).await;
    let mut limit = async |bytes: &str| {
        redis::cmd("CONFIG")
            .arg(&["SET", "maxmemory", bytes])
            .exec_async(&mut admin)
            .await
            .unwrap();
    };
    limit("1").await;
    let items = |number| {
        [1, number].map(|number| CreateItem {
            key: key(number),
            record: support::record(1),
            ttl: support::HOUR,
        })
    };
    let mut refused = vec![create(&backend, 2, 1).await, update(&backend, 1, 1, 2).await];
    let mut together = backend.create_many(&items(3)).await;
    refused.append(&mut together);
    let update_to = session_core::Update { expected: support::record(1).revision, ttl: None };
    let item =
        |number| UpdateItem { key: key(number), record: support::record(2), update: update_to };
    // The second one has no record: that it would have been refused, too, nobody asked.
    let mut together = backend.update_many(&[item(1), item(9)]).await;
    assert_eq!(kind(together.pop().unwrap()), Some(ErrorKind::Gone));
    refused.append(&mut together);
    for result in refused {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.nothing_was_written(), "{error:?}");
        assert!(error.message().contains("maxmemory"), "{error}");
    }
    assert_eq!(load(&backend, 1).await.unwrap(), Some(1));
    assert_eq!(load(&backend, 3).await.unwrap(), None);
    // Renewals and logouts need no memory.
    touch(&backend, 1, 1).await.unwrap();
    let item = TouchItem { key: key(1), expected: support::record(1).revision, ttl: support::HOUR };
    assert!(backend.touch_many(&[item]).await.pop().unwrap().is_ok());
    limit("0").await;
    update(&backend, 1, 1, 2).await.unwrap();
    create(&backend, 2, 1).await.unwrap();
    limit("1").await;
    assert!(backend.destroy(&key(1), None).await.unwrap());
    assert!(backend.destroy(&key(2), Some(support::record(1).revision)).await.unwrap());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_refuses_writes() {
    let Some(master) = redis(Options::default()).await else { return };
    let (host, port) = master.address().split_once(':').unwrap();
    let options = Options::default().set("replicaof", format!("{host} {port}"));
    let Some(replica) = redis(options.set("repl-diskless-sync-delay", "0")).await else { return };
    let on_master = RedisBackend::connect(master.url()).await.unwrap();
    let on_replica = RedisBackend::connect(replica.url()).await.unwrap();
    create(&on_master, 1, 1).await.unwrap();
    let started = Instant::now();
    while load(&on_replica, 1).await.ok().flatten() != Some(1) {
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    for result in [create(&on_replica, 2, 1).await, update(&on_replica, 1, 1, 2).await] {
        let error = result.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.nothing_was_written(), "{error:?}");
        assert!(error.message().contains("replica"), "{error}");
    }
    assert_eq!(kind(on_replica.destroy(&key(1), None).await), Some(ErrorKind::Unavailable));
    let mut admin = raw(replica.url()).await;
    redis::cmd("REPLICAOF").arg(&["NO", "ONE"]).exec_async(&mut admin).await.unwrap();
    update(&on_replica, 1, 1, 2).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_loading_server_is_unavailable() {
    // Redis 6.2 answers after every 2 MiB that it has loaded; later ones can be told to do so sooner.
    let options = Options::default().set("key-load-delay", "5000").set("rdbcompression", "no");
    let Some(server) = redis(options).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap().timeout(SHORT);
    create(&backend, 1, 1).await.unwrap();
    let mut admin = raw(server.url()).await;
    let mut filling = redis::pipe();
    for number in 0..400 {
        filling.cmd("SET").arg(number).arg("filler".repeat(20_000));
    }
    filling.exec_async(&mut admin).await.unwrap();
    redis::cmd("SAVE").exec_async(&mut admin).await.unwrap();
    server.kill().unwrap();
    server.restart_without_waiting().unwrap();
    let mut loading = 0;
    let started = Instant::now();
    loop {
        match load(&backend, 1).await {
            Ok(found) => break assert_eq!(found, Some(1)),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
                if error.message().contains("loading") {
                    assert!(error.nothing_was_written(), "{error:?}");
                    loading += 1;
                }
            }
        }
        assert!(started.elapsed() < Duration::from_secs(20));
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(loading > 0, "the server was never seen loading");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_value_under_our_key_is_corrupt_and_can_be_destroyed() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    redis::cmd("RPUSH").arg(&[&name(1), "x"]).exec_async(&mut admin).await.unwrap();
    all_but_create_are_corrupt(&backend).await;
    assert!(backend.destroy(&key(1), None).await.unwrap());
    assert_eq!(load(&backend, 1).await.unwrap(), None);

    redis::cmd("SET")
        .arg(&[&name(1), "hello", "PX", "100000"])
        .exec_async(&mut admin)
        .await
        .unwrap();
    all_but_create_are_corrupt(&backend).await;
    assert!(backend.destroy(&key(1), None).await.unwrap());
}

async fn all_but_create_are_corrupt(backend: &RedisBackend) {
    assert_eq!(kind(load(backend, 1).await), Some(ErrorKind::Corrupt));
    assert_eq!(kind(update(backend, 1, 1, 2).await), Some(ErrorKind::Corrupt));
    assert_eq!(kind(touch(backend, 1, 1).await), Some(ErrorKind::Corrupt));
    // It has no revision, so it is not the record that is to be destroyed.
    let only = Some(session_core::Revision::from_u64(1));
    assert!(!backend.destroy(&key(1), only).await.unwrap());
    assert_eq!(kind(create(backend, 1, 1).await), Some(ErrorKind::AlreadyExists));
}

/// A user without the right to `SET`: the script finds that out after it has begun.
#[tokio::test(flavor = "multi_thread")]
async fn a_script_that_is_refused_in_the_middle_says_so() {
    let Some(server) = redis(Options::default()).await else { return };
    let all = RedisBackend::connect(server.url()).await.unwrap();
    create(&all, 1, 1).await.unwrap();
    let mut admin = raw(server.url()).await;
    let user = ["SETUSER", "less", "on", ">word", "~*", "+@all"];
    redis::cmd("ACL").arg(&user).exec_async(&mut admin).await.unwrap();
    let url = format!("redis://less:word@{}/", server.address());
    let less = RedisBackend::connect(&url).await.unwrap();
    // `connect` would find it out.
    let user = ["SETUSER", "less", "-set", "-pexpire", "-del"];
    redis::cmd("ACL").arg(&user).exec_async(&mut admin).await.unwrap();
    let only = Some(session_core::Revision::from_u64(1));
    let destroyed = less.destroy(&key(1), only).await.map(drop);
    let results = [
        create(&less, 2, 1).await,
        update(&less, 1, 1, 2).await,
        touch(&less, 1, 1).await,
        destroyed,
    ];
    for result in results {
        assert_eq!(kind(result), Some(ErrorKind::InvalidConfig));
    }
    assert_eq!(load(&all, 1).await.unwrap(), Some(1));
    assert_eq!(load(&all, 2).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn forgotten_scripts_are_sent_again() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    create(&backend, 1, 1).await.unwrap();
    let mut admin = raw(server.url()).await;
    for revision in 1..4 {
        redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut admin).await.unwrap();
        update(&backend, 1, revision, revision + 1).await.unwrap();
    }
    redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut admin).await.unwrap();
    let only = Some(session_core::Revision::from_u64(4));
    assert!(backend.destroy(&key(1), only).await.unwrap());
}
