//! What this store adds to the contract.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use session_core::{Backend, Error, ErrorKind, Key, Owner, Record, Revision, Update, Write};
use session_redis::{NotConfirmed, RedisBackend};
use support::{
    HOUR, calls, create, does, expiry, key, kind, load, name, raw, record, redis, statistics,
    update, update_at_once,
};
use test_servers::Options;

#[tokio::test(flavor = "multi_thread")]
async fn a_record_is_readable_with_redis_cli_and_has_its_expiry() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap().prefix("shop:");
    let record = Record { owner: Some(Owner::new("alice").unwrap()), ..record(0xc0ffee) };
    let mut connection = raw(server.url()).await;
    let name = format!("shop:{}", key(1).to_hex());
    let text = "{\"revision\":12648430}";
    let mut deadlines = Vec::new();
    for round in 0..3 {
        match round {
            0 => backend.save(&key(1), &record, Write::Create { ttl: HOUR }).await.unwrap(),
            1 => backend.touch(&key(1), 2 * HOUR).await.unwrap(),
            _ => {
                let update = Update { expected: record.revision, ttl: Some(3 * HOUR) };
                backend.save(&key(1), &record, Write::Update(update)).await.unwrap();
            }
        }
        let value: String =
            redis::cmd("GET").arg(&name).query_async(&mut connection).await.unwrap();
        let deadline = expiry(&mut connection, &name).await + 1;
        assert_eq!(value, format!("s1:0000000000c0ffee:{deadline:015}:5:alice\n{text}"));
        deadlines.push(deadline);
    }
    let hour = i64::try_from(HOUR.as_millis()).unwrap();
    for pair in deadlines.windows(2) {
        assert!((0..60_000).contains(&(pair[1] - pair[0] - hour)), "{deadlines:?}");
    }
}

/// A third party took the expiry from the keys.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_whose_key_lost_its_expiry_dies_in_time() {
    const LIFE: Duration = Duration::from_millis(800);
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    for number in 1..=5 {
        let create = Write::Create { ttl: LIFE };
        backend.save(&key(number), &record(1), create).await.unwrap();
        redis::cmd("PERSIST").arg(name(number)).exec_async(&mut admin).await.unwrap();
    }
    let started = Instant::now();
    update(&backend, 1, 1, 2).await.unwrap();
    let keep = Update { expected: Revision::from_u64(1), ttl: None };
    backend.rotate(&key(2), &key(12), &record(2), keep).await.unwrap();
    backend.touch(&key(3), HOUR).await.unwrap();
    let renew = Update { expected: Revision::from_u64(1), ttl: Some(HOUR) };
    backend.save(&key(4), &record(2), Write::Update(renew)).await.unwrap();
    for number in [1, 5, 12] {
        let loaded = backend.load(&key(number)).await.unwrap();
        let Some(loaded) = loaded else {
            assert!(started.elapsed() > LIFE / 2, "{number} died early");
            continue;
        };
        assert!(loaded.expires_in <= LIFE, "{number}: {:?}", loaded.expires_in);
    }
    tokio::time::sleep(LIFE).await;
    for number in [1, 2, 5, 12] {
        assert_eq!(load(&backend, number).await.unwrap(), None, "{number}");
    }
    for number in [3, 4, 12] {
        let life: i64 = redis::cmd("PTTL").arg(name(number)).query_async(&mut admin).await.unwrap();
        assert!(life > 0 || number == 12 && life == -2, "{number}: {life}");
    }
    assert_eq!(kind(update(&backend, 1, 2, 3).await), Some(ErrorKind::Gone));
    assert_eq!(kind(backend.touch(&key(5), HOUR).await), Some(ErrorKind::Gone));
    assert!(!backend.destroy(&key(5), Some(Revision::from_u64(1))).await.unwrap());
    assert_eq!(
        kind(backend.rotate(&key(5), &key(15), &record(2), keep).await),
        Some(ErrorKind::Gone)
    );
    create(&backend, 5, 7).await.unwrap();
    assert_eq!(load(&backend, 5).await.unwrap(), Some(7));
}

/// Whether or not the client knows the deadline.
#[tokio::test(flavor = "multi_thread")]
async fn an_update_gives_a_key_its_expiry_back() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    create(&backend, 1, 1).await.unwrap();
    let created = expiry(&mut admin, &name(1)).await;
    for (revision, load_before) in [(1, false), (2, true)] {
        if load_before {
            load(&backend, 1).await.unwrap();
        }
        does(&mut admin, &["PERSIST", &name(1)]).await;
        update(&backend, 1, revision, revision + 1).await.unwrap();
        let now = expiry(&mut admin, &name(1)).await;
        assert_eq!(now, created, "loaded before: {load_before}");
    }
    assert_eq!(load(&backend, 1).await.unwrap(), Some(3));
}

