//! What the tests of this crate share.

#![allow(dead_code, reason = "each test binary uses its own part")]

pub(crate) mod cluster;
pub(crate) mod proxy;

use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use session_core::{
    Backend, Bytes, Error, ErrorKind, Key, Record, Result, Revision, Update, Write,
};
use session_redis::RedisBackend;
use test_servers::{Missing, Options, Server};

pub(crate) const HOUR: Duration = Duration::from_secs(3600);

/// Starts servers, or says why the test is skipped; in strict mode, or when they are installed and
/// do not start, that is a failure.
pub(crate) async fn start<T: Send + 'static>(
    start: impl FnOnce() -> Result<T, Missing> + Send + 'static,
) -> Option<T> {
    match tokio::task::spawn_blocking(start).await.unwrap() {
        Ok(started) => Some(started),
        Err(missing) => {
            let strict = std::env::var_os("CONFORMANCE_STRICT").is_some_and(|value| value == "1");
            assert!(missing.what.contains("not installed") && !strict, "{missing}");
            println!("SKIPPED: {missing}");
            None
        }
    }
}

pub(crate) async fn redis(options: Options) -> Option<Server> {
    start(|| test_servers::redis::start_new(options)).await
}

/// A connection beside the backend's. It waits as long as a busy machine takes.
pub(crate) async fn raw(url: &str) -> MultiplexedConnection {
    let config = redis::AsyncConnectionConfig::new()
        .set_connection_timeout(None)
        .set_response_timeout(Some(Duration::from_secs(30)));
    let client = redis::Client::open(url).unwrap();
    client.get_multiplexed_async_connection_with_config(&config).await.unwrap()
}

pub(crate) fn key(number: u8) -> Key {
    Key::from_bytes([number; 32])
}

/// The name of [`key`] in Redis.
pub(crate) fn name(number: u8) -> String {
    format!("session:{}", key(number).to_hex())
}

/// A command that changes something, and says with 1 that it did.
pub(crate) async fn does(admin: &mut MultiplexedConnection, command: &[&str]) {
    let done = redis::cmd(command[0]).arg(&command[1..]).query_async(admin).await;
    assert_eq!(done, Ok(1), "{command:?}, or this machine is too slow for the test");
}

/// What the server counts of its commands.
pub(crate) async fn statistics(admin: &mut MultiplexedConnection) -> String {
    redis::cmd("INFO").arg("commandstats").query_async(admin).await.unwrap()
}

/// How often a command was called, also by scripts.
pub(crate) fn calls(statistics: &str, command: &str) -> u64 {
    let beginning = format!("cmdstat_{command}:calls=");
    let count = statistics.lines().find_map(|line| line.strip_prefix(&beginning));
    count.map_or(0, |rest| rest.split(',').next().unwrap().parse().unwrap())
}

/// When a key expires, in milliseconds since 1970.
pub(crate) async fn expiry(connection: &mut MultiplexedConnection, name: &str) -> i64 {
    let told = redis::cmd("PEXPIRETIME").arg(name).query_async(connection).await;
    let unknown = |error: &redis::RedisError| error.to_string().contains("unknown command");
    match told {
        Err(error) if unknown(&error) => {}
        told => return told.unwrap(),
    }
    // Redis 6.2 tells what is left; read again where the clock moved on meanwhile.
    let script = "local function now()
           local time = redis.call('TIME')
           return time[1] * 1000 + math.floor(time[2] / 1000)
         end
         local before, left
         repeat before, left = now(), redis.call('PTTL', KEYS[1]) until before == now()
         return left < 0 and left or before + left";
    redis::cmd("EVAL").arg(script).arg(1).arg(name).query_async(connection).await.unwrap()
}

pub(crate) fn record(revision: u64) -> Record {
    let payload = Bytes::from(format!("{{\"revision\":{revision}}}"));
    Record { payload, revision: Revision::from_u64(revision), owner: None }
}

pub(crate) async fn create(backend: &RedisBackend, number: u8, revision: u64) -> Result<()> {
    backend.save(&key(number), &record(revision), Write::Create { ttl: HOUR }).await
}

pub(crate) async fn update(backend: &RedisBackend, number: u8, from: u64, to: u64) -> Result<()> {
    let update = Update { expected: Revision::from_u64(from), ttl: None };
    backend.save(&key(number), &record(to), Write::Update(update)).await
}

pub(crate) async fn touch(backend: &RedisBackend, number: u8, expected: u64) -> Result<()> {
    backend.touch(&key(number), Revision::from_u64(expected), HOUR).await
}

/// The revision that is loaded.
pub(crate) async fn load(backend: &RedisBackend, number: u8) -> Result<Option<u64>> {
    let loaded = backend.load(&key(number)).await?;
    Ok(loaded.map(|loaded| loaded.record.revision.to_u64()))
}

/// Every operation fails with this kind, soon.
pub(crate) async fn all_fail(backend: &RedisBackend, kind: ErrorKind, limit: Duration) {
    async fn check<T: std::fmt::Debug>(
        what: &str,
        operation: impl Future<Output = Result<T>>,
        kind: ErrorKind,
        limit: Duration,
    ) {
        let started = Instant::now();
        let error = operation.await.expect_err(what);
        assert_eq!(error.kind(), kind, "{what}: {error:?}");
        assert!(started.elapsed() < limit, "{what} took {:?}", started.elapsed());
    }
    check("load", load(backend, 1), kind, limit).await;
    check("create", create(backend, 2, 1), kind, limit).await;
    check("update", update(backend, 1, 1, 2), kind, limit).await;
    check("touch", touch(backend, 1, 1), kind, limit).await;
    check("destroy", backend.destroy(&key(1), None), kind, limit).await;
    let only = Some(Revision::from_u64(1));
    check("destroy only", backend.destroy(&key(1), only), kind, limit).await;
}

pub(crate) fn kind<T>(result: Result<T>) -> Option<ErrorKind> {
    result.err().as_ref().map(Error::kind)
}

/// Repeats an operation until it succeeds, for at most `limit`.
pub(crate) async fn eventually<T, F>(limit: Duration, mut operation: impl FnMut() -> F) -> T
where
    F: Future<Output = Result<T>>,
{
    let started = Instant::now();
    loop {
        match operation().await {
            Ok(value) => return value,
            Err(error) => assert!(started.elapsed() < limit, "still failing: {error:?}"),
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}
