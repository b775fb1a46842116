//! Operations that wait for the same connection go out together.
//!
//! One command for many keys costs the server and the client a fraction of as many commands. While
//! few operations are on their way, each goes out by itself and at once. From then on the next ones
//! are gathered: a batch leaves when the one before it has been answered, when it is full, or when it
//! is worth another trip beside those under way, so that server and client need not wait for each
//! other.
//!
//! Those of one runtime share, since its tasks carry the batches: another one may come to rest with
//! them. That is also why nobody needs a timer to wait: the batch has one.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::runtime::{Handle, Id};
use tokio::sync::oneshot;

use crate::failure::Failure;

/// So many operations at a time gain nothing by waiting for each other.
const ALONE: usize = 8;
/// One in so many parts of all operations is worth another trip beside those under way: then the server
/// has one batch, one is on its way there, and one is with its callers. All in two halves would take
/// turns instead, and in many parts each would cost more than it has to.
const PARTS: usize = 3;
/// But no fewer than this.
const FEWEST: usize = 8;
/// So many trips at a time keep the server busy; who comes then waits for a full batch.
const TRIPS: usize = 4;
/// So many keys in one command: they hold the server for about 0.1 ms.
const FULL: usize = 64;
/// So much to send in one command: a batch takes little longer than its largest part would alone.
const FULL_BYTES: usize = 256 * 1024;

/// Those in a batch came within this part of the time that each has, because the first one's is the
/// batch's.
const SAME_AGE: u32 = 4;
/// With less than this part of it left, a trip is not worth it.
const TOO_LATE: u32 = 8;

/// Work of one kind that can be done for many keys at once.
pub(crate) trait Shareable: Send + Sized + 'static {
    type Context: Clone + Send + Sync + 'static;
    type Answer: Send + 'static;

    /// About what it takes to send it.
    fn bytes(&self) -> usize;

    /// One answer for each of `jobs`, in their order, within `limit`.
    fn run(
        context: &Self::Context,
        jobs: Vec<Self>,
        limit: Duration,
    ) -> impl Future<Output = Vec<Result<Self::Answer, Failure>>> + Send;
}

/// Gathers the operations of one kind.
pub(crate) struct Sharing<J: Shareable> {
    enabled: bool,
    gatherings: Gatherings<J>,
}

/// One for each runtime that has something under way.
type Gatherings<J> = Arc<Mutex<Vec<Gathering<J>>>>;

impl<J: Shareable> std::fmt::Debug for Sharing<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sharing").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

struct Gathering<J: Shareable> {
    runtime: Id,
    /// On their way or waiting.
    outstanding: usize,
    /// The batches under way.
    flights: usize,
    waiting: Vec<Waiter<J>>,
    /// Of those that wait.
    bytes: usize,
}

struct Waiter<J: Shareable> {
    job: J,
    since: Instant,
    answer: oneshot::Sender<Result<J::Answer, Failure>>,
}

/// What comes of an operation that begins.
enum Turn<J: Shareable> {
    /// It goes by itself.
    Alone(J),
    /// It goes with others; perhaps with a batch that is to leave now.
    Shared(oneshot::Receiver<Result<J::Answer, Failure>>, Option<Vec<Waiter<J>>>),
}

impl<J: Shareable> Sharing<J> {
    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled, gatherings: Arc::default() }
    }

    /// Does one operation, alone or with others, within `limit`. Dropping the future leaves the
    /// others alone.
    pub(crate) async fn submit(
        &self,
        context: &J::Context,
        job: J,
        limit: Duration,
    ) -> Result<J::Answer, Failure> {
        if !self.enabled {
            return Box::pin(alone(context, job, limit)).await;
        }
        let runtime = Handle::current();
        let turn = gathering(&mut lock(&self.gatherings), runtime.id()).enter(job, limit);
        let _outstanding = Outstanding { gatherings: &self.gatherings, runtime: runtime.id() };
        let (answer, departing) = match turn {
            // In a box, or those who share would all carry the room that this takes: 2.5 KB.
            Turn::Alone(job) => return Box::pin(alone(context, job, limit)).await,
            Turn::Shared(answer, departing) => (answer, departing),
        };
        if let Some(batch) = departing {
            let gatherings = Arc::clone(&self.gatherings);
            let flight = Flight { gatherings, runtime: runtime.id(), landed: false };
            runtime.spawn(deliver(context.clone(), flight, batch, limit));
        }
        answer.await.unwrap_or_else(|_| Err(Failure::abandoned()))
    }
}

async fn alone<J: Shareable>(
    context: &J::Context,
    job: J,
    limit: Duration,
) -> Result<J::Answer, Failure> {
    let mut answers = J::run(context, vec![job], limit).await;
    answers.pop().unwrap_or_else(|| Err(Failure::abandoned()))
}

/// Does a batch, and what has gathered meanwhile, until nothing is left.
async fn deliver<J: Shareable>(
    context: J::Context,
    mut flight: Flight<J>,
    batch: Vec<Waiter<J>>,
    limit: Duration,
) {
    let mut batch = Some(batch);
    while let Some(waiters) = batch {
        let (mut jobs, mut callers) =
            (Vec::with_capacity(waiters.len()), Vec::with_capacity(waiters.len()));
        let mut left = limit;
        for Waiter { job, since, answer } in waiters {
            let remains = limit.saturating_sub(since.elapsed());
            if remains <= limit / TOO_LATE {
                let _ = answer.send(Err(Failure::no_answer(limit)));
            } else if !answer.is_closed() {
                // Who gave up before the batch left sends nothing.
                left = left.min(remains);
                jobs.push(job);
                callers.push(answer);
            }
        }
        let answers = match jobs.len() {
            0 => Vec::new(),
            _ => J::run(&context, jobs, left).await,
        };
        for (caller, answer) in callers.into_iter().zip(answers) {
            // Who gave up since needs no answer.
            let _ = caller.send(answer);
        }
        batch = flight.next(limit);
    }
}

