//! WIP: a backend whose operations go through the batcher.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use crate::batcher::Batcher;
use crate::{Backend, Capabilities, Key, Loaded, Record, Result, Revision, Write};

const LIMIT: Duration = Duration::from_secs(2);

pub(super) fn batched(backend: Arc<dyn Backend>) -> Arc<dyn Backend> {
    match Batcher::new(&backend) {
        Some(batcher) => Arc::new(Batched { backend, batcher }),
        None => backend,
    }
}

struct Batched {
    backend: Arc<dyn Backend>,
    batcher: Batcher,
}

impl std::fmt::Debug for Batched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.backend.fmt(f)
    }
}

#[async_trait]
impl Backend for Batched {
    fn name(&self) -> &'static str {
        self.backend.name()
    }

    fn capabilities(&self) -> Capabilities {
        self.backend.capabilities()
    }

    fn time_limit(&self) -> Option<Duration> {
        Some(LIMIT)
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.batcher.load(key, LIMIT).await
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        self.batcher.save(key, record, write, LIMIT).await
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        self.batcher.touch(key, expected, ttl, LIMIT).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.batcher.destroy(key, only, LIMIT).await
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        self.backend.gc(limit).await
    }
}
