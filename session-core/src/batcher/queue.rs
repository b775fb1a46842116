//! Which operations go alone, which wait, and when a batch leaves.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::batch::{Batch, Caller};
use super::kinds::Kind;
use crate::{BatchLimits, Error, Result};

/// A batch is worth another one in flight when it has a third of all operations: the server then has one
/// batch, one is on its way, and one is with its callers. With halves, client and server would wait for
/// each other; smaller parts cost more than they gain.
const PARTS: usize = 3;

/// The operations of one kind in one runtime.
///
/// As long as operations wait, a batch is in flight: when it comes back, it takes them along.
pub(super) struct Queue<K: Kind> {
    limits: BatchLimits,
    /// How many operations have a caller that waits: alone, in the queue or in a batch.
    pub(super) outstanding: usize,
    /// How many batches are in flight.
    pub(super) in_flight: usize,
    waiting: VecDeque<(K::Item, Caller<K::Reply>)>,
    /// The payload bytes of those.
    bytes: usize,
}

/// How an operation is carried out.
pub(super) enum Entered<K: Kind> {
    /// By its caller.
    Alone(K::Item),
    /// In a batch; perhaps in the one that has to leave now.
    Waits(oneshot::Receiver<Result<K::Reply>>, Option<Batch<K>>),
}

impl<K: Kind> Queue<K> {
    pub(super) fn new(limits: BatchLimits) -> Self {
        Self { limits, outstanding: 0, in_flight: 0, waiting: VecDeque::new(), bytes: 0 }
    }

    pub(super) fn is_idle(&self) -> bool {
        self.outstanding == 0 && self.in_flight == 0
    }

    pub(super) fn enter(&mut self, item: K::Item, limit: Duration) -> Entered<K> {
        self.outstanding += 1;
        if self.outstanding <= self.limits.alone {
            return Entered::Alone(item);
        }
        let (reply, answer) = oneshot::channel();
        self.bytes += K::bytes(&item);
        let deadline = Instant::now() + limit;
        self.waiting.push_back((item, Caller { deadline, limit, reply }));
        let leaves = self.in_flight == 0
            || self.in_flight < self.limits.in_flight && self.is_worth_a_batch();
        let batch = if leaves { self.take() } else { None };
        self.in_flight += usize::from(batch.is_some());
        Entered::Waits(answer, batch)
    }

    /// What leaves when a batch has come back. Without any, or with little while other batches are in
    /// flight that will come back for it, there is one batch less in flight.
    pub(super) fn next(&mut self) -> Option<Batch<K>> {
        let leaves = self.in_flight == 1 || self.is_worth_a_batch();
        let batch = if leaves { self.take() } else { None };
        self.in_flight -= usize::from(batch.is_none());
        batch
    }

    /// A batch ended early and its runtime can't send another one. If it was the last in flight, nothing
    /// would come back for those that wait: they are dropped, and their callers get to know.
    pub(super) fn abandon(&mut self) -> VecDeque<impl Sized + use<K>> {
        self.in_flight -= 1;
        if self.in_flight > 0 {
            return VecDeque::new();
        }
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }

    /// Removes those whose caller left or whose deadline has passed.
    pub(super) fn expire(&mut self, now: Instant) {
        let before = std::mem::take(&mut self.waiting);
        for (item, caller) in before {
            match still_waits(caller, now) {
                Some(caller) => self.waiting.push_back((item, caller)),
                None => self.bytes -= K::bytes(&item),
            }
        }
    }

    fn is_worth_a_batch(&self) -> bool {
        let worth = (self.outstanding / PARTS).max(self.limits.alone).max(1);
        let is_full = self.waiting.len() >= self.limits.items || self.bytes >= self.limits.bytes;
        self.waiting.len() >= worth || is_full
    }

    /// The oldest of those that wait, as many as a batch may have. `None` when all of them have left.
    fn take(&mut self) -> Option<Batch<K>> {
        let now = Instant::now();
        let most = self.limits.items.max(1);
        let mut batch = Batch::with_capacity(self.waiting.len().min(most));
        let mut keys = Vec::with_capacity(self.waiting.len().min(most));
        let mut bytes = 0;
        // Of two writes of one key the second has to wait for another batch.
        let mut later = Vec::new();
        while let Some((item, caller)) = self.waiting.pop_front() {
            let size = K::bytes(&item);
            let Some(caller) = still_waits(caller, now) else {
                self.bytes -= size;
                continue;
            };
            let key = K::key(&item);
            match keys.iter().position(|known| *known == key) {
                Some(place) if K::SHARES => batch.share(place, caller),
                Some(_) => later.push((item, caller)),
                None if keys.len() < most
                    && (bytes + size <= self.limits.bytes || keys.is_empty()) =>
                {
                    self.bytes -= size;
                    bytes += size;
                    keys.push(key);
                    batch.push(item, caller);
                }
                None => {
                    self.waiting.push_front((item, caller));
                    break;
                }
            }
            // A crowd on one key: enough was looked at.
            if later.len() >= most {
                break;
            }
        }
        for waiter in later.into_iter().rev() {
            self.waiting.push_front(waiter);
        }
        (!batch.items.is_empty()).then_some(batch)
    }
}

/// `None` when the caller left or its deadline has passed, which it gets to know.
fn still_waits<R>(caller: Caller<R>, now: Instant) -> Option<Caller<R>> {
    if caller.reply.is_closed() {
        return None;
    }
    if caller.deadline <= now {
        let limit = caller.limit;
        caller.answer(Err(Error::refused(format!("not sent within {limit:?}: too many wait"))));
        return None;
    }
    Some(caller)
}