/// As if another program had written over the deadline.
#[tokio::test(flavor = "multi_thread")]
async fn a_head_without_a_deadline_is_corrupt_for_its_own_record_only() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    for number in 0..64 {
        create(&backend, number, 1).await.unwrap();
    }
    let overwrite = ["SETRANGE", &name(1), "20", "not a deadline!"];
    redis::cmd(overwrite[0]).arg(&overwrite[1..]).exec_async(&mut admin).await.unwrap();
    for (number, updated) in update_at_once(&backend, 0..64, 1, 2).await.into_iter().enumerate() {
        let expected = (number == 1).then_some(ErrorKind::Corrupt);
        assert_eq!(updated, expected, "{number}");
    }
}

/// More at a time than go out alone: they share commands, and each has its own verdict.
#[tokio::test(flavor = "multi_thread")]
async fn shared_commands_have_separate_verdicts() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    for number in 0..200 {
        match number % 4 {
            0 | 1 => create(&backend, number, 1).await.unwrap(),
            2 => {
                let push = ["RPUSH", &name(number), "x"];
                redis::cmd(push[0]).arg(&push[1..]).exec_async(&mut admin).await.unwrap();
            }
            _ => {}
        }
    }
    for round in 0..20_u64 {
        let tasks: Vec<_> = (0..200_u8)
            .map(|number| {
                let backend = backend.clone();
                tokio::spawn(async move {
                    let from = if number % 4 == 1 { 7777 } else { round + 1 };
                    let updated = update(&backend, number, from, round + 2).await;
                    let loaded = load(&backend, number).await;
                    let (update_is, load_is) = match number % 4 {
                        0 => (None, Ok(Some(round + 2))),
                        1 => (Some(ErrorKind::Conflict), Ok(Some(1))),
                        2 => (Some(ErrorKind::Corrupt), Err(ErrorKind::Corrupt)),
                        _ => (Some(ErrorKind::Gone), Ok(None)),
                    };
                    assert_eq!(kind(updated), update_is, "update {number}");
                    assert_eq!(loaded.map_err(|error| error.kind()), load_is, "load {number}");
                })
            })
            .collect();
        for task in tasks {
            task.await.unwrap();
        }
    }
    let counted = statistics(&mut admin).await;
    assert!(calls(&counted, "mget") > 0, "no load was shared");
    assert!(calls(&counted, "evalsha") < 4000, "no update was shared: {counted}");
}

