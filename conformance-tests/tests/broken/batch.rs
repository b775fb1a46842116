//! Stores whose single operations are correct, and whose batches are not.

use std::sync::Arc;
use std::time::Duration;

use session_core::{
    Backend, BatchBackend, Capabilities, CreateItem, DestroyItem, Error, ErrorKind, Key, Loaded,
    Record, Result, Revision, TouchItem, UpdateItem, Write, async_trait,
};

use super::Defect;
use crate::support::reference::Reference;

/// As many items as one statement of it takes.
const PAGE: usize = 32;

#[derive(Debug)]
pub(super) struct WrongBatch {
    defect: Defect,
    inner: Arc<Reference>,
}

impl WrongBatch {
    pub(super) fn new(defect: Defect, inner: Arc<Reference>) -> Self {
        Self { defect, inner }
    }

    pub(super) fn has(defect: Defect) -> bool {
        format!("{defect:?}").starts_with("BatchOf")
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    /// In the order of the keys, if that is the defect.
    fn ordered<T: Clone>(&self, defect: Defect, items: &[T], key: impl Fn(&T) -> Key) -> Vec<T> {
        let mut items = items.to_vec();
        if self.is(defect) {
            items.sort_unstable_by_key(key);
        }
        items
    }
}

#[async_trait]
impl Backend for WrongBatch {
    fn name(&self) -> &'static str {
        "wrong batches"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.inner.load(key).await
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        self.inner.save(key, record, write).await
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        self.inner.touch(key, expected, ttl).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.inner.destroy(key, only).await
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        self.inner.gc(limit).await
    }

    fn batch(&self) -> Option<&dyn BatchBackend> {
        Some(self)
    }
}

#[async_trait]
impl BatchBackend for WrongBatch {
    async fn load_many(&self, keys: &[Key]) -> Vec<Result<Option<Loaded>>> {
        let keys = self.ordered(Defect::BatchOfLoadsInKeyOrder, keys, |key| *key);
        let mut results = self.inner.load_many(&keys).await;
        if self.is(Defect::BatchOfOnePage) {
            results.truncate(PAGE);
        }
        results
    }

    async fn create_many(&self, items: &[CreateItem]) -> Vec<Result<()>> {
        let invalid = items.iter().any(|item| item.ttl.is_zero());
        if self.is(Defect::BatchOfAllOrNothing) && invalid {
            let error = || Error::new(ErrorKind::InvalidValue, "a ttl is zero");
            return items.iter().map(|_| Err(error())).collect();
        }
        let mut results = self.inner.create_many(items).await;
        if self.is(Defect::BatchOfCreatesSkipsWhatExists) {
            results.retain(Result::is_ok);
        }
        results
    }

    async fn update_many(&self, items: &[UpdateItem]) -> Vec<Result<()>> {
        let items = self.ordered(Defect::BatchOfUpdatesInKeyOrder, items, |item| item.key);
        self.inner.update_many(&items).await
    }

    async fn touch_many(&self, items: &[TouchItem]) -> Vec<Result<()>> {
        let mut results = self.inner.touch_many(items).await;
        if self.is(Defect::BatchOfTouchesIsGoneOrDone) {
            for result in &mut results {
                if result.as_ref().is_err_and(|error| error.kind() == ErrorKind::Conflict) {
                    *result = Err(Error::gone());
                }
            }
        }
        results
    }

    async fn destroy_many(&self, items: &[DestroyItem]) -> Vec<Result<bool>> {
        let without_only = |item: &DestroyItem| DestroyItem { only: None, ..*item };
        match self.defect {
            Defect::BatchOfDestroysIgnoresOnly => {
                let items: Vec<_> = items.iter().map(without_only).collect();
                self.inner.destroy_many(&items).await
            }
            _ => self.inner.destroy_many(items).await,
        }
    }
}
