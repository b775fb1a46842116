//! Many more requests at once than a store can serve.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use session_core::{Error, SessionStore};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::say;
use crate::stores::{DEADLINE, Field};

/// How long the load lasts.
const LENGTH: Duration = Duration::from_secs(4);
/// How much longer than its deadline an operation may take on a busy machine.
const SLACK: Duration = Duration::from_millis(1_500);
/// How soon after the load a request has to be served as before.
const NORMAL_AGAIN: Duration = Duration::from_secs(1);
/// What each request in flight may cost at most.
const BYTES_PER_REQUEST: usize = 64 * 1024;

#[derive(Default)]
struct Seen {
    served: AtomicU64,
    refused: AtomicU64,
    unknown: AtomicU64,
    slowest: AtomicU64,
}

/// Keeps this number of requests in flight; each loads a session, changes it and saves it.
pub(crate) async fn run(name: &str, field: &Field, requests: usize) -> bool {
    let store = &field.store;
    let Ok(cookies) = sessions(store, 500).await else {
        say(&format!("{name}: no session can be created"));
        return false;
    };
    let cookies = Arc::new(cookies);
    let mut single = Duration::ZERO;
    for cookie in cookies.iter().take(100) {
        let begins = Instant::now();
        if request(store, cookie).await.is_ok() {
            single = single.max(begins.elapsed());
        }
    }
    let (before, seen, stop) =
        (memory(), Arc::new(Seen::default()), Arc::new(AtomicBool::new(false)));
    let mut tasks = JoinSet::new();
    for number in 0..requests {
        let (store, cookies) = (store.clone(), Arc::clone(&cookies));
        let (seen, stop) = (Arc::clone(&seen), Arc::clone(&stop));
        tasks.spawn(async move {
            while !stop.load(Ordering::Relaxed) {
                let begins = Instant::now();
                let outcome = request(&store, &cookies[number % cookies.len()]).await;
                seen.count(begins.elapsed(), outcome.as_ref().err());
                tokio::task::yield_now().await;
            }
        });
    }
    let peak = watch_memory(LENGTH).await;
    stop.store(true, Ordering::Relaxed);
    let stopped = Instant::now();
    // Nobody begins anything from now on; what is in flight ends within its deadline.
    while tasks.join_next().await.is_some() {}
    let drained = stopped.elapsed();
    let normal = normal_again(store, &cookies[0], Instant::now()).await;
    let n = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let grown = peak.saturating_sub(before);
    say(&format!(
        "{name}: {requests} requests in flight for {} s: {} served, {} refused, {} unknown; the slowest took {} ms; \
         {} KiB of memory more for each; the last ended {} ms after the load; {} later a request took {} ms \
         (before the load: {} ms)",
        LENGTH.as_secs(),
        n(&seen.served),
        n(&seen.refused),
        n(&seen.unknown),
        n(&seen.slowest),
        grown / requests.max(1) / 1024,
        drained.as_millis(),
        normal.map_or("never".to_owned(), |(after, _)| format!("{} ms", after.as_millis())),
        normal.map_or(0, |(_, took)| took.as_millis()),
        single.as_millis(),
    ));
    let mut good = true;
    let mut expect = |holds: bool, what: &str| {
        if !holds {
            say(&format!("  VIOLATION: {what}"));
            good = false;
        }
    };
    // A load and a save are two operations.
    let longest = u64::try_from((2 * DEADLINE + SLACK).as_millis()).unwrap_or(u64::MAX);
    expect(n(&seen.slowest) <= longest, "a request took longer than its deadlines");
    expect(n(&seen.served) > 0, "nothing was served");
    expect(grown <= requests * BYTES_PER_REQUEST, "memory is not bounded");
    expect(
        normal.is_some_and(|(after, _)| after <= NORMAL_AGAIN),
        "a second after the load, requests are not served as before",
    );
    good
}

impl Seen {
    fn count(&self, took: Duration, error: Option<&Error>) {
        let counter = match error {
            None => &self.served,
            Some(error) if error.nothing_was_written() => &self.refused,
            Some(_) => &self.unknown,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.slowest.fetch_max(millis, Ordering::Relaxed);
    }
}

async fn sessions(store: &SessionStore, number: usize) -> Result<Vec<String>, Error> {
    let mut cookies = Vec::new();
    for _ in 0..number {
        let session = store.create();
        session.insert("n", 0)?;
        store.save(&session).await?;
        cookies.extend(store.cookie_value(&session).map(|value| value.into_string()));
    }
    Ok(cookies)
}

async fn request(store: &SessionStore, cookie: &str) -> Result<(), Error> {
    if let Some(session) = store.load(cookie).await? {
        session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
        store.save(&session).await?;
    }
    Ok(())
}

/// When the first request that was served within a tenth of the deadline ended, and how long it took.
async fn normal_again(
    store: &SessionStore,
    cookie: &str,
    since: Instant,
) -> Option<(Duration, Duration)> {
    while since.elapsed() < Duration::from_secs(20) {
        let begins = Instant::now();
        let served = request(store, cookie).await.is_ok();
        if served && begins.elapsed() < DEADLINE / 10 {
            return Some((since.elapsed(), begins.elapsed()));
        }
        sleep(Duration::from_millis(5)).await;
    }
    None
}

/// The most memory that this process uses in this time.
async fn watch_memory(length: Duration) -> usize {
    let (begins, peak) = (Instant::now(), AtomicUsize::new(0));
    while begins.elapsed() < length {
        peak.fetch_max(memory(), Ordering::Relaxed);
        sleep(Duration::from_millis(50)).await;
    }
    peak.into_inner()
}

/// The resident memory of this process in bytes; 0 where `/proc` does not tell.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.split_whitespace().next()?.parse::<usize>().ok());
    kibibytes.unwrap_or(0) * 1024
}
