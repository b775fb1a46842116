//! What this store adds to the contract.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod support;

use std::time::Duration;

use session_core::{
    Backend, BatchBackend, CreateItem, DestroyItem, ErrorKind, Key, Owner, Record, Revision,
    TouchItem, Update, UpdateItem, Write,
};
use session_redis::RedisBackend;
use support::{
    HOUR, create, does, expiry, key, kind, load, name, raw, record, redis, touch, update,
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
            1 => backend.touch(&key(1), record.revision, 2 * HOUR).await.unwrap(),
            _ => {
                let update = Update { expected: record.revision, ttl: Some(3 * HOUR) };
                backend.save(&key(1), &record, Write::Update(update)).await.unwrap();
            }
        }
        let value: String =
            redis::cmd("GET").arg(&name).query_async(&mut connection).await.unwrap();
        let deadline = expiry(&mut connection, &name).await + 1;
        assert_eq!(value, format!("s1:0000000000c0ffee:5:alice\n{text}"));
        deadlines.push(deadline);
    }
    let hour = i64::try_from(HOUR.as_millis()).unwrap();
    for pair in deadlines.windows(2) {
        assert!((0..60_000).contains(&(pair[1] - pair[0] - hour)), "{deadlines:?}");
    }
}

/// Another program took the expiry away: such a session would never end.
#[tokio::test(flavor = "multi_thread")]
async fn a_record_without_an_expiry_is_corrupt_until_it_has_one_again() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    for number in 1..=5 {
        create(&backend, number, 1).await.unwrap();
        does(&mut admin, &["PERSIST", &name(number)]).await;
        let error = load(&backend, number).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains("expiry"), "{error}");
    }
    let keys = [1, 2].map(key);
    for result in backend.load_many(&keys).await {
        assert_eq!(kind(result), Some(ErrorKind::Corrupt));
    }
    // An update that keeps the deadline can't give it one; those that set one do.
    update(&backend, 1, 1, 2).await.unwrap();
    assert_eq!(kind(load(&backend, 1).await), Some(ErrorKind::Corrupt));
    touch(&backend, 2, 1).await.unwrap();
    let renew = Update { expected: Revision::from_u64(1), ttl: Some(HOUR) };
    backend.save(&key(3), &record(2), Write::Update(renew)).await.unwrap();
    for (number, revision) in [(2, 1), (3, 2)] {
        assert_eq!(load(&backend, number).await.unwrap(), Some(revision));
        assert!(expiry(&mut admin, &name(number)).await > 0);
    }
    assert_eq!(kind(create(&backend, 4, 7).await), Some(ErrorKind::AlreadyExists));
    assert!(backend.destroy(&key(4), None).await.unwrap());
    assert!(backend.destroy(&key(5), Some(Revision::from_u64(1))).await.unwrap());
}

/// What `load` calls dead does not come back by another operation of the same moment.
#[tokio::test(flavor = "multi_thread")]
async fn the_end_of_a_record_is_the_same_for_every_operation() {
    const LIFE: Duration = Duration::from_millis(20);
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    for number in 0..40 {
        backend.save(&key(number), &record(1), Write::Create { ttl: LIFE }).await.unwrap();
        while let Some(loaded) = backend.load(&key(number)).await.unwrap() {
            assert!((1..=LIFE.as_millis()).contains(&loaded.expires_in.as_millis()), "{loaded:?}");
        }
        let exists = redis::cmd("EXISTS").arg(name(number)).query_async(&mut admin).await;
        assert_eq!(exists, Ok(0), "{number}");
        match number % 4 {
            0 => assert_eq!(kind(update(&backend, number, 1, 2).await), Some(ErrorKind::Gone)),
            1 => assert_eq!(kind(touch(&backend, number, 1).await), Some(ErrorKind::Gone)),
            2 => assert!(!backend.destroy(&key(number), None).await.unwrap()),
            _ => create(&backend, number, 2).await.unwrap(),
        }
    }
}

/// As if another program had written over the head.
#[tokio::test(flavor = "multi_thread")]
async fn a_broken_head_is_corrupt_for_its_own_record_only() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    for number in 0..8 {
        create(&backend, number, 1).await.unwrap();
    }
    for (number, head) in [(1, "S1:"), (2, "s2:")] {
        let overwrite = ["SETRANGE", &name(number), "0", head];
        redis::cmd(overwrite[0]).arg(&overwrite[1..]).exec_async(&mut admin).await.unwrap();
    }
    redis::cmd("SET").arg(&[&name(3), "", "KEEPTTL"]).exec_async(&mut admin).await.unwrap();
    let corrupt = |number| (1..=3).contains(&number).then_some(ErrorKind::Corrupt);
    let items: Vec<_> = (0..8).map(|number| update_item(number, 1, 2)).collect();
    for (number, updated) in backend.update_many(&items).await.into_iter().enumerate() {
        assert_eq!(kind(updated), corrupt(number), "update {number}");
    }
    let keys: Vec<Key> = (0..8).map(key).collect();
    for (number, loaded) in backend.load_many(&keys).await.into_iter().enumerate() {
        assert_eq!(kind(loaded), corrupt(number), "load {number}");
    }
}

