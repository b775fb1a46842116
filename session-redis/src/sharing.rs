//! Operations that wait for the same connection go out together.
//!
//! One command for many keys costs the server and the client a fraction of as many commands. While
//! few operations are on their way, each goes out by itself and at once. From then on the next ones
//! are gathered: a batch leaves when the one before it has been answered, when it is full, or when it
//! is worth a second trip beside the first, so that server and client need not wait for each other.
//! Nobody waits for a batch that is overdue: the runtime that carries it may have come to rest.

use std::future::Future;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

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
    /// The batches under way: each one's flight by number, and when it left.
    flights: Vec<(u64, Instant)>,
    last_flight: u64,
    waiting: Vec<Waiter<J>>,
}

struct Waiter<J: Shareable> {
    job: J,
    answer: oneshot::Sender<Result<J::Answer, Failure>>,
}

impl<J: Shareable> Sharing<J> {
    pub(crate) fn new(enabled: bool) -> Self {
        Self { enabled, state: Arc::new(Mutex::new(State::new())) }
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
        let departing = {
            let mut state = lock(&self.state);
            state.waiting.push(Waiter { job, answer: sender });
            state.departing(Instant::now(), limit)
        };
        if let Some((number, batch)) = departing {
            let flight = Flight { state: Arc::clone(&self.state), number, limit };
            tokio::spawn(deliver(context.clone(), flight, batch));
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
        batch = lock(&flight.state).next(flight.number, Instant::now(), flight.limit);
    }
}

impl<J: Shareable> State<J> {
    fn new() -> Self {
        Self { outstanding: 0, flights: Vec::new(), last_flight: 0, waiting: Vec::new() }
    }

    /// A batch that is to leave now, if one is, and the number of its flight.
    fn departing(&mut self, now: Instant, limit: Duration) -> Option<(u64, Vec<Waiter<J>>)> {
        let leaves = match self.on_time(now, limit) {
            0 => true,
            1 => self.waiting.len() >= WORTH_A_TRIP || self.is_full(),
            _ => self.is_full(),
        };
        if !leaves {
            return None;
        }
        self.last_flight += 1;
        self.flights.push((self.last_flight, now));
        Some((self.last_flight, self.take()))
    }

    /// What leaves in a flight that has just come back; it ends when there is nothing, or little and
    /// another one is still on its way and will come back for that.
    fn next(&mut self, number: u64, now: Instant, limit: Duration) -> Option<Vec<Waiter<J>>> {
        self.flights.retain(|(flight, _)| *flight != number);
        let worth_it = self.on_time(now, limit) == 0 || self.waiting.len() >= WORTH_A_TRIP;
        if self.waiting.is_empty() || !worth_it {
            return None;
        }
        self.flights.push((number, now));
        Some(self.take())
    }

    /// How many batches are under way, but for those whose answer is overdue.
    fn on_time(&self, now: Instant, limit: Duration) -> usize {
        self.flights.iter().filter(|(_, left)| now.duration_since(*left) < limit).count()
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

/// A task that delivers batches; also dropped when its runtime is shut down in the middle.
struct Flight<J: Shareable> {
    state: Arc<Mutex<State<J>>>,
    number: u64,
    /// How long a batch may take.
    limit: Duration,
}

impl<J: Shareable> Drop for Flight<J> {
    fn drop(&mut self) {
        let mut state = lock(&self.state);
        let flights = state.flights.len();
        state.flights.retain(|(flight, _)| *flight != self.number);
        // Shut down in the middle, and nobody else may come for them: their callers hear of it.
        if state.flights.is_empty() && flights > 0 {
            state.waiting.clear();
        }
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
        let mut state = State { waiting, ..State::new() };
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

    fn waiter() -> Waiter<Job> {
        Waiter { job: Job(1), answer: oneshot::channel().0 }
    }

    #[test]
    fn nobody_waits_for_a_flight_that_is_overdue() {
        let limit = Duration::from_secs(2);
        let begin = Instant::now();
        let mut state = State::new();
        let arrive = |state: &mut State<Job>, after: Duration| {
            state.waiting.push(waiter());
            state.departing(begin + after, limit).map(|(number, batch)| (number, batch.len()))
        };
        assert_eq!(arrive(&mut state, Duration::ZERO), Some((1, 1)));
        assert_eq!(arrive(&mut state, limit / 2), None);
        assert_eq!(arrive(&mut state, limit), Some((2, 2)));
        assert_eq!(arrive(&mut state, limit), None);
        // The first comes back after all: the second will come for who waits.
        assert!(state.next(1, begin + limit, limit).is_none());
        assert_eq!(state.next(2, begin + limit, limit).map(|batch| batch.len()), Some(1));
        assert!(state.next(2, begin + limit, limit).is_none());
        assert!(state.flights.is_empty());
    }

    #[tokio::test]
    async fn a_flight_leaves_nothing_behind() {
        let sharing = Sharing::new(true);
        let flight = |number| Flight {
            state: Arc::clone(&sharing.state),
            number,
            limit: Duration::from_secs(2),
        };
        let (number, batch) = {
            let mut state = lock(&sharing.state);
            state.waiting.push(waiter());
            state.departing(Instant::now(), Duration::from_secs(2)).unwrap()
        };
        deliver((), flight(number), batch).await;
        assert_eq!(Arc::strong_count(&sharing.state), 1);

        // Its runtime is shut down: who waits hears of it, unless another flight comes for them.
        for (others, left) in [(vec![(8, Instant::now())], 1), (vec![], 0)] {
            let mut state = lock(&sharing.state);
            state.waiting = vec![waiter()];
            state.flights = others;
            state.flights.push((7, Instant::now()));
            drop(state);
            drop(flight(7));
            assert_eq!(lock(&sharing.state).waiting.len(), left);
        }
    }
}
