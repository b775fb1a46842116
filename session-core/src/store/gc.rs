//! The removal of expired records.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::JoinHandle;

use super::SessionStore;
use super::deadline::Deadline;
use crate::Result;

/// How many expired records one step removes.
const BATCH: usize = 1000;

impl SessionStore {
    /// Removes expired records, in bounded steps, and returns how many. Live records are never
    /// removed. It may run on many nodes at once. While a collection of this store runs in this
    /// process, another call returns 0 at once. A store that [expires
    /// natively](crate::Guarantees::expires_natively) has nothing to remove.
    ///
    /// # Errors
    /// The errors of the backend. What was removed before stays removed.
    pub async fn gc(&self) -> Result<u64> {
        let Some(backend) = self.backend() else {
            return Ok(0);
        };
        let Some(_guard) = Collection::begin(self.collecting()) else {
            return Ok(0);
        };
        let mut total = 0;
        loop {
            let deadline = Deadline::after(self.config().deadline);
            let removed = deadline
                .limit(backend.gc(BATCH))
                .await
                .map_err(|error| self.explain(error, "gc"))?;
            total += removed;
            if removed < BATCH as u64 {
                return Ok(total);
            }
            tokio::task::yield_now().await; // a store in memory has no other await
        }
    }

    /// Runs [`gc`](Self::gc) in the background, about every `interval` (at least a millisecond),
    /// until the handle is aborted or the runtime ends. The interval varies by a tenth, so that
    /// many nodes do not collect at the same moment. An error is logged, and the next collection
    /// tries again.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn_gc(&self, interval: Duration) -> JoinHandle<()> {
        let store = self.clone();
        let interval = interval.max(Duration::from_millis(1)).min(crate::MAX_TTL);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
                match store.gc().await {
                    Ok(removed) => tracing::debug!(backend = store.backend_name(), removed, "gc"),
                    Err(error) => tracing::warn!(%error, "gc failed and will be tried again"),
                }
            }
        })
    }
}

/// One collection at a time.
struct Collection<'a>(&'a AtomicBool);

impl<'a> Collection<'a> {
    fn begin(flag: &'a AtomicBool) -> Option<Self> {
        (!flag.swap(true, Ordering::Acquire)).then_some(Self(flag))
    }
}

impl Drop for Collection<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}
