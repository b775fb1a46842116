//! Operations that wait for the same connection go out together.
//!
//! One command for many keys costs the server and the client a fraction of as many commands. While
//! few operations are on their way, each goes out by itself and at once. From then on the next ones
//! are gathered: a batch leaves when the one before it has been answered, when it is full, or when it
//! is worth a second trip beside the first, so that server and client need not wait for each other.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::oneshot;

use crate::failure::Failure;

/// So many operations at a time gain nothing by waiting for each other.
const ALONE: usize = 8;
/// So many are worth a second trip beside one that is under way.
const WORTH_A_TRIP: usize = 24;
/// So many keys in one command: they hold the server for about 0.1 ms.
const FULL: usize = 64;
/// So much to send in one command: a batch takes little longer than its largest part would alone.
const FULL_BYTES: usize = 256 * 1024;

/// Work of one kind that can be done for many keys at once.
pub(crate) trait Shareable: Send + Sized + 'static {
    type Context: Clone + Send + Sync + 'static;
    type Answer: Send + 'static;

    /// About what it takes to send it.
    fn bytes(&self) -> usize;

    /// One answer for each of `jobs`, in their order.
    fn run(
        context: &Self::Context,
        jobs: Vec<Self>,
    ) -> impl Future<Output = Vec<Result<Self::Answer, Failure>>> + Send;
}

/// Gathers the operations of one kind.
pub(crate) struct Sharing<J: Shareable> {
    enabled: bool,
    state: Arc<Mutex<State<J>>>,
}

impl<J: Shareable> std::fmt::Debug for Sharing<J> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Sharing").field("enabled", &self.enabled).finish_non_exhaustive()
    }
}

struct State<J: Shareable> {
    /// On their way or waiting.
    outstanding: usize,
    batches_in_flight: usize,
    waiting: Vec<Waiter<J>>,
}

struct Waiter<J: Shareable> {
    job: J,
    answer: oneshot::Sender<Result<J::Answer, Failure>>,
}

impl<J: Shareable> Sharing<J> {
    pub(crate) fn new(enabled: bool) -> Self {
        let state = State { outstanding: 0, batches_in_flight: 0, waiting: Vec::new() };
        Self { enabled, state: Arc::new(Mutex::new(state)) }
    }

    /// Does one operation, alone or with others, and waits for others at most for `limit`. Dropping
    /// the future leaves the others alone.
    pub(crate) async fn submit(
        &self,
        context: &J::Context,
        job: J,
        limit: Duration,
    ) -> Result<J::Answer, Failure> {
        if !self.enabled {
            return alone(context, job).await;
        }
        let outstanding = Outstanding::enter(&self.state);
        if outstanding.number <= ALONE {
            return alone(context, job).await;
        }
        let (sender, answer) = oneshot::channel();
        let batch = {
            let mut state = lock(&self.state);
            state.waiting.push(Waiter { job, answer: sender });
            state.departing()
        };
        if let Some(batch) = batch {
            tokio::spawn(deliver(context.clone(), Flight(Arc::clone(&self.state)), batch));
        }
        match tokio::time::timeout(limit, answer).await {
            Ok(answered) => answered.unwrap_or_else(|_| Err(Failure::abandoned())),
            Err(_) => Err(Failure::no_answer(limit)),
        }
    }
}

async fn alone<J: Shareable>(context: &J::Context, job: J) -> Result<J::Answer, Failure> {
    let mut answers = J::run(context, vec![job]).await;
    answers.pop().unwrap_or_else(|| Err(Failure::abandoned()))
}

/// Does a batch, and what has gathered meanwhile, until nothing is left.
async fn deliver<J: Shareable>(context: J::Context, flight: Flight<J>, batch: Vec<Waiter<J>>) {
    let mut batch = Some(batch);
    while let Some(mut waiters) = batch {
        // Who gave up before the batch left sends nothing.
        waiters.retain(|waiter| !waiter.answer.is_closed());
        let (jobs, callers): (Vec<J>, Vec<_>) =
            waiters.into_iter().map(|waiter| (waiter.job, waiter.answer)).unzip();
        let answers = if jobs.is_empty() { Vec::new() } else { J::run(&context, jobs).await };
        for (caller, answer) in callers.into_iter().zip(answers) {
            // Who gave up since needs no answer.
            let _ = caller.send(answer);
        }
        batch = lock(&flight.0).next();
    }
    // `next` has counted this flight out.
    std::mem::forget(flight);
}

