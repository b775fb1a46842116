//! A store that counts what it is asked, and fails on demand.

use std::collections::VecDeque;
use std::future::pending;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use session_core::{
    Backend, Capabilities, Error, Key, Loaded, Record, Result, Revision, Update, Write, async_trait,
};

/// Wraps the store under test.
#[derive(Debug, Clone)]
pub(crate) struct Spy {
    inner: Arc<dyn Backend>,
    notes: Arc<Mutex<Notes>>,
}

#[derive(Debug, Default)]
struct Notes {
    asked: Vec<&'static str>,
    /// What happens to the next writes (save, rotate, touch, destroy).
    writes: VecDeque<Fault>,
    /// What happens to the next loads.
    loads: VecDeque<Fault>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Not carried out, and reported as `Unavailable`.
    Refuse,
    /// Carried out, and reported as `Unavailable`.
    LoseAnswer,
    /// Carried out, and never answered.
    Hang,
}

impl Spy {
    pub(crate) fn new(inner: Arc<dyn Backend>) -> Self {
        Self { inner, notes: Arc::default() }
    }

    /// What the store was asked since the last time.
    pub(crate) fn asked(&self) -> Vec<&'static str> {
        std::mem::take(&mut self.notes().asked)
    }

    pub(crate) fn fail_writes(&self, faults: &[Fault]) {
        self.notes().writes = faults.iter().copied().collect();
    }

    pub(crate) fn fail_loads(&self, faults: &[Fault]) {
        self.notes().loads = faults.iter().copied().collect();
    }

    fn notes(&self) -> MutexGuard<'_, Notes> {
        self.notes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn write<T>(
        &self,
        name: &'static str,
        operation: impl Future<Output = Result<T>>,
    ) -> Result<T> {
        let fault = {
            let mut notes = self.notes();
            notes.asked.push(name);
            notes.writes.pop_front()
        };
        suffer(fault, operation).await
    }
}

async fn suffer<T>(fault: Option<Fault>, operation: impl Future<Output = Result<T>>) -> Result<T> {
    match fault {
        None => operation.await,
        Some(Fault::Refuse) => Err(Error::unavailable("the suite cut the connection")),
        Some(Fault::LoseAnswer) => {
            operation.await?;
            Err(Error::unavailable("the suite lost the answer"))
        }
        Some(Fault::Hang) => {
            operation.await?;
            pending().await
        }
    }
}

#[async_trait]
impl Backend for Spy {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        let fault = {
            let mut notes = self.notes();
            notes.asked.push("load");
            notes.loads.pop_front()
        };
        suffer(fault, self.inner.load(key)).await
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        self.write("save", self.inner.save(key, record, write)).await
    }

    async fn touch(&self, key: &Key, ttl: Duration) -> Result<()> {
        self.write("touch", self.inner.touch(key, ttl)).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.write("destroy", self.inner.destroy(key, only)).await
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        self.inner.gc(limit).await
    }

    async fn rotate(&self, old: &Key, new: &Key, record: &Record, write: Update) -> Result<()> {
        self.write("rotate", self.inner.rotate(old, new, record, write)).await
    }
}
