//! Notes whether the store under test was `Unavailable`, and forwards everything.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use session_core::{
    Backend, BatchBackend, BatchLimits, Capabilities, CreateItem, DestroyItem, ErrorKind, Key,
    Loaded, OwnerIndex, Record, Result, Revision, TouchItem, UpdateItem, Write, async_trait,
};

/// How often a store was `Unavailable`.
#[derive(Debug, Clone, Default)]
pub(crate) struct Outages(Arc<AtomicUsize>);

impl Outages {
    pub(crate) fn any(&self) -> bool {
        self.0.load(Ordering::Relaxed) > 0
    }

    fn note<T>(&self, result: Result<T>) -> Result<T> {
        if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Unavailable) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        result
    }

    fn note_all<T>(&self, results: Vec<Result<T>>) -> Vec<Result<T>> {
        results.into_iter().map(|result| self.note(result)).collect()
    }
}

/// The backend under test.
pub(crate) struct Observed {
    inner: Arc<dyn Backend>,
    outages: Outages,
}

impl Observed {
    pub(crate) fn over(inner: Arc<dyn Backend>, outages: &Outages) -> Arc<dyn Backend> {
        Arc::new(Self { inner, outages: outages.clone() })
    }

    fn batches(&self) -> &dyn BatchBackend {
        self.inner.batch().expect("a backend that has batches keeps them")
    }
}

impl fmt::Debug for Observed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.inner.fmt(f)
    }
}

#[async_trait]
impl Backend for Observed {
    fn name(&self) -> &'static str {
        self.inner.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn batch(&self) -> Option<&dyn BatchBackend> {
        self.inner.batch().map(|_| self as &dyn BatchBackend)
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        self.inner.owner_index()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.outages.note(self.inner.load(key).await)
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        self.outages.note(self.inner.save(key, record, write).await)
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        self.outages.note(self.inner.touch(key, expected, ttl).await)
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.outages.note(self.inner.destroy(key, only).await)
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        self.outages.note(self.inner.gc(limit).await)
    }
}

#[async_trait]
impl BatchBackend for Observed {
    fn limits(&self) -> BatchLimits {
        self.batches().limits()
    }

    async fn load_many(&self, keys: &[Key]) -> Vec<Result<Option<Loaded>>> {
        self.outages.note_all(self.batches().load_many(keys).await)
    }

    async fn create_many(&self, items: &[CreateItem]) -> Vec<Result<()>> {
        self.outages.note_all(self.batches().create_many(items).await)
    }

    async fn update_many(&self, items: &[UpdateItem]) -> Vec<Result<()>> {
        self.outages.note_all(self.batches().update_many(items).await)
    }

    async fn touch_many(&self, items: &[TouchItem]) -> Vec<Result<()>> {
        self.outages.note_all(self.batches().touch_many(items).await)
    }

    async fn destroy_many(&self, items: &[DestroyItem]) -> Vec<Result<bool>> {
        self.outages.note_all(self.batches().destroy_many(items).await)
    }
}
