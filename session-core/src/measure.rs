//! Counters and histograms through the facade of the crate `metrics`. While no recorder is installed, the
//! clock is not read and nothing is counted.

use std::cell::Cell;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use metrics::{Counter, Histogram, IntoF64, Unit};

use crate::clock::Instant;

/// The outcome of an operation whose future was dropped.
const CANCELLED: &str = "cancelled";
/// The outcomes that each operation may have.
const FAILURES: [&str; 9] = [
    "refused",
    "unavailable",
    "gone",
    "conflict",
    "corrupt",
    "too_large",
    "too_many_sessions",
    "failed",
    CANCELLED,
];
/// The operations and their outcomes besides the failures.
const OPERATIONS: [(&str, &[&str]); 5] = [
    ("load", &["found", "rotated", "unknown"]),
    ("save", &["unchanged", "updated", "renewed", "created", "rotated", "signed_in", "ended"]),
    ("destroy", &["ended"]),
    ("is_alive", &["alive", "ended"]),
    ("gc", &["collected"]),
];

/// The metrics of one store. The recorder that is installed at its first operation gets them.
#[derive(Default)]
pub(crate) struct Metrics(OnceLock<Option<Handles>>);

struct Handles {
    operations: Vec<Operation>,
    merged: Counter,
    collected: Counter,
}

struct Operation {
    name: &'static str,
    outcomes: Vec<(&'static str, Counter)>,
    seconds: Histogram,
}

impl Metrics {
    pub(crate) fn begin(&self, store: &'static str, operation: &'static str) -> Measurement<'_> {
        let handles = self.0.get_or_init(|| Handles::register(store)).as_ref();
        let of =
            |handles: &'_ Handles| handles.operations.iter().position(|one| one.name == operation);
        let running = handles.and_then(|handles| Some((handles, of(handles)?)));
        Measurement(running.map(|(handles, place)| {
            let operation = &handles.operations[place];
            Running { operation, handles, begun: Instant::now(), ended: AtomicBool::new(false) }
        }))
    }

    /// A save was applied to what another request had saved meanwhile.
    pub(crate) fn merged(&self) {
        if let Some(Some(handles)) = self.0.get() {
            handles.merged.increment(1);
        }
    }
}

impl Handles {
    /// `None` if there is no recorder.
    fn register(store: &'static str) -> Option<Self> {
        let heard = Cell::new(false);
        metrics::gauge!(
            "session_store_info", "store" => store, "version" => env!("CARGO_PKG_VERSION")
        )
        .set(Probe(&heard));
        if !heard.get() {
            return None;
        }
        describe();
        let operations = OPERATIONS.iter().map(|(name, outcomes)| Operation {
            name,
            outcomes: outcomes
                .iter()
                .chain(&FAILURES)
                .map(|outcome| {
                    let counter = metrics::counter!(
                        "session_operations_total",
                        "store" => store, "operation" => *name, "outcome" => *outcome
                    );
                    (*outcome, counter)
                })
                .collect(),
            seconds: metrics::histogram!(
                "session_operation_duration_seconds", "store" => store, "operation" => *name
            ),
        });
        Some(Self {
            operations: operations.collect(),
            merged: metrics::counter!("session_conflicts_merged_total", "store" => store),
            collected: metrics::counter!("session_gc_removed_total", "store" => store),
        })
    }
}

fn describe() {
    metrics::describe_gauge!("session_store_info", "1 for each kind of store and its version");
    metrics::describe_counter!("session_operations_total", "Operations, by outcome");
    metrics::describe_histogram!(
        "session_operation_duration_seconds",
        Unit::Seconds,
        "How long an operation took, failures included"
    );
    metrics::describe_counter!(
        "session_conflicts_merged_total",
        "Saves that were applied to what another request had saved meanwhile"
    );
    metrics::describe_counter!("session_gc_removed_total", "Expired records that gc removed");
    metrics::describe_histogram!("session_batch_items", Unit::Count, "Operations sent together");
}

/// A value that finds out whether somebody reads it: a handle without a recorder does not convert it.
struct Probe<'a>(&'a Cell<bool>);

impl IntoF64 for Probe<'_> {
    fn into_f64(self) -> f64 {
        self.0.set(true);
        1.0
    }
}

/// One operation. Dropped without an outcome, it was cancelled.
pub(crate) struct Measurement<'a>(Option<Running<'a>>);

struct Running<'a> {
    operation: &'a Operation,
    handles: &'a Handles,
    begun: Instant,
    ended: AtomicBool,
}

impl Measurement<'_> {
    pub(crate) fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    pub(crate) fn ends(&self, outcome: &'static str) {
        if let Some(running) = &self.0 {
            running.ends(outcome);
        }
    }

    pub(crate) fn collected(&self, records: u64) {
        if let Some(running) = &self.0 {
            running.handles.collected.increment(records);
        }
    }
}

impl Running<'_> {
    fn ends(&self, outcome: &'static str) {
        if self.ended.swap(true, Ordering::Relaxed) {
            return;
        }
        self.operation.seconds.record(self.begun.elapsed());
        let counter = self.operation.outcomes.iter().find(|(name, _)| *name == outcome);
        debug_assert!(counter.is_some(), "{outcome} is no outcome of {}", self.operation.name);
        if let Some((_, counter)) = counter {
            counter.increment(1);
        }
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.ends(CANCELLED);
    }
}

/// How many operations of one kind are sent together.
#[derive(Default)]
pub(crate) struct BatchSizes(OnceLock<Histogram>);

impl BatchSizes {
    pub(crate) fn sent(&self, store: &'static str, operation: &'static str, items: usize) {
        let sizes = self.0.get_or_init(|| {
            metrics::histogram!("session_batch_items", "store" => store, "operation" => operation)
        });
        // A batch has some thousand items at most.
        sizes.record(u32::try_from(items).unwrap_or(u32::MAX));
    }
}
