//! `cargo run -p simulation --features histories --release --bin histories -- --seconds 60`; see the
//! README.

mod audit;
mod content;
mod faults;
mod ledger;
mod load;
mod proxy;
mod stores;
mod visitor;

use std::collections::BTreeMap;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use session_core::SessionStore;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::faults::Fault;
use crate::ledger::Counts;
use crate::stores::{Field, NAMES, Unusable};
use crate::visitor::Visitors;

/// Uses real stores while their servers are killed, paused, cut off and filled, and checks what they
/// promise.
#[derive(Parser)]
struct Arguments {
    /// The stores, separated by commas.
    #[arg(long, default_value = "postgres,mariadb,sqlite,file,redis")]
    stores: String,
    /// How long each store is used.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// The same in hours.
    #[arg(long)]
    hours: Option<u64>,
    /// The number of acknowledged operations at which the run may end.
    #[arg(long, default_value_t = 0)]
    operations: u64,
    /// How many visitors there are at once, each with three tabs.
    #[arg(long, default_value_t = 16)]
    visitors: usize,
    /// No faults.
    #[arg(long)]
    calm: bool,
    /// Measures load instead: the number of requests in flight at once. There are no faults.
    #[arg(long)]
    load: Option<usize>,
}

/// An operation that begins this long after the end of a fault has to succeed.
const RECOVERY: Duration = Duration::from_secs(2);

#[tokio::main]
async fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let strict = std::env::var_os("CONFORMANCE_STRICT").is_some_and(|value| value == "1");
    let mut good = true;
    for name in arguments.stores.split(',') {
        let field = match stores::open(name).await {
            Ok(field) => field,
            Err(Unusable::Missing(missing)) => {
                say(&format!("{name}: skipped: {missing}"));
                good &= !strict;
                continue;
            }
            Err(Unusable::Failed(error)) => {
                say(&format!("{name}: {error}. The stores are {}", NAMES.join(", ")));
                good = false;
                continue;
            }
        };
        good &= match arguments.load {
            Some(requests) => load::run(name, &field, requests).await,
            None => run(name, &field, &arguments).await,
        };
    }
    if good { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

pub(crate) fn say(line: &str) {
    // Nobody reads it any more.
    let _ = writeln!(io::stdout(), "{line}");
}

async fn run(name: &str, field: &Field, arguments: &Arguments) -> bool {
    let counts = Arc::new(Counts::default());
    let stop = Arc::new(AtomicBool::new(false));
    let collecting = field.store.spawn_gc(Duration::from_secs(1));
    let mut visitors = JoinSet::new();
    for _ in 0..arguments.visitors {
        let (store, counts, stop) = (field.store.clone(), Arc::clone(&counts), Arc::clone(&stop));
        visitors.spawn(Visitors { store, counts, stop }.run());
    }
    let begins = Instant::now();
    let seconds = arguments.hours.map_or(arguments.seconds, |hours| hours * 3600);
    let recoveries = nemesis(
        field,
        &counts,
        |counts| {
            let done = counts.acknowledged.load(Ordering::Relaxed) >= arguments.operations;
            begins.elapsed() >= Duration::from_secs(seconds) && done
        },
        arguments.calm,
    )
    .await;
    stop.store(true, Ordering::Relaxed);
    let ended = timeout(Duration::from_secs(90), async {
        while let Some(visitor) = visitors.join_next().await {
            if visitor.is_err() {
                counts.violation("an operation panicked");
            }
        }
    });
    if ended.await.is_err() {
        counts.violation("an operation did not end");
    }
    collecting.abort();
    report(name, &counts, &recoveries, begins.elapsed())
}

/// How long it took until an operation succeeded after each fault: how often, and the longest.
type Recoveries = BTreeMap<Fault, (u64, Duration)>;

async fn nemesis(
    field: &Field,
    counts: &Counts,
    is_over: impl Fn(&Counts) -> bool,
    calm: bool,
) -> Recoveries {
    let mut recoveries = Recoveries::new();
    let mut faults = field.faults.iter().cycle();
    while !is_over(counts) {
        sleep(Duration::from_millis(200)).await;
        let Some(fault) = faults.next().filter(|_| !calm) else { continue };
        // Shorter and longer than the deadline.
        let length = [300, 800, 2_600][fastrand::usize(..3)];
        if let Err(error) = fault.strike(field, Duration::from_millis(length)).await {
            counts.violation(error);
            return recoveries;
        }
        let (took, is_late) = recovery(&field.store).await;
        let entry = recoveries.entry(*fault).or_default();
        *entry = (entry.0 + 1, entry.1.max(took));
        if is_late {
            counts.violation(format!(
                "an operation that began more than {RECOVERY:?} after {fault:?} failed; one succeeded after {} ms",
                took.as_millis()
            ));
        }
    }
    recoveries
}

/// How long it takes until an operation succeeds, and whether one failed that began later than `RECOVERY`.
async fn recovery(store: &SessionStore) -> (Duration, bool) {
    let begins = Instant::now();
    let mut is_late = false;
    while begins.elapsed() < Duration::from_secs(30) {
        let began = begins.elapsed();
        let session = store.create();
        session.insert("probe", 1).expect("a number can be stored");
        let saved = store.save(&session).await;
        if saved.is_ok() {
            let took = begins.elapsed();
            let _ = store.destroy(&session).await;
            return (took, is_late);
        }
        is_late |= began > RECOVERY;
        sleep(Duration::from_millis(10)).await;
    }
    (begins.elapsed(), true)
}

fn report(name: &str, counts: &Counts, recoveries: &Recoveries, took: Duration) -> bool {
    let violations = counts.violations();
    let n = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    say(&format!(
        "{name}: {} operations in {:.0} s, {} acknowledged, {} refused, {} in doubt; {} changes acknowledged, {} \
         sessions, {} of them checked whole; the slowest operation took {} ms; {} violations",
        n(&counts.operations),
        took.as_secs_f64(),
        n(&counts.acknowledged),
        n(&counts.refused),
        n(&counts.in_doubt),
        n(&counts.changes),
        n(&counts.sessions),
        n(&counts.audited),
        n(&counts.slowest),
        violations.len(),
    ));
    for (fault, (times, longest)) in recoveries {
        say(&format!(
            "  {fault:?}: {times} times, an operation succeeded after {} ms at most",
            longest.as_millis()
        ));
    }
    let mut kinds = BTreeMap::<&str, usize>::new();
    for violation in &violations {
        *kinds.entry(violation).or_default() += 1;
    }
    for (violation, times) in kinds.iter().take(20) {
        say(&format!("  VIOLATION: {violation} ({times})"));
    }
    let busy = n(&counts.acknowledged) > 100 && n(&counts.audited) > 0;
    if !busy {
        say("  it did too little to prove anything");
    }
    violations.is_empty() && busy
}
