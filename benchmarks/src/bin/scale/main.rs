//! Measures stores with many sessions: `cargo run --release -p benchmarks --bin scale -- --help`.
//!
//! For each backend: the latency of loads with 10,000 sessions, with many more sessions, and while gc removes
//! expired ones; how long it takes to end the ten sessions of an account among them; and the storage that a
//! session takes.

mod place;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use bench_harness::{Contender, Operation, Ours, Slice, Subject, Timing};
use clap::Parser;
use indicatif::ProgressBar;
use session_core::{Owner, SessionStore};

use self::place::Place;

/// The number of sessions of the small store, with which the large one is compared.
const SMALL: usize = 10_000;
/// The number of sessions of an account, and of accounts, that are ended.
const OF_ACCOUNT: usize = 10;
const ACCOUNTS: usize = 50;
/// The number of tasks that load.
const TASKS: usize = 2;

/// Measures stores with many sessions.
#[derive(Debug, Parser)]
struct Args {
    /// memory, file, redis, sqlite, postgres or mariadb (repeat it for several)
    #[arg(long, value_name = "NAME", default_value = "memory")]
    backend: Vec<String>,
    /// The number of sessions of the large store
    #[arg(long, default_value_t = 1_000_000)]
    sessions: usize,
    /// The number of these sessions that expire and are removed during loads
    #[arg(long, default_value_t = 10_000)]
    expired: usize,
    /// How long each load measurement takes
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
}

fn main() {
    let args = Args::parse();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    runtime.expect("a runtime can be made").block_on(async {
        for backend in &args.backend {
            measure(backend, &args).await;
        }
    });
}

async fn measure(name: &str, args: &Args) {
    let progress = ProgressBar::new_spinner();
    progress.enable_steady_tick(Duration::from_millis(200));
    let place = Place::new(name).await;
    let store = &place.store;
    let mut contender = Contender::new("ours", Ours::new(store.clone()));
    let time = Duration::from_secs_f64(args.seconds);

    contender.fill(SMALL).await;
    let small = loads(&contender, time).await;
    progress.set_message(format!("{name}: filling"));
    let (before, begun) = (place.bytes().await, Instant::now());
    contender.fill(args.sessions).await;
    let filled = begun.elapsed();
    let grown = (args.sessions - SMALL) as u64;
    let room = place.bytes().await.saturating_sub(before) / grown.max(1);
    progress.set_message(format!("{name}: loading"));
    let large = loads(&contender, time).await;

    println(&progress, &format!("{name}, {} sessions", args.sessions));
    println(&progress, &format!("  filled in {:.0} s", filled.as_secs_f64()));
    println(&progress, &format!("  bytes per session: {room}"));
    println(&progress, &line(&format!("load, {SMALL} sessions"), small, small));
    println(&progress, &line(&format!("load, {} sessions", args.sessions), large, small));
    let mut ends = end_accounts(store).await;
    ends.sort_unstable();
    let millis = |time: Duration| time.as_secs_f64() * 1000.0;
    let (median, longest) = (millis(ends[ends.len() / 2]), millis(ends[ends.len() - 1]));
    let account = format!(
        "  destroy_all of {OF_ACCOUNT} sessions: median {median:.2} ms, longest {longest:.2} ms"
    );
    println(&progress, &account);
    if !store.guarantees().expires_natively {
        let expiring = Ours::new(store.clone());
        for _ in 0..args.expired {
            expiring.create_short(Duration::from_millis(1)).await;
        }
        let (during, removed, took) = loads_during_gc(&contender, store).await;
        println(&progress, &line("load while gc runs", during, large));
        let took = took.as_secs_f64() * 1000.0;
        println(&progress, &format!("  gc: {removed} removed in {took:.1} ms"));
    }
    progress.finish_and_clear();
}

fn println(progress: &ProgressBar, line: &str) {
    use std::io::Write as _;
    // An error means that the pipe is closed; the program need not end early.
    progress.suspend(|| drop(writeln!(std::io::stdout(), "{line}")));
}

fn line(what: &str, timing: Timing, base: Timing) -> String {
    format!(
        "  {what:<24} {:>9.0}/s  p50 {:>8.1} µs  p99 {:>8.1} µs  ({:.2} ×)",
        timing.rate,
        timing.p50,
        timing.p99,
        timing.p99 / base.p99
    )
}

async fn loads(contender: &Contender, time: Duration) -> Timing {
    contender.measure(Operation::LoadHit, TASKS, Duration::from_millis(500)).await;
    let mut total = Slice::empty();
    for slice in contender.measure(Operation::LoadHit, TASKS, time).await {
        total.follow(&slice);
    }
    total.timing()
}

/// Signs in to accounts and ends their sessions. How long each end takes.
async fn end_accounts(store: &SessionStore) -> Vec<Duration> {
    let mut ends = Vec::new();
    for account in 0..ACCOUNTS {
        let owner = Owner::new(format!("account {account}")).expect("a short name");
        for _ in 0..OF_ACCOUNT {
            let session = store.create();
            session.sign_in(owner.clone());
            store.save(&session).await.expect("a new session is saved");
        }
        let begun = Instant::now();
        let ended = store.destroy_all(&owner).await.expect("the store has an owner index");
        ends.push(begun.elapsed());
        assert_eq!(ended, OF_ACCOUNT as u64);
    }
    ends
}

/// Measures loads in periods of some milliseconds, until a collection has ended.
async fn loads_during_gc(contender: &Contender, store: &SessionStore) -> (Timing, u64, Duration) {
    const PIECE: Duration = Duration::from_millis(20);
    let done = Arc::new(AtomicBool::new(false));
    let collection = {
        let (store, done) = (store.clone(), Arc::clone(&done));
        tokio::spawn(async move {
            let begun = Instant::now();
            let removed = store.gc().await.expect("gc works");
            done.store(true, Ordering::Relaxed);
            (removed, begun.elapsed())
        })
    };
    let mut total = Slice::empty();
    while !done.load(Ordering::Relaxed) {
        for slice in contender.measure(Operation::LoadHit, TASKS, PIECE).await {
            total.follow(&slice);
        }
    }
    let (removed, took) = collection.await.expect("gc works");
    (total.timing(), removed, took)
}
