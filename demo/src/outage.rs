//! "Stop the store": a backend in front of the store that does not answer for a while.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use session_core::{
    Backend, Capabilities, Error, Key, Loaded, OwnerIndex, Record, Result, Revision, Write,
    async_trait,
};

/// When the store is available again. Clones share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outage(Arc<Mutex<Option<Instant>>>);

impl Outage {
    pub(crate) fn begin(&self, time: Duration) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now() + time);
    }

    fn check(&self) -> Result<()> {
        let ends = *self.0.lock().unwrap_or_else(PoisonError::into_inner);
        match ends.is_some_and(|ends| Instant::now() < ends) {
            true => Err(Error::refused("the store was stopped by a visitor")),
            false => Ok(()),
        }
    }
}

/// The store behind the switch. It offers no batches, so each operation meets the switch.
#[derive(Debug)]
pub(crate) struct Stoppable {
    pub(crate) store: Arc<dyn Backend>,
    pub(crate) outage: Outage,
}

#[async_trait]
impl Backend for Stoppable {
    fn name(&self) -> &'static str {
        self.store.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.store.capabilities()
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        self.store.owner_index()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.outage.check()?;
        self.store.load(key).await
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        self.outage.check()?;
        self.store.save(key, record, write).await
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        self.outage.check()?;
        self.store.touch(key, expected, ttl).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.outage.check()?;
        self.store.destroy(key, only).await
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        self.outage.check()?;
        self.store.gc(limit).await
    }
}
