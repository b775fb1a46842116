//! Queues for sessions that several requests of this process save at once.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use crate::Key;
use crate::session::Session;

const SHARDS: usize = 64;

/// The saves that wait for each contended session, instead of refusing each other's writes again and
/// again. One of them leads: it writes the changes of all. No session waits for another one.
///
/// A queue is a help and not a lock: other processes do not know of it, and no save waits longer than
/// its deadline allows.
#[derive(Clone)]
pub(super) struct Queues(Arc<Inner>);

struct Inner {
    shards: [Mutex<Shard>; SHARDS],
    /// How many sessions have a queue.
    count: AtomicUsize,
}

/// The waiting saves of each session that has a leader.
type Shard = HashMap<Key, VecDeque<Waiter>>;

pub(super) struct Waiter {
    pub(super) session: Session,
    pub(super) answer: oneshot::Sender<Answer>,
}

/// What a waiting save is told. Told nothing, it has to be written alone.
pub(super) enum Answer {
    /// The leader wrote its changes; whether the client's cookie is out of date.
    Written { issued: bool },
    /// It leads now.
    Lead(Lead),
}

pub(super) enum Place {
    Leading(Lead),
    Waiting(oneshot::Receiver<Answer>),
}

impl Queues {
    pub(super) fn new() -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self(Arc::new(Inner { shards, count: AtomicUsize::new(0) }))
    }

    /// Whether no session has a queue, which is what a save finds nearly always.
    pub(super) fn are_idle(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) == 0
    }

    pub(super) fn is_busy(&self, key: &Key) -> bool {
        self.shard(key).contains_key(key)
    }

    pub(super) fn enter(&self, key: &Key, session: &Session) -> Place {
        let mut shard = self.shard(key);
        if let Some(waiting) = shard.get_mut(key) {
            let (answer, receiver) = oneshot::channel();
            waiting.push_back(Waiter { session: session.clone(), answer });
            return Place::Waiting(receiver);
        }
        shard.insert(*key, VecDeque::new());
        self.0.count.fetch_add(1, Ordering::Relaxed);
        Place::Leading(Lead { queues: self.clone(), key: *key })
    }

    /// Leads, unless somebody does.
    pub(super) fn try_lead(&self, key: &Key) -> Option<Lead> {
        let mut shard = self.shard(key);
        if shard.contains_key(key) {
            return None;
        }
        shard.insert(*key, VecDeque::new());
        self.0.count.fetch_add(1, Ordering::Relaxed);
        Some(Lead { queues: self.clone(), key: *key })
    }

    /// No code panics while it holds the lock.
    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let shard = &self.0.shards[usize::from(key.as_bytes()[31]) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The right to write for all that wait. Dropped, it passes to the next one.
pub(super) struct Lead {
    queues: Queues,
    key: Key,
}

impl Lead {
    /// Takes up to `limit` waiting saves out of the queue, but none that needs a new id, which it has
    /// to write by itself, nor any behind that.
    pub(super) fn take(&self, limit: usize) -> Vec<Waiter> {
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        let mut shard = self.queues.shard(&self.key);
        let waiting = shard.get_mut(&self.key).expect("a queue exists while somebody leads");
        while taken.len() < limit
            && let Some(next) = waiting.pop_front()
        {
            if next.answer.is_closed() {
                left.push(next);
            } else if next.session.state(|state| state.changes.new_id()) {
                waiting.push_front(next);
                break;
            } else {
                taken.push(next);
            }
        }
        // Their sessions are dropped outside the lock.
        drop(shard);
        drop(left);
        taken
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut shard = self.queues.shard(&self.key);
        let waiting = shard.get_mut(&self.key).expect("a queue exists while somebody leads");
        let mut left = Vec::new();
        let next = loop {
            match waiting.pop_front() {
                Some(next) if next.answer.is_closed() => left.push(next),
                next => break next,
            }
        };
        if next.is_none() {
            shard.remove(&self.key);
            self.queues.0.count.fetch_sub(1, Ordering::Relaxed);
        }
        drop(shard);
        drop(left);
        if let Some(next) = next {
            let lead = Self { queues: self.queues.clone(), key: self.key };
            // If it has left meanwhile, the lead comes back, is dropped, and passes on.
            drop(next.answer.send(Answer::Lead(lead)));
        }
    }
}
