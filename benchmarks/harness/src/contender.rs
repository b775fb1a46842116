//! A subject with its sessions, prepared for all operations.

use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use crate::closed_loop::{Slice, Work, run};
use crate::jobs::{Create, Destroy, HOT, Hot, Job, LoadHit, LoadMiss, Save, Touch};
use crate::{Operation, Subject};

/// How many tasks fill and empty a store outside the measured time.
const HELPERS: usize = 64;
/// Longer than any operation takes.
const UNTIL_DONE: Duration = Duration::from_secs(3600);

type Running<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One side of a comparison: a name and a subject.
pub struct Contender {
    name: &'static str,
    driver: Box<dyn Driver>,
}

impl Contender {
    /// A subject under its name.
    pub fn new(name: &'static str, subject: impl Subject) -> Self {
        let stock =
            Stock { subject: Arc::new(subject), ids: Arc::default(), hot: AtomicU64::new(0) };
        Self { name, driver: Box::new(stock) }
    }

    /// A function that is called for every operation.
    pub fn calls(name: &'static str, function: impl Fn() + Send + Sync + 'static) -> Self {
        Self { name, driver: Box::new(Calls(Arc::new(Function(function)))) }
    }

    /// The name: `ours`, `raw`, or the name of a peer.
    #[must_use]
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// Creates or destroys sessions until there are `count`.
    pub async fn fill(&mut self, count: usize) {
        self.driver.fill(count).await;
    }

    /// Measures an operation for some time. [`Operation::Create`] has two results: destroying the created
    /// sessions is measured, too.
    pub async fn measure(&self, operation: Operation, tasks: usize, time: Duration) -> Vec<Slice> {
        self.driver.measure(operation, tasks, time).await
    }

    /// Lets `count` sessions expire and removes them; `None` if the store needs no gc.
    pub async fn collect(&self, count: usize) -> Option<Slice> {
        self.driver.collect(count).await
    }

    /// Increments of the hot workload that were acknowledged and lost.
    pub async fn lost_increments(&self) -> u64 {
        self.driver.lost_increments().await
    }
}

impl std::fmt::Debug for Contender {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Contender").field("name", &self.name).finish_non_exhaustive()
    }
}

/// A subject of any type.
trait Driver: Send + Sync {
    fn fill(&mut self, count: usize) -> Running<'_, ()>;
    fn measure(
        &self,
        operation: Operation,
        tasks: usize,
        time: Duration,
    ) -> Running<'_, Vec<Slice>>;
    fn collect(&self, count: usize) -> Running<'_, Option<Slice>>;
    fn lost_increments(&self) -> Running<'_, u64>;
}

struct Stock<S: Subject> {
    subject: Arc<S>,
    ids: Arc<Vec<S::Id>>,
    /// Increments that were acknowledged.
    hot: AtomicU64,
}

impl<S: Subject> Stock<S> {
    fn work<K>(&self, kind: K) -> Arc<Job<S, K>> {
        let (subject, ids) = (Arc::clone(&self.subject), Arc::clone(&self.ids));
        Arc::new(Job { subject, ids, kind })
    }
}

impl<S: Subject> Driver for Stock<S> {
    fn fill(&mut self, count: usize) -> Running<'_, ()> {
        Box::pin(async move {
            let missing = count.saturating_sub(self.ids.len());
            let shares: Vec<_> = (0..HELPERS)
                .map(|helper| {
                    let share = missing / HELPERS + usize::from(helper < missing % HELPERS);
                    let subject = Arc::clone(&self.subject);
                    tokio::spawn(async move {
                        let mut ids = Vec::with_capacity(share);
                        for _ in 0..share {
                            let session = subject.create().await;
                            ids.push(subject.id(&session));
                        }
                        ids
                    })
                })
                .collect();
            let mut all = Vec::clone(&self.ids);
            for share in shares {
                all.extend(share.await.expect("create works"));
            }
            self.ids = Arc::new(all);
        })
    }

    fn measure(
        &self,
        operation: Operation,
        tasks: usize,
        time: Duration,
    ) -> Running<'_, Vec<Slice>> {
        Box::pin(async move {
            match operation {
                Operation::LoadHit => vec![run(&self.work(LoadHit), tasks, time).await],
                Operation::LoadMiss => vec![run(&self.work(LoadMiss), tasks, time).await],
                Operation::Save => vec![run(&self.work(Save), tasks, time).await],
                Operation::Touch => vec![run(&self.work(Touch), tasks, time).await],
                Operation::Hot => {
                    let slice = run(&self.work(Hot), tasks, time).await;
                    self.hot.fetch_add(slice.operations, Ordering::Relaxed);
                    vec![slice]
                }
                Operation::Create => {
                    let made = Arc::new(Mutex::new(Vec::new()));
                    let create = self.work(Create { made: Arc::clone(&made) });
                    let created = run(&create, tasks, time).await;
                    let destroyed = run(&self.work(Destroy { made }), tasks, UNTIL_DONE).await;
                    vec![created, destroyed]
                }
                Operation::Destroy | Operation::Gc => Vec::new(),
            }
        })
    }

    fn collect(&self, count: usize) -> Running<'_, Option<Slice>> {
        Box::pin(async move {
            const LIFE: Duration = Duration::from_millis(1);
            for begun in (0..count).step_by(HELPERS) {
                let some: Vec<_> = (begun..count.min(begun + HELPERS))
                    .map(|_| {
                        let subject = Arc::clone(&self.subject);
                        tokio::spawn(async move { subject.create_short(LIFE).await })
                    })
                    .collect();
                for one in some {
                    one.await.expect("create works");
                }
            }
            // The file and SQL stores count time in milliseconds, some peers in seconds.
            tokio::time::sleep(Duration::from_millis(20)).await;
            let begin = Instant::now();
            let removed = self.subject.gc().await?;
            let elapsed = begin.elapsed();
            assert_eq!(removed, count as u64, "gc removes what has expired and nothing else");
            let mut slice = Slice::empty();
            slice.record(elapsed);
            slice.operations = removed;
            slice.elapsed = elapsed;
            Some(slice)
        })
    }

    fn lost_increments(&self) -> Running<'_, u64> {
        Box::pin(async move {
            let mut counted = 0;
            for id in self.ids.iter().take(HOT) {
                counted += self.subject.counter(id).await;
            }
            self.hot.load(Ordering::Relaxed).saturating_sub(counted)
        })
    }
}

struct Calls<F>(Arc<Function<F>>);

struct Function<F>(F);

impl<F: Fn() + Send + Sync + 'static> Driver for Calls<F> {
    fn fill(&mut self, _: usize) -> Running<'_, ()> {
        Box::pin(async {})
    }

    fn measure(&self, _: Operation, tasks: usize, time: Duration) -> Running<'_, Vec<Slice>> {
        Box::pin(async move { vec![run(&self.0, tasks, time).await] })
    }

    fn collect(&self, _: usize) -> Running<'_, Option<Slice>> {
        Box::pin(async { None })
    }

    fn lost_increments(&self) -> Running<'_, u64> {
        Box::pin(async { 0 })
    }
}

impl<F: Fn() + Send + Sync + 'static> Work for Function<F> {
    type State = ();

    async fn begin(&self, _: usize) {}

    async fn step(&self, (): &mut ()) -> bool {
        (self.0)();
        true
    }

    async fn end(&self, (): ()) {}
}
