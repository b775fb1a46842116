//! How many commands the usual operations are, and that what makes them few does no harm.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod support;

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use session_core::{Backend, ErrorKind, Write};
use session_redis::RedisBackend;
use support::{
    HOUR, calls, create, does, expiry, key, kind, knows, load, name, raw, record, redis,
    statistics, update, update_at_once,
};
use test_servers::Options;

async fn reset(admin: &mut MultiplexedConnection) {
    redis::cmd("CONFIG").arg("RESETSTAT").exec_async(admin).await.unwrap();
}

/// The futures are in boxes, and allocators are quick up to about 1 KB.
#[tokio::test(flavor = "multi_thread")]
async fn an_operation_is_small() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let (key, record) = (key(1), record(1));
    let load = size_of_val(&*backend.load(&key));
    let save = size_of_val(&*backend.save(&key, &record, Write::Create { ttl: HOUR }));
    let touch = size_of_val(&*backend.touch(&key, HOUR));
    let destroy = size_of_val(&*backend.destroy(&key, None));
    let all = [load, save, touch, destroy];
    // These are 192 to 544 with optimization.
    assert!(all.iter().all(|size| *size < 1024), "{all:?}");
}

/// How often the scripts' commands were called since.
async fn counted(admin: &mut MultiplexedConnection) -> [u64; 6] {
    let statistics = statistics(admin).await;
    ["evalsha", "time", "pexpiretime", "getrange", "setrange", "set"]
        .map(|command| calls(&statistics, command))
}

#[tokio::test(flavor = "multi_thread")]
async fn an_update_after_a_load_is_three_commands() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    if !knows(&mut admin, "pexpiretime").await {
        println!("SKIPPED: Redis 6.2 goes the long way");
        return;
    }
    create(&backend, 1, 1).await.unwrap();
    load(&backend, 1).await.unwrap();

    reset(&mut admin).await;
    update(&backend, 1, 1, 2).await.unwrap();
    assert_eq!(counted(&mut admin).await, [1, 0, 1, 1, 1, 0], "of the same length");
    reset(&mut admin).await;
    update(&backend, 1, 2, 10).await.unwrap();
    assert_eq!(counted(&mut admin).await, [1, 0, 1, 1, 0, 1], "longer");
    assert_eq!(load(&backend, 1).await.unwrap(), Some(10));
    reset(&mut admin).await;
    update(&backend, 1, 10, 3).await.unwrap();
    assert_eq!(counted(&mut admin).await, [1, 0, 1, 1, 0, 1], "shorter");
    assert_eq!(load(&backend, 1).await.unwrap(), Some(3));

    // Others share a command with it, and only what is no such update goes the long way.
    for number in 0..100 {
        if number != 1 {
            create(&backend, number, 3).await.unwrap();
        }
        load(&backend, number).await.unwrap();
    }
    reset(&mut admin).await;
    let updates: Vec<_> = (0..200)
        .map(|number| {
            let backend = backend.clone();
            tokio::spawn(async move {
                match number {
                    0..100 => update(&backend, number, 3, 4).await.unwrap(),
                    _ => create(&backend, number, 4).await.unwrap(),
                }
            })
        })
        .collect();
    for update in updates {
        update.await.unwrap();
    }
    let [calls, _, _, read, in_place, written] = counted(&mut admin).await;
    assert!(calls < 200, "none was shared: {calls}");
    assert_eq!(
        (read, in_place, written),
        (100, 100 + 100, 100),
        "creates write their deadlines, too"
    );
}

/// Somebody made the value longer or shorter, and did not change the revision.
#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_guess_at_the_length_does_no_harm() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    create(&backend, 1, 1).await.unwrap();
    load(&backend, 1).await.unwrap();
    let ends = expiry(&mut admin, &name(1)).await;
    let whole: String = redis::cmd("GET").arg(name(1)).query_async(&mut admin).await.unwrap();
    let shorter = &whole[..whole.len() - 3];
    for value in [format!("{whole}, and more"), shorter.to_owned()] {
        let set = ["SET", &name(1), &value, "KEEPTTL"];
        redis::cmd(set[0]).arg(&set[1..]).exec_async(&mut admin).await.unwrap();
        update(&backend, 1, 1, 2).await.unwrap();
        let written: String = redis::cmd("GET").arg(name(1)).query_async(&mut admin).await.unwrap();
        assert_eq!(written, whole.replacen("01:", "02:", 1).replace(":1}", ":2}"), "from {value}");
        assert_eq!(expiry(&mut admin, &name(1)).await, ends);
    }
}

