//! The calls of a backend, each within the deadline of its operation.

use std::time::Duration;

use super::deadline::Deadline;
use crate::batcher::Batcher;
use crate::{Backend, Key, Loaded, Owner, Record, Result, Revision, Write};

pub(super) struct Calls<'a> {
    backend: &'a dyn Backend,
    /// Set if the backend takes batches. The batcher enforces the time limits itself, with fewer
    /// timers.
    batcher: Option<&'a Batcher>,
    pub(super) deadline: Deadline,
}

impl<'a> Calls<'a> {
    pub(super) fn new(
        backend: &'a dyn Backend,
        batcher: Option<&'a Batcher>,
        deadline: Duration,
    ) -> Self {
        Self { backend, batcher, deadline: Deadline::after(deadline) }
    }

    pub(super) async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        let loaded = match self.batcher {
            Some(batcher) => batcher.load(key, self.deadline.left()).await?,
            None => self.deadline.limit(self.backend.load(key)).await?,
        };
        Ok(loaded.filter(|loaded| !loaded.expires_in.is_zero()))
    }

    /// Takes at most half of the remaining time: the rest is for finding out the outcome.
    pub(super) async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        match self.batcher {
            Some(batcher) => batcher.save(key, record, write, self.deadline.left() / 2).await,
            None => self.deadline.limit_half(self.backend.save(key, record, write)).await,
        }
    }

    pub(super) async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        match self.batcher {
            Some(batcher) => batcher.touch(key, expected, ttl, self.deadline.left()).await,
            None => self.deadline.limit(self.backend.touch(key, expected, ttl)).await,
        }
    }

    /// Before a touch of a record that has an owner.
    pub(super) async fn prolong(&self, owner: &Owner, key: &Key, ttl: Duration) -> Result<()> {
        match self.backend.owner_index() {
            Some(index) => self.deadline.limit(index.prolong(owner, key, ttl)).await,
            None => Ok(()),
        }
    }

    /// After the destruction of a record that had an owner.
    pub(super) async fn forget(&self, owner: &Owner, key: &Key) {
        if let Some(index) = self.backend.owner_index()
            && let Err(error) = self.deadline.limit(index.forget(owner, key)).await
        {
            tracing::debug!(%error, "an entry of the owner index remains until it expires");
        }
    }

    pub(super) async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        match self.batcher {
            Some(batcher) => batcher.destroy(key, only, self.deadline.left()).await,
            None => self.deadline.limit(self.backend.destroy(key, only)).await,
        }
    }
}
