//! The order of operations, and how long they wait for a thread that may block. Such threads are few,
//! and the runtime shares them with the application.
//!
//! What waits is the work and not its caller: an operation that ends starts the next one, whether or
//! not the next one's runtime runs at that time. If callers waited for a lock, the lock would be given
//! to a caller, and nobody could write until its runtime or its worker came to it.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use session_core::{Error, ErrorKind, Result};
use tokio::runtime::Handle;
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::clock;
use crate::errors::busy;

/// How long a write waits for other writers. The handle gives the first attempt of a save half of its
/// deadline (of 5 s by default). This is less, so that the caller learns that nothing was written.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(2);
/// How many loads, and how many writes, have a thread at a time. It bounds the open files, too.
const THREADS: usize = 64;

/// The moment at which an operation was requested. The ttl that it sets begins then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    /// The moment until which it waits.
    pub(crate) until: Instant,
}

impl Request {
    pub(crate) fn now(max_wait: Duration) -> Result<Self> {
        Ok(Self { at: clock::checked_now()?, until: Instant::now() + max_wait })
    }
}

/// The operations of this process queue here rather than in the kernel, where they would be threads.
#[derive(Debug)]
pub(crate) struct Queues {
    pub(crate) writers: Queue,
    /// Readers never wait for writers.
    pub(crate) readers: Queue,
    /// One runs at a time.
    pub(crate) collections: Queue,
}

impl Queues {
    pub(crate) fn new() -> Self {
        Self {
            writers: Queue::new(THREADS),
            readers: Queue::new(THREADS),
            collections: Queue::new(1),
        }
    }
}

/// Operations that run, and those that wait, in the order of their requests.
#[derive(Debug, Clone)]
pub(crate) struct Queue(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    /// How many more operations may run.
    free_threads: usize,
    /// Operations that wait for nothing but a thread. They have their buckets already, so a bucket that
    /// is stuck takes one thread at most.
    ready: VecDeque<Waiting>,
    /// The buckets in use, each with the operations that wait for it.
    buckets: HashMap<u8, VecDeque<Waiting>>,
}

/// An operation that waits.
#[derive(Debug)]
struct Waiting {
    bucket: Option<u8>,
    /// Where it is going to run: on a thread of its caller's runtime.
    runtime: Handle,
    work: Work,
}

/// What an operation does. It is taken out by the thread that does it, or by the caller that gives up.
#[derive(Clone)]
struct Work(Arc<Mutex<Option<Do>>>);

/// Carries the operation out, or refuses it, and tells the caller.
type Do = Box<dyn FnOnce(Decision) + Send>;

enum Decision {
    /// What it has is given back before its caller learns of the end.
    CarryOut(Option<InUse>),
    Refuse(Error),
}

/// What an operation has while it runs. Dropped, it passes to the operations that wait.
#[derive(Debug)]
pub(crate) struct InUse {
    queue: Queue,
    bucket: Option<u8>,
    threads: usize,
}

impl Queue {
    fn new(threads: usize) -> Self {
        Self(Arc::new(Mutex::new(State {
            free_threads: threads,
            ready: VecDeque::new(),
            buckets: HashMap::new(),
        })))
    }

