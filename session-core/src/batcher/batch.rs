//! Items that are sent together, and their callers.

use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::kinds::Kind;
use crate::{Error, ErrorKind, Result};

/// A caller that waits for the outcome of an item.
pub(super) struct Caller<R> {
    pub(super) deadline: Instant,
    /// Its time limit, for the error.
    pub(super) limit: Duration,
    pub(super) reply: oneshot::Sender<Result<R>>,
}

impl<R> Caller<R> {
    /// Sends the result. A caller that was dropped meanwhile needs none.
    pub(super) fn answer(self, result: Result<R>) {
        let _ = self.reply.send(result);
    }
}

/// Items with different keys.
pub(super) struct Batch<K: Kind> {
    pub(super) items: Vec<K::Item>,
    /// One caller for each item; `None` after it was answered.
    callers: Vec<Option<Caller<K::Reply>>>,
    /// Further callers, with the index of their item.
    sharers: Vec<(usize, Caller<K::Reply>)>,
}

impl<K: Kind> Batch<K> {
    pub(super) fn with_capacity(items: usize) -> Self {
        Self {
            items: Vec::with_capacity(items),
            callers: Vec::with_capacity(items),
            sharers: Vec::new(),
        }
    }

    pub(super) fn push(&mut self, item: K::Item, caller: Caller<K::Reply>) {
        self.items.push(item);
        self.callers.push(Some(caller));
    }

    /// Lets a caller share the result of the item at this index.
    pub(super) fn share(&mut self, place: usize, caller: Caller<K::Reply>) {
        self.sharers.push((place, caller));
    }

    /// The earliest deadline of the waiting callers; `None` if no caller waits.
    pub(super) fn earliest(&self) -> Option<Instant> {
        let sharers = self.sharers.iter().map(|(_, caller)| caller.deadline);
        self.callers.iter().flatten().map(|caller| caller.deadline).chain(sharers).min()
    }

    /// Answers the callers whose deadline has passed. Their items were sent, so they are in doubt.
    pub(super) fn expire(&mut self, now: Instant) {
        for caller in &mut self.callers {
            if let Some(late) = caller.take_if(|caller| caller.deadline <= now) {
                let limit = late.limit;
                late.answer(Err(no_answer(limit)));
            }
        }
        for (_, late) in self.sharers.extract_if(.., |(_, caller)| caller.deadline <= now) {
            let limit = late.limit;
            late.answer(Err(no_answer(limit)));
        }
    }

    /// Gives each caller its result. `items` is how many were sent.
    pub(super) fn answer(self, items: usize, results: Vec<Result<K::Reply>>) {
        if results.len() != items {
            let wrong = || {
                Error::new(
                    ErrorKind::Other,
                    "the backend returned a wrong number of results for a batch, which is a bug in it",
                )
            };
            for caller in self.callers.into_iter().flatten() {
                caller.answer(Err(wrong()));
            }
            for (_, caller) in self.sharers {
                caller.answer(Err(wrong()));
            }
            return;
        }
        for (place, caller) in self.sharers {
            caller.answer(copy(&results[place]));
        }
        for (caller, result) in self.callers.into_iter().zip(results) {
            if let Some(caller) = caller {
                caller.answer(result);
            }
        }
    }
}

/// The same result for another caller. The source of an error can't be cloned, so the first caller
/// gets it.
fn copy<R: Clone>(result: &Result<R>) -> Result<R> {
    match result {
        Ok(reply) => Ok(reply.clone()),
        Err(error) => {
            let copy = Error::new(error.kind(), error.message().to_owned());
            Err(if error.nothing_was_written() { copy.as_refusal() } else { copy })
        }
    }
}

/// The error for an item that was sent and is in doubt.
pub(super) fn no_answer(limit: Duration) -> Error {
    Error::unavailable(format!("no answer within {limit:?}"))
}