/// The gathering of a runtime.
fn gathering<J: Shareable>(all: &mut Vec<Gathering<J>>, runtime: Id) -> &mut Gathering<J> {
    let place = all.iter().position(|gathering| gathering.runtime == runtime);
    let place = place.unwrap_or_else(|| {
        all.push(Gathering { runtime, outstanding: 0, flights: 0, waiting: Vec::new(), bytes: 0 });
        all.len() - 1
    });
    &mut all[place]
}

impl<J: Shareable> Gathering<J> {
    fn enter(&mut self, job: J, limit: Duration) -> Turn<J> {
        self.outstanding += 1;
        if self.outstanding <= ALONE {
            return Turn::Alone(job);
        }
        let (sender, answer) = oneshot::channel();
        self.bytes += job.bytes();
        self.waiting.push(Waiter { job, since: Instant::now(), answer: sender });
        Turn::Shared(answer, self.departing(limit))
    }

    /// A batch that is to leave now, if one is.
    fn departing(&mut self, limit: Duration) -> Option<Vec<Waiter<J>>> {
        let leaves = match self.flights {
            0 => true,
            under_way if under_way < TRIPS => self.is_worth_a_trip(),
            _ => self.is_full(),
        };
        leaves.then(|| {
            self.flights += 1;
            self.take(limit)
        })
    }

    /// What leaves in a flight that has just come back; it ends when there is nothing, or little and
    /// another one is still on its way and will come back for that.
    fn next(&mut self, limit: Duration) -> Option<Vec<Waiter<J>>> {
        let worth_it = self.flights == 1 || self.is_worth_a_trip();
        if self.waiting.is_empty() || !worth_it {
            self.flights -= 1;
            return None;
        }
        Some(self.take(limit))
    }

    fn is_worth_a_trip(&self) -> bool {
        self.waiting.len() >= (self.outstanding / PARTS).max(FEWEST) || self.is_full()
    }

    fn is_full(&self) -> bool {
        self.waiting.len() >= FULL || self.bytes >= FULL_BYTES
    }

    fn take(&mut self, limit: Duration) -> Vec<Waiter<J>> {
        let mut bytes = 0;
        let first = self.waiting.first().map(|waiter| waiter.since);
        let fits = |waiter: &&Waiter<J>| {
            bytes += waiter.job.bytes();
            let younger = first.map_or(Duration::ZERO, |first| waiter.since - first);
            bytes <= FULL_BYTES && younger <= limit / SAME_AGE
        };
        let count = self.waiting.iter().take(FULL).take_while(fits).count();
        // One at least, however large.
        let count = count.max(1).min(self.waiting.len());
        let rest = self.waiting.split_off(count);
        self.bytes = rest.iter().map(|waiter| waiter.job.bytes()).sum();
        std::mem::replace(&mut self.waiting, rest)
    }
}

/// Counts one operation for as long as somebody waits for it.
struct Outstanding<'a, J: Shareable> {
    gatherings: &'a Mutex<Vec<Gathering<J>>>,
    runtime: Id,
}

impl<J: Shareable> Drop for Outstanding<'_, J> {
    fn drop(&mut self) {
        let mut all = lock(self.gatherings);
        gathering(&mut all, self.runtime).outstanding -= 1;
        forget_idle(&mut all, self.runtime);
    }
}

/// A task that delivers batches; also dropped when its runtime is shut down in the middle.
struct Flight<J: Shareable> {
    gatherings: Gatherings<J>,
    runtime: Id,
    landed: bool,
}

impl<J: Shareable> Flight<J> {
    fn next(&mut self, limit: Duration) -> Option<Vec<Waiter<J>>> {
        let mut all = lock(&self.gatherings);
        let next = gathering(&mut all, self.runtime).next(limit);
        if next.is_none() {
            self.landed = true;
            forget_idle(&mut all, self.runtime);
        }
        next
    }
}

impl<J: Shareable> Drop for Flight<J> {
    fn drop(&mut self) {
        if self.landed {
            return;
        }
        let abandoned = {
            let mut all = lock(&self.gatherings);
            let gathering = gathering(&mut all, self.runtime);
            gathering.flights -= 1;
            // Nobody else may come for them: their callers hear of it.
            let mut waiting = Vec::new();
            if gathering.flights == 0 {
                gathering.bytes = 0;
                std::mem::swap(&mut gathering.waiting, &mut waiting);
            }
            forget_idle(&mut all, self.runtime);
            waiting
        };
        drop(abandoned);
    }
}

/// Nothing is kept of a runtime that has nothing under way: it may be gone.
fn forget_idle<J: Shareable>(all: &mut Vec<Gathering<J>>, runtime: Id) {
    all.retain(|gathering| {
        gathering.runtime != runtime || gathering.outstanding > 0 || gathering.flights > 0
    });
}

fn lock<J: Shareable>(gatherings: &Mutex<Vec<Gathering<J>>>) -> MutexGuard<'_, Vec<Gathering<J>>> {
    gatherings.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
