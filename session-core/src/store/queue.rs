//! Queues for contended sessions: sessions that several requests of this process save at once.

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedMutexGuard, oneshot};

use crate::Key;
use crate::session::{Prepared, Session, Ticket, Version};

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
    /// The number of the last save that began to wait.
    last: AtomicU64,
}

/// The queues of some sessions.
type Shard = HashMap<Key, Queue>;

/// The queue of a session. It exists as long as there is a leader.
struct Queue {
    waiting: VecDeque<Waiter>,
    /// Locked as long as the present leader leads.
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
    /// It leads now, perhaps as a member of a write that is in doubt.
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
        Self(Arc::new(Inner { shards, count: AtomicUsize::new(0), last: AtomicU64::new(0) }))
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
        let number = self.0.last.fetch_add(1, Ordering::Relaxed) + 1;
        let ticket = Ticket { key: *key, number };
        queue.waiting.push_back(Waiter { session: session.clone(), answer, number });
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
        shard.insert(*key, Queue { waiting: VecDeque::new(), leading });
        Lead::new(self, key, guard)
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

/// The right to write for all that wait. Dropped, it passes to the next one, and with it the members
/// of a write that is in doubt: their changes must not be written by anybody else before it is resolved.
pub(super) struct Lead {
    queues: Queues,
    key: Key,
    /// The saves that were taken out of the queue.
    pub(super) members: Vec<Member>,
    /// The common write that was sent, and whose outcome is not known.
    pub(super) in_doubt: Option<Arc<Prepared>>,
    _leading: OwnedMutexGuard<()>,
}

/// A waiting save whose changes are part of a common write. Dropped, it is told to write alone.
pub(super) struct Member {
    pub(super) waiter: Waiter,
    pub(super) version: Version,
}

impl Lead {
    fn new(queues: &Queues, key: &Key, leading: OwnedMutexGuard<()>) -> Self {
        let queues = queues.clone();
        Self { queues, key: *key, members: Vec::new(), in_doubt: None, _leading: leading }
    }

    /// Takes waiting saves out of the queue until there are `limit` members, but none that needs a new
    /// id, which it has to write by itself, nor any behind that.
    pub(super) fn take(&mut self, limit: usize) {
        let mut left = Vec::new();
        let mut shard = self.queues.shard(&self.key);
        let queue = shard.get_mut(&self.key).expect("a queue exists while somebody leads");
        while self.members.len() < limit
            && let Some(next) = queue.waiting.pop_front()
        {
            if next.answer.is_closed() {
                left.push(next);
            } else if next.session.state(|state| state.changes.new_id()) {
                queue.waiting.push_front(next);
                break;
            } else {
                let version = next.session.state(|state| state.version());
                self.members.push(Member { waiter: next, version });
            }
        }
        // Their sessions are dropped outside the lock.
        drop(shard);
        drop(left);
    }
}

impl Drop for Lead {
    fn drop(&mut self) {
        let mut left = Vec::new();
        let mut members = VecDeque::from(std::mem::take(&mut self.members));
        let mut shard = self.queues.shard(&self.key);
        let queue = shard.get_mut(&self.key).expect("a queue exists while somebody leads");
        let next = loop {
            let member = members.pop_front().map(|member| member.waiter);
            match member.or_else(|| queue.waiting.pop_front()) {
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
            let mut lead = Self::new(&self.queues, &self.key, guard);
            lead.members = members.into();
            lead.in_doubt = self.in_doubt.take();
            // If it has left meanwhile, the lead comes back, is dropped, and passes on.
            drop(next.answer.send(Answer::Lead(lead)));
        }
    }
}