#[tokio::test(flavor = "multi_thread")]
async fn callers_that_give_up_leave_the_others_alone() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    create(&backend, 1, 1).await.unwrap();
    let done = Arc::new(AtomicUsize::new(0));
    for round in 0..50_u64 {
        let tasks: Vec<_> = (0..100)
            .map(|_| {
                let (backend, done) = (backend.clone(), Arc::clone(&done));
                tokio::spawn(async move {
                    assert_eq!(load(&backend, 1).await.unwrap(), Some(1));
                    done.fetch_add(1, Ordering::Relaxed);
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
    assert!(done.load(Ordering::Relaxed) >= 2500);
    assert_eq!(load(&backend, 1).await.unwrap(), Some(1));
}

/// The tasks of one runtime wait in a shared command when it is shut down; another goes on.
#[test]
fn a_runtime_that_ends_does_not_take_the_store_with_it() {
    let first = tokio::runtime::Runtime::new().unwrap();
    let Some((server, backend)) = first.block_on(async {
        let server = redis(Options::default()).await?;
        let backend = RedisBackend::connect(server.url()).await.unwrap();
        create(&backend, 1, 1).await.unwrap();
        Some((server, backend))
    }) else {
        return;
    };
    server.pause().unwrap();
    for _ in 0..100 {
        let backend = backend.clone();
        first.spawn(async move { load(&backend, 1).await });
    }
    std::thread::sleep(Duration::from_millis(100));
    first.shutdown_background();
    server.resume().unwrap();
    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        // What joins a batch of the old runtime ends with it, as `Unavailable`.
        support::eventually(Duration::from_secs(5), || load(&backend, 1)).await;
        for _ in 0..5 {
            let tasks: Vec<_> = (0..100)
                .map(|_| {
                    let backend = backend.clone();
                    tokio::spawn(async move { load(&backend, 1).await })
                })
                .collect();
            for task in tasks {
                assert_eq!(task.await.unwrap().unwrap(), Some(1));
            }
        }
    });
}

/// A runtime of one thread that nobody polls any more: what it carries never comes back.
#[test]
fn a_runtime_that_rests_does_not_hold_up_the_store_for_ever() {
    let resting = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let Some((server, backend)) = resting.block_on(async {
        let server = redis(Options::default()).await?;
        let backend = RedisBackend::connect(server.url()).await.unwrap();
        create(&backend, 1, 1).await.unwrap();
        Some((server, backend.timeout(Duration::from_millis(400))))
    }) else {
        return;
    };
    server.pause().unwrap();
    resting.block_on(async {
        for _ in 0..20 {
            let backend = backend.clone();
            tokio::spawn(async move { load(&backend, 1).await });
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    });
    server.resume().unwrap();
    let second = tokio::runtime::Runtime::new().unwrap();
    second.block_on(async {
        support::eventually(Duration::from_secs(5), || load(&backend, 1)).await;
        for _ in 0..20 {
            assert_eq!(load(&backend, 1).await.unwrap(), Some(1));
        }
    });
}

#[tokio::test(flavor = "multi_thread")]
async fn several_connections_serve_one_store() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap().connections(4);
    let keys: Vec<Key> =
        (0..64_u8).map(|first| Key::from_bytes([first.wrapping_mul(37); 32])).collect();
    for key in &keys {
        backend.save(key, &record(1), Write::Create { ttl: HOUR }).await.unwrap();
    }
    for key in &keys {
        assert!(backend.load(key).await.unwrap().is_some());
    }
    let mut admin = raw(server.url()).await;
    let clients: String = redis::cmd("CLIENT")
        .arg(&["LIST", "TYPE", "normal"])
        .query_async(&mut admin)
        .await
        .unwrap();
    assert_eq!(clients.lines().count(), 5, "{clients}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_of_the_application_and_a_unix_socket_serve_too() {
    let Some(server) = redis(Options::default().set("unixsocket", "socket")).await else { return };
    let given = RedisBackend::from_connection(raw(server.url()).await).await.unwrap();
    create(&given, 1, 1).await.unwrap();
    update(&given, 1, 1, 2).await.unwrap();
    let socket = server.directory().unwrap().join("socket");
    let by_socket = RedisBackend::connect(&format!("unix://{}", socket.display())).await.unwrap();
    assert_eq!(load(&by_socket, 1).await.unwrap(), Some(2));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_destruction_is_confirmed_by_replicas_or_says_so() {
    let Some(master) = redis(Options::default()).await else { return };
    let (host, port) = master.address().split_once(':').unwrap();
    let options = Options::default()
        .set("replicaof", format!("{host} {port}"))
        .set("repl-diskless-sync-delay", "0");
    let Some(replica) = redis(options).await else { return };
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
    // With an expected revision it is a rotation's, not a logout.
    assert!(hasty.destroy(&key(3), Some(Revision::from_u64(1))).await.unwrap());
    assert_eq!(load(&backend, 3).await.unwrap(), None);
    // Others don't wait behind it.
    let waiting = tokio::spawn({
        let patient = patient.clone();
        async move { patient.destroy(&key(2), None).await }
    });
    tokio::time::sleep(Duration::from_millis(50)).await;
    let started = Instant::now();
    load(&patient, 1).await.unwrap();
    assert!(started.elapsed() < Duration::from_millis(500));
    // Not even another logout: it is carried out while its confirmation queues behind this one.
    create(&backend, 4, 1).await.unwrap();
    let behind = tokio::spawn({
        let patient = patient.clone();
        async move { patient.destroy(&key(4), None).await }
    });
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert_eq!(load(&backend, 4).await.unwrap(), None);
    replica.resume().unwrap();
    assert!(!waiting.await.unwrap().unwrap());
    assert!(behind.await.unwrap().unwrap());

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

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_cluster_is_no_single_node() {
    let started = support::start(|| {
        test_servers::redis::start_new(Options::default().set("cluster-enabled", "yes"))
    });
    let Some(server) = started.await else { return };
    let error = RedisBackend::connect(server.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("redis+cluster://"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeated_update_is_recognised_as_carried_out() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    create(&backend, 1, 1).await.unwrap();
    update(&backend, 1, 1, 2).await.unwrap();
    update(&backend, 1, 1, 2).await.unwrap();
    assert_eq!(kind(update(&backend, 1, 1, 3).await), Some(ErrorKind::Conflict));
    let again = Update { expected: Revision::from_u64(2), ttl: Some(Duration::ZERO) };
    let refused = backend.save(&key(1), &record(3), Write::Update(again)).await;
    assert_eq!(kind(refused), Some(ErrorKind::InvalidValue));
}