/// Somebody took the expiry from some keys, and their commands are shared with those of others.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_dead_stays_so_among_others() {
    const LIFE: Duration = Duration::from_secs(2);
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    for number in 0..100 {
        let ttl = if number % 2 == 0 { LIFE } else { HOUR };
        backend.save(&key(number), &record(1), Write::Create { ttl }).await.unwrap();
        load(&backend, number).await.unwrap();
        if number % 2 == 0 {
            does(&mut admin, &["PERSIST", &name(number)]).await;
        }
    }
    // Those that this process takes for the first to end have more time by now, from another one.
    let other = RedisBackend::connect(server.url()).await.unwrap();
    for number in (0..50).step_by(2) {
        other.touch(&key(number), HOUR).await.unwrap();
    }
    tokio::time::sleep(LIFE).await;
    for (number, updated) in update_at_once(&backend, 0..100, 1, 2).await.into_iter().enumerate() {
        let dead = number % 2 == 0 && number >= 50;
        assert_eq!(updated, dead.then_some(ErrorKind::Gone), "{number}");
    }
}

/// Somebody gave a key more time.
#[tokio::test(flavor = "multi_thread")]
async fn a_longer_expiry_is_no_longer_life() {
    const LIFE: Duration = Duration::from_millis(500);
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    backend.save(&key(1), &record(1), Write::Create { ttl: LIFE }).await.unwrap();
    load(&backend, 1).await.unwrap();
    does(&mut admin, &["EXPIRE", &name(1), "1000"]).await;
    tokio::time::sleep(LIFE).await;
    assert_eq!(kind(update(&backend, 1, 1, 2).await), Some(ErrorKind::Gone));
    assert_eq!(load(&backend, 1).await.unwrap(), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_time_is_asked_now_and_then() {
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    create(&backend, 1, 1).await.unwrap();
    reset(&mut admin).await;
    let started = Instant::now();
    let mut at_most = 1;
    for _ in 0..50 {
        let asked = Instant::now();
        load(&backend, 1).await.unwrap();
        // A late answer does not count.
        at_most += u64::from(asked.elapsed() > Duration::from_millis(10));
    }
    let elapsed = started.elapsed();
    at_most += u64::try_from(elapsed.as_millis() / 100).unwrap();
    let counted = statistics(&mut admin).await;
    assert_eq!(calls(&counted, "get"), 50);
    assert!((1..=at_most).contains(&calls(&counted, "time")), "{counted} in {elapsed:?}");
    tokio::time::sleep(Duration::from_millis(150)).await;
    let before = calls(&statistics(&mut admin).await, "time");
    load(&backend, 1).await.unwrap();
    assert_eq!(calls(&statistics(&mut admin).await, "time"), before + 1);
}

/// Also between two readings of its clock.
#[tokio::test(flavor = "multi_thread")]
async fn that_a_record_is_over_only_the_server_says() {
    const LIFE: Duration = Duration::from_millis(20);
    let Some(server) = redis(Options::default()).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    let mut admin = raw(server.url()).await;
    for number in 0..40 {
        load(&backend, number).await.unwrap();
        backend.save(&key(number), &record(1), Write::Create { ttl: LIFE }).await.unwrap();
        while let Some(loaded) = backend.load(&key(number)).await.unwrap() {
            assert!(loaded.expires_in <= LIFE, "{:?}", loaded.expires_in);
        }
        let stands = redis::cmd("EXISTS").arg(name(number)).query_async(&mut admin).await;
        assert_eq!(stands, Ok(0), "{number}");
    }
}