impl<J: Shareable> State<J> {
    /// A batch that is to leave now, if one is.
    fn departing(&mut self) -> Option<Vec<Waiter<J>>> {
        let leaves = match self.batches_in_flight {
            0 => true,
            1 => self.waiting.len() >= WORTH_A_TRIP || self.is_full(),
            _ => self.is_full(),
        };
        if !leaves {
            return None;
        }
        self.batches_in_flight += 1;
        Some(self.take())
    }

    /// What leaves in a flight that has just come back; it ends when there is nothing, or little and
    /// another one is still on its way and will come back for that.
    fn next(&mut self) -> Option<Vec<Waiter<J>>> {
        let worth_it = self.batches_in_flight == 1 || self.waiting.len() >= WORTH_A_TRIP;
        if self.waiting.is_empty() || !worth_it {
            self.batches_in_flight -= 1;
            return None;
        }
        Some(self.take())
    }

    fn is_full(&self) -> bool {
        let bytes: usize = self.waiting.iter().map(|waiter| waiter.job.bytes()).sum();
        self.waiting.len() >= FULL || bytes >= FULL_BYTES
    }

    fn take(&mut self) -> Vec<Waiter<J>> {
        let mut bytes = 0;
        let fits = |waiter: &&Waiter<J>| {
            bytes += waiter.job.bytes();
            bytes <= FULL_BYTES
        };
        let count = self.waiting.iter().take(FULL).take_while(fits).count();
        // One at least, however large.
        self.waiting.drain(..count.max(1).min(self.waiting.len())).collect()
    }
}

/// Counts one operation for as long as somebody waits for it.
struct Outstanding<'a, J: Shareable> {
    state: &'a Mutex<State<J>>,
    /// This one included.
    number: usize,
}

impl<'a, J: Shareable> Outstanding<'a, J> {
    fn enter(state: &'a Mutex<State<J>>) -> Self {
        let mut locked = lock(state);
        locked.outstanding += 1;
        Self { state, number: locked.outstanding }
    }
}

impl<J: Shareable> Drop for Outstanding<'_, J> {
    fn drop(&mut self) {
        lock(self.state).outstanding -= 1;
    }
}

/// A task that delivers batches. Dropped only when its runtime is shut down in the middle.
struct Flight<J: Shareable>(Arc<Mutex<State<J>>>);

impl<J: Shareable> Drop for Flight<J> {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.batches_in_flight -= 1;
        // Nobody may come for them: their callers hear of it.
        state.waiting.clear();
    }
}

fn lock<J: Shareable>(state: &Mutex<State<J>>) -> MutexGuard<'_, State<J>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Job(usize);

    impl Shareable for Job {
        type Context = ();
        type Answer = ();

        fn bytes(&self) -> usize {
            self.0
        }

        async fn run((): &(), jobs: Vec<Self>) -> Vec<Result<(), Failure>> {
            jobs.iter().map(|_| Ok(())).collect()
        }
    }

    /// How many jobs of these sizes leave at a time.
    fn batches(sizes: &[usize]) -> Vec<usize> {
        let waiter = |&size: &usize| Waiter { job: Job(size), answer: oneshot::channel().0 };
        let waiting = sizes.iter().map(waiter).collect();
        let mut state = State { outstanding: 0, batches_in_flight: 0, waiting };
        let mut batches = Vec::new();
        while !state.waiting.is_empty() {
            batches.push(state.take().len());
        }
        batches
    }

    #[test]
    fn batches_are_bounded_by_number_and_bytes() {
        assert_eq!(batches(&[100; 130]), [64, 64, 2]);
        assert_eq!(batches(&[FULL_BYTES / 4; 9]), [4, 4, 1]);
        assert_eq!(batches(&[2 * FULL_BYTES, 2 * FULL_BYTES, 1, 1]), [1, 1, 2]);
    }
}
