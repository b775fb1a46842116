//! Who goes now, and who waits for the next batch.

use std::collections::{HashSet, VecDeque};
use std::sync::{Mutex, MutexGuard};

use session_core::{Key, Result};
use tokio::sync::oneshot;

/// The most that are carried out together.
pub(crate) const MAX_BATCH: usize = 64;
/// A batch takes no further payload beyond this many bytes, so that no statement exceeds the packet
/// limit of a server because of what else is in it.
const MAX_BATCH_BYTES: usize = 1 << 20;

/// What can wait in a [`Queue`].
pub(crate) trait Item: Send + 'static {
    /// Whether two with one key may go together: reads may, writes must see each other's outcome.
    const REPEATABLE: bool;

    fn key(&self) -> Key;

    /// How much it adds to the statement.
    fn bytes(&self) -> usize {
        0
    }
}

/// Operations of one sort. As long as a lane is free, one goes out at once; while all lanes are
/// busy they gather, and the first lane that becomes free takes all that wait.
#[derive(Debug)]
pub(crate) struct Queue<I, R> {
    lanes: usize,
    state: Mutex<State<I, R>>,
}

#[derive(Debug)]
struct State<I, R> {
    busy: usize,
    waiting: VecDeque<Waiter<I, R>>,
}

#[derive(Debug)]
pub(crate) struct Waiter<I, R> {
    pub(crate) item: I,
    pub(crate) reply: oneshot::Sender<Result<R>>,
}

pub(crate) enum Turn<I, R> {
    /// Go, and afterwards take on what [`Queue::next_batch`] gives.
    Now(I),
    /// Somebody else carries it out.
    Later(oneshot::Receiver<Result<R>>),
}

impl<I: Item, R> Queue<I, R> {
    pub(crate) fn new(lanes: usize) -> Self {
        let state = State { busy: 0, waiting: VecDeque::new() };
        Self { lanes, state: Mutex::new(state) }
    }

    pub(crate) fn enter(&self, item: I) -> Turn<I, R> {
        let mut state = self.state();
        if state.busy < self.lanes {
            state.busy += 1;
            return Turn::Now(item);
        }
        let (reply, receiver) = oneshot::channel();
        state.waiting.push_back(Waiter { item, reply });
        Turn::Later(receiver)
    }

    /// What the lane carries out next, in the order of the keys; `None` frees the lane.
    ///
    /// Whoever went away is left out. Of two writes of one key the second waits for the batch after:
    /// it must see what the first did.
    pub(crate) fn next_batch(&self) -> Option<Vec<Waiter<I, R>>> {
        let mut state = self.state();
        let mut batch: Vec<Waiter<I, R>> = Vec::with_capacity(state.waiting.len().min(MAX_BATCH));
        let mut keys = HashSet::new();
        let mut bytes = 0;
        let mut later = VecDeque::new();
        while let Some(waiter) = state.waiting.pop_front() {
            if waiter.reply.is_closed() {
                continue;
            }
            bytes += waiter.item.bytes();
            let fits = batch.len() < MAX_BATCH && (bytes <= MAX_BATCH_BYTES || batch.is_empty());
            if !fits {
                later.push_back(waiter);
                break;
            }
            if I::REPEATABLE || keys.insert(waiter.item.key()) {
                batch.push(waiter);
            } else {
                later.push_back(waiter);
            }
        }
        later.append(&mut state.waiting);
        state.waiting = later;
        if batch.is_empty() {
            state.busy -= 1;
            return None;
        }
        drop(state);
        batch.sort_unstable_by_key(|waiter| waiter.item.key());
        Some(batch)
    }

    /// A lane ended before its time. If it was the last, nobody would come for those who wait: they
    /// get to know at once that nothing was done.
    pub(crate) fn abandon_lane(&self) {
        let mut state = self.state();
        state.busy -= 1;
        if state.busy == 0 {
            state.waiting.clear();
        }
    }

    fn state(&self) -> MutexGuard<'_, State<I, R>> {
        self.state.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Numbered(u8, usize);

    impl Item for Numbered {
        const REPEATABLE: bool = false;

        fn key(&self) -> Key {
            Key::from_bytes([self.0; 32])
        }

        fn bytes(&self) -> usize {
            self.1
        }
    }

    type Waiting = oneshot::Receiver<Result<u8>>;

    fn later(queue: &Queue<Numbered, u8>, key: u8, bytes: usize) -> Waiting {
        match queue.enter(Numbered(key, bytes)) {
            Turn::Later(receiver) => receiver,
            Turn::Now(_) => panic!("a lane was free"),
        }
    }

    fn next(queue: &Queue<Numbered, u8>) -> Option<Vec<u8>> {
        let batch = queue.next_batch()?;
        Some(batch.iter().map(|waiter| waiter.item.0).collect())
    }

    fn busy_queue() -> Queue<Numbered, u8> {
        let queue = Queue::new(1);
        assert!(matches!(queue.enter(Numbered(0, 0)), Turn::Now(_)));
        queue
    }

    #[test]
    fn those_who_wait_go_together_in_the_order_of_their_keys() {
        let queue = busy_queue();
        let _waiting = [3, 1, 2].map(|key| later(&queue, key, 0));
        assert_eq!(next(&queue), Some(vec![1, 2, 3]));
        assert_eq!(next(&queue), None);
        assert!(matches!(queue.enter(Numbered(0, 0)), Turn::Now(_)));
    }

    #[test]
    fn one_key_is_in_a_batch_once_and_the_others_keep_their_order() {
        let queue = busy_queue();
        let _waiting = [1, 1, 2, 1].map(|key| later(&queue, key, 0));
        assert_eq!(next(&queue), Some(vec![1, 2]));
        assert_eq!(next(&queue), Some(vec![1]));
        assert_eq!(next(&queue), Some(vec![1]));
        assert_eq!(next(&queue), None);
    }

    #[test]
    fn whoever_went_away_is_left_out() {
        let queue = busy_queue();
        let _one = later(&queue, 1, 0);
        drop(later(&queue, 2, 0));
        assert_eq!(next(&queue), Some(vec![1]));
        assert_eq!(next(&queue), None);
    }

    #[test]
    fn a_batch_is_bounded_in_number_and_in_bytes() {
        let queue = busy_queue();
        let _many: Vec<_> =
            (0..=MAX_BATCH).map(|key| later(&queue, u8::try_from(key).unwrap(), 0)).collect();
        assert_eq!(next(&queue).unwrap().len(), MAX_BATCH);
        assert_eq!(next(&queue).unwrap().len(), 1);

        let sizes = [MAX_BATCH_BYTES * 2, 1, MAX_BATCH_BYTES, 1];
        let _big: Vec<_> = (1..).zip(sizes).map(|(key, bytes)| later(&queue, key, bytes)).collect();
        assert_eq!(next(&queue), Some(vec![1]));
        assert_eq!(next(&queue), Some(vec![2]));
        assert_eq!(next(&queue), Some(vec![3]));
        assert_eq!(next(&queue), Some(vec![4]));
    }

    #[test]
    fn when_the_last_lane_breaks_nobody_waits_in_vain() {
        let queue = busy_queue();
        let mut waiting = later(&queue, 1, 0);
        queue.abandon_lane();
        assert_eq!(waiting.try_recv().unwrap_err(), oneshot::error::TryRecvError::Closed);
        assert!(matches!(queue.enter(Numbered(0, 0)), Turn::Now(_)));
    }
}