fn update_item(number: u8, from: u64, to: u64) -> UpdateItem {
    let update = Update { expected: Revision::from_u64(from), ttl: None };
    UpdateItem { key: key(number), record: record(to), update }
}

/// Two records, a value of another type and nothing; invalid items are among them.
#[tokio::test(flavor = "multi_thread")]
async fn the_items_of_a_batch_have_separate_results() {
    use ErrorKind::{AlreadyExists, Conflict, Corrupt, Gone, InvalidValue};
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    let first = Revision::from_u64(1);
    let kinds = |results: Vec<session_core::Result<()>>| -> Vec<Option<ErrorKind>> {
        results.into_iter().map(kind).collect()
    };
    // Several times, because the first one finds the scripts unknown.
    for round in 0..3 {
        redis::cmd("FLUSHALL").exec_async(&mut admin).await.unwrap();
        create(&backend, 1, 1).await.unwrap();
        create(&backend, 2, 7).await.unwrap();
        let push = ["RPUSH", &name(3), "x"];
        redis::cmd(push[0]).arg(&push[1..]).exec_async(&mut admin).await.unwrap();

        let loaded = backend.load_many(&[1, 2, 3, 4].map(key)).await;
        let revisions = loaded.into_iter().map(|result| match result {
            Ok(found) => Ok(found.map(|found| found.record.revision.to_u64())),
            Err(error) => Err(error.kind()),
        });
        let expected = [Ok(Some(1)), Ok(Some(7)), Err(Corrupt), Ok(None)];
        assert_eq!(revisions.collect::<Vec<_>>(), expected, "{round}");

        let touch_item = |number, ttl| TouchItem { key: key(number), expected: first, ttl };
        let touches = [(1, HOUR), (2, HOUR), (5, Duration::ZERO), (3, HOUR), (4, HOUR)];
        let touches = touches.map(|(number, ttl)| touch_item(number, ttl));
        let expected = [None, Some(Conflict), Some(InvalidValue), Some(Corrupt), Some(Gone)];
        assert_eq!(kinds(backend.touch_many(&touches).await), expected, "{round}");

        let mut updates = [5, 1, 2, 3, 4].map(|number| update_item(number, 1, 2));
        updates[0].update.ttl = Some(Duration::ZERO);
        updates[1].update.ttl = Some(2 * HOUR);
        let expected = [Some(InvalidValue), None, Some(Conflict), Some(Corrupt), Some(Gone)];
        assert_eq!(kinds(backend.update_many(&updates).await), expected, "{round}");
        assert_eq!(load(&backend, 1).await.unwrap(), Some(2));
        let left = backend.load(&key(1)).await.unwrap().unwrap().expires_in;
        assert!(left > HOUR && left <= 2 * HOUR, "{left:?}");

        let create_item = |number, ttl| CreateItem { key: key(number), record: record(1), ttl };
        let creates = [(1, HOUR), (3, HOUR), (4, HOUR), (5, Duration::ZERO)];
        let creates = creates.map(|(number, ttl)| create_item(number, ttl));
        let expected = [Some(AlreadyExists), Some(AlreadyExists), None, Some(InvalidValue)];
        assert_eq!(kinds(backend.create_many(&creates).await), expected, "{round}");

        let item = |number, only| DestroyItem { key: key(number), only };
        let destroys = [
            item(1, Some(first)),
            item(2, None),
            item(3, Some(first)),
            item(4, Some(first)),
            item(5, None),
            item(6, Some(first)),
        ];
        let destroyed: Vec<bool> =
            backend.destroy_many(&destroys).await.into_iter().map(Result::unwrap).collect();
        assert_eq!(destroyed, [false, true, false, true, false, false], "{round}");
        assert_eq!(load(&backend, 1).await.unwrap(), Some(2));
        assert!(backend.destroy(&key(3), None).await.unwrap());
    }
    assert!(backend.load_many(&[]).await.is_empty());
    assert!(backend.create_many(&[]).await.is_empty());
    assert!(backend.update_many(&[]).await.is_empty());
    assert!(backend.destroy_many(&[]).await.is_empty());
}

/// The tasks of one runtime wait for answers when it is shut down; another goes on.
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
        // The connection ended with the old runtime.
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

/// A runtime of one thread that nobody polls any more, and the connection with it.
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