    /// Runs an operation that needs no bucket on a thread that may block. If the future is dropped before
    /// the operation begins, it is not carried out.
    pub(crate) async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (work, result) = Work::new(operation);
        let _caller = self.wait(None, work);
        outcome(result.await)
    }

    /// The same for an operation that needs a bucket, which no other one has while it runs. It begins
    /// before `until` or is refused.
    pub(crate) async fn run_in_bucket<T: Send + 'static>(
        &self,
        bucket: u8,
        until: Instant,
        operation: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let (work, mut result) = Work::new(move || match Instant::now() < until {
            true => operation(),
            // Its caller does not look at the time while its runtime rests.
            false => Err(busy()),
        });
        let caller = self.wait(Some(bucket), work);
        let left = until.saturating_duration_since(Instant::now());
        match timeout(left, &mut result).await {
            Ok(told) => outcome(told),
            Err(_) if caller.0.take().is_some() => Err(busy()),
            // It runs, and waits no longer than until then for other processes.
            Err(_) => outcome(result.await),
        }
    }

    /// A bucket that is not in use in this process. It takes no thread.
    pub(crate) fn try_bucket(&self, bucket: u8) -> Option<InUse> {
        let mut state = self.state();
        if state.buckets.contains_key(&bucket) {
            return None;
        }
        state.buckets.insert(bucket, VecDeque::new());
        Some(InUse { queue: self.clone(), bucket: Some(bucket), threads: 0 })
    }

    /// All threads, as if other operations had them.
    #[cfg(test)]
    pub(crate) fn take_threads(&self) -> InUse {
        let threads = std::mem::take(&mut self.state().free_threads);
        assert!(threads > 0);
        InUse { queue: self.clone(), bucket: None, threads }
    }

    /// How many operations wait.
    #[cfg(test)]
    pub(crate) fn waiting(&self) -> usize {
        let state = self.state();
        state.ready.len() + state.buckets.values().map(VecDeque::len).sum::<usize>()
    }

    fn wait(&self, bucket: Option<u8>, work: Work) -> Caller {
        let caller = Caller(work.clone());
        let waiting = Waiting { bucket, runtime: Handle::current(), work };
        let mut state = self.state();
        match bucket {
            None => state.ready.push_back(waiting),
            Some(bucket) => match state.buckets.get_mut(&bucket) {
                Some(others) => {
                    while others.pop_front_if(|first| first.work.was_taken()).is_some() {}
                    others.push_back(waiting);
                }
                None => {
                    state.buckets.insert(bucket, VecDeque::new());
                    state.ready.push_back(waiting);
                }
            },
        }
        self.start(state);
        caller
    }

    /// Starts what may run now.
    fn start(&self, mut state: MutexGuard<'_, State>) {
        let mut next = Vec::new();
        while let Some(waiting) = state.next() {
            next.push(waiting);
        }
        drop(state);
        for Waiting { bucket, runtime, work } in next {
            let in_use = InUse { queue: self.clone(), bucket, threads: 1 };
            let started = Started { work, in_use: Some(in_use) };
            drop(runtime.spawn_blocking(move || started.run()));
        }
    }

    /// No code panics while it holds the lock.
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// The operation that runs next, if there is a thread for it.
    fn next(&mut self) -> Option<Waiting> {
        // Also while there is none, so that operations whose callers have left don't pile up.
        while let Some(left) = self.ready.pop_front_if(|first| first.work.was_taken()) {
            self.give_back(left.bucket);
        }
        if self.free_threads == 0 {
            return None;
        }
        let next = self.ready.pop_front()?;
        self.free_threads -= 1;
        Some(next)
    }

    /// Gives a bucket to the operation that has waited longest for it.
    fn give_back(&mut self, bucket: Option<u8>) {
        let Some(bucket) = bucket else { return };
        let others = self.buckets.get_mut(&bucket);
        match others.and_then(VecDeque::pop_front) {
            Some(next) => self.ready.push_back(next),
            None => drop(self.buckets.remove(&bucket)),
        }
    }
}

impl Drop for InUse {
    fn drop(&mut self) {
        let mut state = self.queue.state();
        state.free_threads += self.threads;
        state.give_back(self.bucket);
        self.queue.start(state);
    }
}

impl Work {
    fn new<T: Send + 'static>(
        operation: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> (Self, oneshot::Receiver<Result<T>>) {
        let (sender, result) = oneshot::channel();
        let work = move |decision| {
            let result = match decision {
                Decision::CarryOut(in_use) => {
                    let result = operation();
                    drop(in_use);
                    result
                }
                Decision::Refuse(error) => Err(error),
            };
            drop(sender.send(result));
        };
        (Self(Arc::new(Mutex::new(Some(Box::new(work))))), result)
    }

    fn take(&self) -> Option<Do> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn was_taken(&self) -> bool {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).is_none()
    }
}

impl fmt::Debug for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Work").finish_non_exhaustive()
    }
}

/// An operation on its thread, or on the way to it.
struct Started {
    work: Work,
    in_use: Option<InUse>,
}

impl Started {
    fn run(mut self) {
        if let Some(work) = self.work.take() {
            work(Decision::CarryOut(self.in_use.take()));
        }
    }
}

impl Drop for Started {
    /// A runtime that shuts down drops operations instead of running them.
    fn drop(&mut self) {
        if let Some(work) = self.work.take() {
            work(Decision::Refuse(Error::refused("the runtime shuts down")));
        }
    }
}

/// The caller of an operation. If it leaves while the operation waits, the operation is not carried
/// out.
struct Caller(Work);

impl Drop for Caller {
    fn drop(&mut self) {
        drop(self.0.take());
    }
}

/// What the operation returned. Its thread always tells, unless it panics.
fn outcome<T>(told: Result<Result<T>, oneshot::error::RecvError>) -> Result<T> {
    told.unwrap_or_else(|error| {
        Err(Error::new(ErrorKind::Other, "the operation panicked").with_source(error))
    })
}
