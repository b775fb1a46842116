//! Decides which operations are sent alone, which wait, and when a batch is sent.

use std::collections::VecDeque;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::batch::{Batch, Caller};
use super::kinds::Kind;
use crate::{BatchLimits, Error, Result};

/// A further batch is sent beside others in flight if it has a third of all operations. Then the
/// server works on one batch, one is on the network, and one is with the callers. With halves,
/// client and server would wait for each other; smaller batches cost more than they gain.
const PARTS: usize = 3;

/// The operations of one kind in one runtime.
///
/// While operations wait, at least one batch is in flight. Its answer triggers the next batch.
pub(super) struct Queue<K: Kind> {
    limits: BatchLimits,
    /// How many operations have a waiting caller: sent alone, in the queue or in a batch.
    pub(super) outstanding: usize,
    /// How many batches are in flight.
    pub(super) in_flight: usize,
    waiting: VecDeque<(K::Item, Caller<K::Reply>)>,
    /// The payload bytes of the waiting operations.
    bytes: usize,
}

/// How an operation is sent.
pub(super) enum Entered<K: Kind> {
    /// By its caller, alone.
    Alone(K::Item),
    /// In a batch. The caller has to start the given batch now, if there is one.
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

    /// The next batch after one was answered. `None` if no operation waits, or if few wait and
    /// other batches are still in flight; then one batch less is in flight.
    pub(super) fn next(&mut self) -> Option<Batch<K>> {
        let leaves = self.in_flight == 1 || self.is_worth_a_batch();
        let batch = if leaves { self.take() } else { None };
        self.in_flight -= usize::from(batch.is_none());
        batch
    }

    /// Handles a batch that ended early in a runtime that can't send another one. If it was the
    /// last in flight, no answer would trigger a batch of the waiting operations: they are
    /// returned, and their drop informs the callers.
    pub(super) fn abandon(&mut self) -> VecDeque<impl Sized + use<K>> {
        self.in_flight -= 1;
        if self.in_flight > 0 {
            return VecDeque::new();
        }
        self.bytes = 0;
        std::mem::take(&mut self.waiting)
    }

    /// Removes the operations whose caller was dropped or whose deadline has passed.
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

    /// Takes the oldest waiting operations, as many as a batch may have. `None` if no caller waits
    /// any more.
    fn take(&mut self) -> Option<Batch<K>> {
        let now = Instant::now();
        let most = self.limits.items.max(1);
        let mut batch = Batch::with_capacity(self.waiting.len().min(most));
        let mut keys = Vec::with_capacity(self.waiting.len().min(most));
        let mut bytes = 0;
        // Of two writes of one key the second has to wait for a later batch.
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
            // Most operations have the same key: stop the search.
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

/// `None` if the caller was dropped or its deadline has passed. In the second case the caller is
/// answered.
fn still_waits<R>(caller: Caller<R>, now: Instant) -> Option<Caller<R>> {
    if caller.reply.is_closed() {
        return None;
    }
    if caller.deadline <= now {
        let limit = caller.limit;
        caller.answer(Err(Error::refused(format!(
            "not sent within {limit:?}: too many operations are waiting"
        ))));
        return None;
    }
    Some(caller)
}
