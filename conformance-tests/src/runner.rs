//! Runs cases, one by one or as trials of a test binary.

use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use libtest_mimic::{Arguments, Completion, Trial};
use tokio::runtime::Runtime;

use crate::case::{Case, CaseResult, Context, Failure};
use crate::cases::all;
use crate::fixture::Kind;
use crate::{Fixture, Harness};

/// The time limit of a case.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// Most cases wait most of the time, so more cases than cores can run concurrently.
const MIN_THREADS: usize = 4;

/// The outcome of a case.
#[derive(Debug, Clone, PartialEq, Eq)]
#[must_use]
pub enum Outcome {
    /// The fact holds.
    Passed,
    /// The case does not apply to this store, for this reason.
    Skipped(String),
    /// There is no store, for this reason.
    Missing(String),
    /// The fact does not hold: the clause of the contract, and the behaviour of the store.
    Failed(String),
}

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
        Some(case) => run(harness, case).await,
        None => Outcome::Failed(format!("there is no case {name:?}")),
    }
}

/// The `main` of a test binary (`harness = false` in its `[[test]]` section). It runs a trial for each
/// harness and case, and accepts the command line of an ordinary Rust test.
///
/// In strict mode (`CONFORMANCE_STRICT=1`) a missing store is a failure.
///
/// # Panics
/// When the runtime can't start its threads.
#[must_use]
pub fn main(harnesses: impl IntoIterator<Item = Box<dyn Harness>>) -> ExitCode {
    let runtime =
        Arc::new(Runtime::new().expect("the operating system gives a runtime its threads"));
    // Harnesses stop their servers when they are dropped, which may need the runtime.
    let _entered = runtime.enter();
    let harnesses: Vec<Arc<dyn Harness>> = harnesses.into_iter().map(Arc::from).collect();
    let strict = std::env::var_os("CONFORMANCE_STRICT").is_some_and(|value| value == "1");
    let trials = harnesses
        .iter()
        .flat_map(|harness| all().map(|case| trial(&runtime, harness, case, strict)))
        .collect();
    let mut arguments = Arguments::from_args();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    arguments.test_threads.get_or_insert(cores.max(MIN_THREADS));
    libtest_mimic::run(&arguments, trials).exit_code()
}

fn trial(
    runtime: &Arc<Runtime>,
    harness: &Arc<dyn Harness>,
    case: &'static Case,
    strict: bool,
) -> Trial {
    let name = format!("{}::{}", harness.name(), case.name);
    let (runtime, harness) = (Arc::clone(runtime), Arc::clone(harness));
    Trial::ignorable_test(name, move || match runtime.block_on(run(&*harness, case)) {
        Outcome::Passed => Ok(Completion::Completed),
        Outcome::Skipped(reason) => Ok(Completion::ignored_with(reason)),
        Outcome::Missing(reason) if !strict => {
            Ok(Completion::ignored_with(format!("missing: {reason}")))
        }
        Outcome::Missing(reason) => {
            Err(format!("missing, and CONFORMANCE_STRICT=1: {reason}").into())
        }
        Outcome::Failed(message) => Err(message.into()),
    })
}

async fn run(harness: &dyn Harness, case: &'static Case) -> Outcome {
    let fixture = match harness.open().await {
        Ok(Fixture { kind: Kind::Missing(reason), .. }) => return Outcome::Missing(reason),
        Ok(fixture) => fixture,
        Err(error) => return Outcome::Failed(format!("the harness opened no store: {error:?}")),
    };
    let mut context = Context { fixture, capabilities: harness.capabilities() };
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

/// Runs the case in its own task, so that a panic of the store becomes a failure of the case.
async fn carry_out(case: &'static Case, context: Context) -> CaseResult {
    let mut task = tokio::spawn((case.run)(Arc::new(context)));
    match tokio::time::timeout(TIME_LIMIT, &mut task).await {
        Ok(Ok(result)) => result,
        Ok(Err(error)) => Err(Failure::Failed(format!("the store panicked: {error}"))),
        Err(_) => {
            task.abort();
            Err(Failure::Failed(format!(
                "an operation hangs: the case did not end within {TIME_LIMIT:?}"
            )))
        }
    }
}
