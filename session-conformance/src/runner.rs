//! Runs cases, one by one or as trials of a test binary.

use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, FormatSetting, Trial};
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::case::{Case, CaseResult, Context, Failure};
use crate::cases::all;
use crate::fixture::Kind;
use crate::observed::Outages;
use crate::outcome::Outcome;
use crate::report::Report;
use crate::{Fixture, Harness};

/// The time limit of a case, unless `CONFORMANCE_CASE_SECONDS` is set: for cases that are told to run longer.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Most cases wait most of the time, so more cases than cores can run concurrently.
const MIN_THREADS: usize = 4;

/// The names of all cases.
pub fn cases() -> impl Iterator<Item = &'static str> {
    all().map(|case| case.name)
}

/// The clause of the contract, or the promise of the session, that the case of this name tests.
#[must_use]
pub fn promise(name: &str) -> Option<&'static str> {
    all().find(|case| case.name == name).map(|case| case.promise)
}

/// Runs the case of this name against a new store of the harness.
///
/// Must be called within a multi-threaded tokio runtime.
pub async fn check(harness: &dyn Harness, name: &str) -> Outcome {
    match all().find(|case| case.name == name) {
        Some(case) => run(harness, case, RUNS_AGAIN).await,
        None => Outcome::Failed(format!("there is no case {name:?}")),
    }
}

/// The `main` of a test binary (`harness = false` in its `[[test]]` section). It runs a trial for each
/// harness and case, and accepts the command line of an ordinary Rust test. At the end it prints one line
/// for each store whose cases all ran: the version of the contract, and how many clauses are proven.
///
/// With `--format json` it prints a JSON document instead: for each store the clauses that are proven, the
/// others and why, and the outcome of each case.
///
/// In strict mode (`CONFORMANCE_STRICT=1`) a missing store is a failure, and no case is run again after an
/// outage.
///
/// # Panics
/// When the runtime can't start its threads.
#[must_use]
pub fn main(harnesses: impl IntoIterator<Item = Box<dyn Harness>>) -> ExitCode {
    let runtime =
        Arc::new(Runtime::new().expect("the operating system gives a runtime its threads"));
    // Harnesses stop their servers when they are dropped, which may need the runtime.
    let _entered = runtime.enter();
    let stores: Vec<Arc<Store>> = harnesses.into_iter().map(Store::new).collect();
    let mut arguments = Arguments::from_args();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = *arguments.test_threads.get_or_insert(cores.max(MIN_THREADS));
    if matches!(arguments.format, Some(FormatSetting::Json)) && !arguments.list {
        runtime.block_on(run_all(&stores, &arguments, threads));
        return report_json(&stores);
    }
    let trials = stores.iter().flat_map(|store| all().map(|case| trial(&runtime, store, case)));
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    for line in stores.iter().filter_map(|store| store.report.summary()) {
        // The exit code tells the outcome, even if nobody reads the lines.
        let _ = writeln!(io::stdout(), "{line}");
    }
    conclusion.exit_code()
}

/// A harness and the outcomes of its cases.
struct Store {
    harness: Box<dyn Harness>,
    report: Report,
}

impl Store {
    fn new(harness: Box<dyn Harness>) -> Arc<Self> {
        let report = Report::new(harness.name());
        Arc::new(Self { harness, report })
    }

    async fn run(&self, case: &'static Case) -> Outcome {
        let runs_again = if is_strict() { 0 } else { RUNS_AGAIN };
        let outcome = run(&*self.harness, case, runs_again).await;
        self.report.add(case, &outcome);
        outcome
    }

    fn name(&self, case: &Case) -> String {
        format!("{}::{}", self.harness.name(), case.name)
    }
}

fn trial(runtime: &Arc<Runtime>, store: &Arc<Store>, case: &'static Case) -> Trial {
    let (runtime, name, store) = (Arc::clone(runtime), store.name(case), Arc::clone(store));
    Trial::ignorable_test(name, move || match runtime.block_on(store.run(case)) {
        Outcome::Passed => Ok(Completion::Completed),
        Outcome::Skipped(reason) => Ok(Completion::ignored_with(reason)),
        Outcome::Missing(reason) if !is_strict() => {
            Ok(Completion::ignored_with(format!("missing: {reason}")))
        }
        Outcome::Missing(reason) => {
            Err(format!("missing, and CONFORMANCE_STRICT=1: {reason}").into())
        }
        Outcome::Failed(message) => Err(message.into()),
    })
}

