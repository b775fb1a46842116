//! Queues for contended sessions: sessions that several requests of this process save at once.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedMutexGuard, oneshot};

use crate::Key;
use crate::session::{Session, Ticket};

const SHARDS: usize = 64;

/// The waiting saves of each contended session. One of them is the leader and writes the changes of
/// all, so that they do not cause conflicts for each other. Sessions do not wait for each other.
///
/// A queue only avoids conflicts. It is not a lock: other processes do not take part, and no save
/// waits beyond its deadline.
#[derive(Clone)]
pub(super) struct Queues(Arc<Inner>);

struct Inner {
    shards: [Mutex<Shard>; SHARDS],
    /// How many sessions have a queue.
    count: AtomicUsize,
}

/// The queues of some sessions.
type Shard = HashMap<Key, Queue>;

/// The queue of a session. It exists as long as there is a leader.
struct Queue {
    waiting: VecDeque<Waiter>,
    /// The number of the last save that began to wait.
    last: u64,
    /// Locked by the current leader.
    leading: Arc<tokio::sync::Mutex<()>>,
}

pub(super) struct Waiter {
    pub(super) session: Session,
    pub(super) answer: oneshot::Sender<Answer>,
    number: u64,
}

/// The answer to a waiting save. If the sender is dropped, the save has to write by itself.
pub(super) enum Answer {
    /// The leader wrote its changes; `issued` if the client's cookie is out of date.
    Written { issued: bool },
    /// It is the leader now.
    Lead(Lead),
}

pub(super) enum Place {
    Leading(Lead),
    Waiting(oneshot::Receiver<Answer>, Ticket),
}

/// The result of [`Queues::leave`].
pub(super) enum Leaving {
    /// It was removed from the queue; no leader will write its changes.
    Left,
    /// A leader took it, or made it the next leader. Until that leader has ended, it may write the
    /// changes.
    Taken(Option<Arc<tokio::sync::Mutex<()>>>),
}

impl Queues {
    pub(super) fn new() -> Self {
        let shards = std::array::from_fn(|_| Mutex::default());
        Self(Arc::new(Inner { shards, count: AtomicUsize::new(0) }))
    }

    /// Whether no session has a queue, which is the usual case.
    pub(super) fn are_idle(&self) -> bool {
        self.0.count.load(Ordering::Relaxed) == 0
    }

    pub(super) fn is_busy(&self, key: &Key) -> bool {
        self.shard(key).contains_key(key)
    }

    /// Becomes the leader, or waits for the current one.
    pub(super) fn enter(&self, key: &Key, session: &Session) -> Place {
        let mut shard = self.shard(key);
        let Some(queue) = shard.get_mut(key) else {
            return Place::Leading(self.begin(&mut shard, key));
        };
        let (answer, receiver) = oneshot::channel();
        queue.last += 1;
        let ticket = Ticket { key: *key, number: queue.last };
        queue.waiting.push_back(Waiter { session: session.clone(), answer, number: queue.last });
        Place::Waiting(receiver, ticket)
    }

    /// Becomes the leader, unless there is one.
    pub(super) fn try_lead(&self, key: &Key) -> Option<Lead> {
        let mut shard = self.shard(key);
        (!shard.contains_key(key)).then(|| self.begin(&mut shard, key))
    }

    pub(super) fn leave(&self, ticket: Ticket) -> Leaving {
        let mut shard = self.shard(&ticket.key);
        let Some(queue) = shard.get_mut(&ticket.key) else {
            return Leaving::Taken(None);
        };
        let place = queue.waiting.iter().position(|waiter| waiter.number == ticket.number);
        let Some(waiter) = place.and_then(|place| queue.waiting.remove(place)) else {
            return Leaving::Taken(Some(Arc::clone(&queue.leading)));
        };
        // Its session is dropped outside the lock.
        drop(shard);
        drop(waiter);
        Leaving::Left
    }

    fn begin(&self, shard: &mut Shard, key: &Key) -> Lead {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        let (leading, guard) = locked();
        shard.insert(*key, Queue { waiting: VecDeque::new(), last: 0, leading });
        Lead { queues: self.clone(), key: *key, _leading: guard }
    }

    /// No code panics while it holds the lock.
    fn shard(&self, key: &Key) -> MutexGuard<'_, Shard> {
        let shard = &self.0.shards[usize::from(key.as_bytes()[31]) % SHARDS];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn locked() -> (Arc<tokio::sync::Mutex<()>>, OwnedMutexGuard<()>) {
    let mutex = Arc::new(tokio::sync::Mutex::new(()));
    let guard = Arc::clone(&mutex).try_lock_owned().expect("the mutex is new");
    (mutex, guard)
}

/// The right of the leader to write the changes of all. On drop it passes to the next waiting save.
pub(super) struct Lead {
    queues: Queues,
    key: Key,
    _leading: OwnedMutexGuard<()>,
}

impl Lead {
    /// Takes up to `limit` waiting saves out of the queue. It stops at a save that needs a new id,
    /// because that save has to write by itself.
    pub(super) fn take(&self, limit: usize) -> Vec<Waiter> {
        let (mut taken, mut left) = (Vec::new(), Vec::new());
        let mut shard = self.queues.shard(&self.key);
        let queue = shard.get_mut(&self.key).expect("a queue exists while there is a leader");
        let waiting = &mut queue.waiting;
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
        let queue = shard.get_mut(&self.key).expect("a queue exists while there is a leader");
        let mut left = Vec::new();
        let next = loop {
            match queue.waiting.pop_front() {
                Some(next) if next.answer.is_closed() => left.push(next),
                next => break next,
            }
        };
        let next = match next {
            Some(next) => {
                let (leading, guard) = locked();
                queue.leading = leading;
                Some((next, guard))
            }
            None => {
                shard.remove(&self.key);
                self.queues.0.count.fetch_sub(1, Ordering::Relaxed);
                None
            }
        };
        drop(shard);
        drop(left);
        if let Some((next, guard)) = next {
            let lead = Self { queues: self.queues.clone(), key: self.key, _leading: guard };
            // If the save has left meanwhile, `send` returns the lead, and its drop passes it on.
            drop(next.answer.send(Answer::Lead(lead)));
        }
    }
}
