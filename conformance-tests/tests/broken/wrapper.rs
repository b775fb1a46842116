//! Broken wrappers around a correct store.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use session_core::{
    Backend, Capabilities, ErrorKind, Key, Loaded, Record, Result, Revision, Update, Write,
    async_trait,
};

use super::Defect;
use crate::support::reference::Reference;

/// Forwards all calls, except those that its defect affects.
#[derive(Debug)]
pub(super) struct WrongWrapper {
    defect: Defect,
    inner: Arc<Reference>,
    cache: Mutex<HashMap<Key, Option<Loaded>>>,
}

impl WrongWrapper {
    pub(super) fn new(defect: Defect, inner: Arc<Reference>) -> Self {
        Self { defect, inner, cache: Mutex::default() }
    }

    pub(super) fn has(defect: Defect) -> bool {
        format!("{defect:?}").starts_with("Wrapper")
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn cache(&self) -> std::sync::MutexGuard<'_, HashMap<Key, Option<Loaded>>> {
        self.cache.lock().expect("no case panics while it holds the lock")
    }
}

#[async_trait]
impl Backend for WrongWrapper {
    fn name(&self) -> &'static str {
        "wrong wrapper"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        if !self.is(Defect::WrapperCachesLoads) {
            return self.inner.load(key).await;
        }
        let cached = self.cache().get(key).cloned();
        if let Some(cached) = cached {
            return Ok(cached);
        }
        let loaded = self.inner.load(key).await?;
        self.cache().insert(*key, loaded.clone());
        Ok(loaded)
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        // It sees its own writes: the cache only misses the writes of others.
        self.cache().remove(key);
        let write = match write {
            Write::Update(update) if self.is(Defect::WrapperDropsTtl) => {
                Write::Update(Update { ttl: None, ..update })
            }
            write => write,
        };
        let result = self.inner.save(key, record, write).await;
        let (Err(error), Write::Update(update)) = (&result, write) else {
            return result;
        };
        match (error.kind(), self.defect) {
            (ErrorKind::Gone, Defect::WrapperCreatesWhatIsGone) => {
                let ttl = update.ttl.unwrap_or(Duration::from_secs(3600));
                self.inner.save(key, record, Write::Create { ttl }).await
            }
            (ErrorKind::Conflict, Defect::WrapperWritesAgain) => {
                let Some(found) = self.inner.load(key).await? else {
                    return result;
                };
                let update = Update { expected: found.record.revision, ..update };
                self.inner.save(key, record, Write::Update(update)).await
            }
            _ => result,
        }
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        if self.is(Defect::WrapperAnswersTouch) {
            return Ok(());
        }
        self.cache().remove(key);
        self.inner.touch(key, expected, ttl).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.cache().remove(key);
        let only = only.filter(|_| !self.is(Defect::WrapperDropsOnly));
        self.inner.destroy(key, only).await
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        if self.is(Defect::WrapperForgetsGc) {
            return Ok(0);
        }
        self.inner.gc(limit).await
    }
}