/// Runs the cases that the arguments select.
async fn run_all(stores: &[Arc<Store>], arguments: &Arguments, threads: usize) {
    let fits = |name: &str, pattern: &String| match arguments.exact {
        true => name == pattern,
        false => name.contains(pattern.as_str()),
    };
    let is_selected = |name: &str| {
        arguments.filter.as_ref().is_none_or(|filter| fits(name, filter))
            && !arguments.skip.iter().any(|skip| fits(name, skip))
    };
    let mut running = JoinSet::new();
    for store in stores {
        for case in all().filter(|case| is_selected(&store.name(case))) {
            if running.len() >= threads {
                running.join_next().await;
            }
            let store = Arc::clone(store);
            running.spawn(async move { store.run(case).await });
        }
    }
    running.join_all().await;
}

fn report_json(stores: &[Arc<Store>]) -> ExitCode {
    let reports: Vec<_> = stores.iter().filter(|store| store.report.has_run()).collect();
    let document: Vec<_> = reports.iter().map(|store| store.report.json()).collect();
    if writeln!(io::stdout(), "{:#}", serde_json::Value::Array(document)).is_err() {
        return ExitCode::from(FAILED);
    }
    if reports.iter().any(|store| store.report.has_failed(is_strict())) {
        return ExitCode::from(FAILED);
    }
    ExitCode::SUCCESS
}

/// The exit code of a Rust test binary with failures.
const FAILED: u8 = 101;

/// How often a case is run again after an operation was `Unavailable`.
const RUNS_AGAIN: usize = 5;

/// The contract allows a store to be `Unavailable` now and then, and most cases can't tell what else is wrong
/// then. Such a case is run again on a new store.
async fn run(harness: &dyn Harness, case: &'static Case, runs_again: usize) -> Outcome {
    for _ in 0..runs_again {
        let (outcome, outages) = run_once(harness, case).await;
        if !matches!(outcome, Outcome::Failed(_)) || !outages.any() {
            return outcome;
        }
        let _ = writeln!(
            io::stderr(),
            "{}: {} was unavailable; the case runs again",
            case.name,
            harness.name()
        );
    }
    run_once(harness, case).await.0
}

async fn run_once(harness: &dyn Harness, case: &'static Case) -> (Outcome, Outages) {
    let outages = Outages::default();
    let outcome = match harness.open().await {
        Ok(Fixture { kind: Kind::Missing(reason), .. }) => Outcome::Missing(reason),
        Ok(fixture) => {
            let capabilities = harness.capabilities();
            outcome(case, Context { fixture, capabilities, outages: outages.clone() }).await
        }
        Err(error) => Outcome::Failed(format!("the harness opened no store: {error:?}")),
    };
    (outcome, outages)
}

async fn outcome(case: &'static Case, mut context: Context) -> Outcome {
    let finally = context.fixture.finally.take();
    let result = carry_out(case, context).await;
    if let Some(finally) = finally {
        finally().await;
    }
    match result {
        Ok(()) => Outcome::Passed,
        Err(Failure::Skipped(reason)) => Outcome::Skipped(reason),
        Err(Failure::Failed(message)) => {
            Outcome::Failed(format!("{} is broken: {message}", case.promise))
        }
        Err(Failure::Error(error)) => Outcome::Failed(format!(
            "{} is broken: an operation that must succeed failed: {:?}, {error}",
            case.promise,
            error.kind()
        )),
    }
}

fn is_strict() -> bool {
    std::env::var_os("CONFORMANCE_STRICT").is_some_and(|value| value == "1")
}

/// Runs the case in its own task, so that a panic of the store becomes a failure of the case.
async fn carry_out(case: &'static Case, context: Context) -> CaseResult {
    let mut task = tokio::spawn((case.run)(Arc::new(context)));
    let limit = std::env::var("CONFORMANCE_CASE_SECONDS").ok().and_then(|limit| limit.parse().ok());
    let limit = limit.map_or(TIME_LIMIT, Duration::from_secs);
    match tokio::time::timeout(limit, &mut task).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(Failure::Failed(format!("the store panicked: {error}"))),
        Err(_) => {
            task.abort();
            Err(Failure::Failed(format!(
                "an operation hangs: the case did not end within {limit:?}"
            )))
        }
    }
}
