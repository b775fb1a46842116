//! The removal of expired records.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::task::{JoinHandle, JoinSet};

use super::SessionStore;
use super::deadline::Deadline;
use super::observe::Operation;
use crate::{Backend, Result};

/// How long one step may take, even if operations have to be faster: stores collect for two seconds.
const LONGEST_STEP: Duration = Duration::from_secs(5);
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
        let operation = Operation::gc(self.context(), self.backend_name());
        let removed = operation.run(pin!(self.collect(backend))).await;
        let removed = removed.map_err(|error| self.explain_in(&operation, error, "gc"))?;
        operation.collected(removed);
        Ok(removed)
    }

    async fn collect(&self, backend: &dyn Backend) -> Result<u64> {
        let mut total = 0;
        loop {
            let deadline = Deadline::after(self.config().deadline.max(LONGEST_STEP));
            let removed = deadline.limit(backend.gc(BATCH)).await?;
            total += removed;
            if removed < BATCH as u64 {
                return Ok(total);
            }
            tokio::task::yield_now().await; // a store in memory has no other await
        }
    }

    /// Runs [`gc`](Self::gc) in the background, about every `interval` (it varies by a tenth, so that
    /// many nodes don't do it in the same moment; at least a millisecond), until the handle is aborted
    /// or the runtime ends. An error or a panic of the backend is logged, and the next turn tries again.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn spawn_gc(&self, interval: Duration) -> JoinHandle<()> {
        let store = self.clone();
        let interval = interval.max(Duration::from_millis(1)).min(crate::MAX_TTL);
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(interval.mul_f64(0.9 + 0.2 * fastrand::f64())).await;
                let backend = store.backend_name();
                // A task of its own, for panics; it ends with this one.
                let mut task = JoinSet::new();
                let store = store.clone();
                task.spawn(async move { store.gc().await });
                match task.join_next().await {
                    Some(Ok(Ok(removed))) => tracing::debug!(backend, removed, "gc"),
                    Some(Ok(Err(error))) => {
                        tracing::warn!(%error, "gc failed; it will be tried again");
                    }
                    Some(Err(error)) if error.is_panic() => {
                        tracing::error!(backend, "gc panicked; it will be tried again");
                    }
                    Some(Err(_)) | None => return,
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
