//! The closed loop: each task begins its next operation when the previous one has ended.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use hdrhistogram::Histogram;

/// After this number of operations a task yields: with a store in memory it never waits, and would block its
/// thread.
const TURN: u64 = 128;
/// The longest latency that is recorded; latencies have three digits.
const LONGEST: Duration = Duration::from_secs(100);

/// A workload: the operation that one task repeats.
pub(crate) trait Work: Send + Sync + 'static {
    type State: Send;

    /// Not measured.
    fn begin(&self, task: usize) -> impl Future<Output = Self::State> + Send;

    /// One operation; `false` if there is no work left.
    fn step(&self, state: &mut Self::State) -> impl Future<Output = bool> + Send;

    /// Not measured.
    fn end(&self, state: Self::State) -> impl Future<Output = ()> + Send;
}

/// The results of one period of measurement.
#[derive(Debug, Clone)]
pub struct Slice {
    /// Completed operations.
    pub operations: u64,
    /// Wall clock time from the begin of the first operation to the end of the last one.
    pub elapsed: Duration,
    /// The latencies in nanoseconds.
    pub latencies: Histogram<u64>,
}

/// Rate and latencies of all periods together.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Operations per second.
    pub rate: f64,
    /// Median latency in microseconds.
    pub p50: f64,
    /// 99th percentile of latency in microseconds.
    pub p99: f64,
}

impl Slice {
    /// Nothing measured yet.
    #[must_use]
    pub fn empty() -> Self {
        let longest = u64::try_from(LONGEST.as_nanos()).unwrap_or(u64::MAX);
        let latencies = Histogram::new_with_max(longest, 3).expect("bounds are in order");
        Self { operations: 0, elapsed: Duration::ZERO, latencies }
    }

    /// Adds an operation.
    pub fn record(&mut self, latency: Duration) {
        self.operations += 1;
        self.latencies.saturating_record(u64::try_from(latency.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Adds another period.
    pub fn follow(&mut self, next: &Self) {
        self.elapsed += next.elapsed;
        self.beside(next);
    }

    /// Adds another task of the same period.
    fn beside(&mut self, other: &Self) {
        self.operations += other.operations;
        self.latencies.add(&other.latencies).expect("all histograms have the same bounds");
    }

    /// Rate and latencies.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "figures are rounded")]
    pub fn timing(&self) -> Timing {
        let micros = |quantile| self.latencies.value_at_quantile(quantile) as f64 / 1000.0;
        Timing {
            rate: self.operations as f64 / self.elapsed.as_secs_f64(),
            p50: micros(0.5),
            p99: micros(0.99),
        }
    }
}

/// Runs `tasks` tasks until the time has passed or their work is done.
pub(crate) async fn run<W: Work>(work: &Arc<W>, tasks: usize, time: Duration) -> Slice {
    let barrier = Arc::new(tokio::sync::Barrier::new(tasks));
    let running: Vec<_> = (0..tasks)
        .map(|task| tokio::spawn(one_task(Arc::clone(work), task, time, Arc::clone(&barrier))))
        .collect();
    let mut total = Slice::empty();
    let mut begun = None;
    let mut ended = None;
    for task in running {
        let (slice, begin, end) = task.await.expect("operations do not panic");
        total.beside(&slice);
        begun = begun.min(Some(begin)).or(Some(begin));
        ended = ended.max(Some(end));
    }
    if let (Some(begun), Some(ended)) = (begun, ended) {
        total.elapsed = ended.duration_since(begun);
    }
    total
}

async fn one_task<W: Work>(
    work: Arc<W>,
    task: usize,
    time: Duration,
    barrier: Arc<tokio::sync::Barrier>,
) -> (Slice, Instant, Instant) {
    let mut state = work.begin(task).await;
    let mut slice = Slice::empty();
    barrier.wait().await;
    let begin = Instant::now();
    let until = begin + time;
    let mut last = begin;
    while last < until && work.step(&mut state).await {
        let now = Instant::now();
        slice.record(now - last);
        last = now;
        if slice.operations.is_multiple_of(TURN) {
            tokio::task::yield_now().await;
            last = Instant::now();
        }
    }
    barrier.wait().await;
    work.end(state).await;
    (slice, begin, last)
}
