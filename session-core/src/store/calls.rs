//! The calls of a backend, each within the deadline of the operation that it belongs to.

use std::time::Duration;

use super::deadline::{ALL, Deadline, HALF};
use crate::{Backend, Key, Loaded, Record, Result, Revision, Write};

pub(super) struct Calls<'a> {
    pub(super) backend: &'a dyn Backend,
    pub(super) deadline: Deadline,
}

impl<'a> Calls<'a> {
    pub(super) fn new(backend: &'a dyn Backend, deadline: Duration) -> Self {
        Self { backend, deadline: Deadline::after(deadline) }
    }

    pub(super) async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        let limit = self.backend.time_limit();
        let loaded = self.deadline.within(ALL, limit, self.backend.load(key)).await?;
        Ok(loaded.filter(|loaded| !loaded.expires_in.is_zero()))
    }

    /// In half of the time that is left: the other half is for finding out what became of it.
    pub(super) async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let limit = self.backend.time_limit();
        self.deadline.within(HALF, limit, self.backend.save(key, record, write)).await
    }

    pub(super) async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        let limit = self.backend.time_limit();
        self.deadline.within(ALL, limit, self.backend.touch(key, expected, ttl)).await
    }

    pub(super) async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.deadline.limit(self.backend.destroy(key, only)).await
    }
}
