//! Sends operations to a backend in batches when many are in flight.
//!
//! While few operations of a kind are in flight, each caller sends its own operation. Otherwise
//! operations wait in a queue and are sent in batches: when a batch has been answered, or beside
//! other batches if enough operations wait. Kinds share nothing, so many saves do not delay a
//! logout. Runtimes share nothing either: a batch is sent by a task, and a runtime that is not
//! polled delays only its own operations.

mod batch;
mod kinds;
mod queue;
#[cfg(test)]
mod tests;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::{Handle, Id};
use tokio::time::{Instant, timeout, timeout_at};

use self::batch::{Batch, no_answer};
use self::kinds::{Creates, Destroys, Kind, Loads, Touches, Updates};
use self::queue::{Entered, Queue};
use crate::measure::BatchSizes;
use crate::{
    Backend, BatchLimits, CreateItem, DestroyItem, Error, Key, Loaded, Record, Result, Revision,
    TouchItem, UpdateItem, Write,
};

/// How often, during a batch that takes long, the deadlines of the waiting operations are checked.
const DEADLINE_CHECK: Duration = Duration::from_millis(10);

/// A backend that takes batches.
///
/// Each operation ends within its `limit` (at most 10 ms later if it waits for a batch), so callers
/// need no timer. Beyond the limit the error is a [refusal](Error::refused) if the operation was
/// not sent, and otherwise `Unavailable`. Futures may be dropped at any time: an operation that was
/// not sent yet is then never sent.
pub(crate) struct Batcher {
    loads: Arc<Shared<Loads>>,
    creates: Arc<Shared<Creates>>,
    updates: Arc<Shared<Updates>>,
    touches: Arc<Shared<Touches>>,
    destroys: Arc<Shared<Destroys>>,
}

impl Batcher {
    /// `None` for a backend that takes no batches.
    pub(crate) fn new(backend: &Arc<dyn Backend>) -> Option<Self> {
        let limits = backend.batch()?.limits();
        Some(Self {
            loads: Shared::new(backend, limits),
            creates: Shared::new(backend, limits),
            updates: Shared::new(backend, limits),
            touches: Shared::new(backend, limits),
            destroys: Shared::new(backend, limits),
        })
    }

    pub(crate) async fn load(&self, key: &Key, limit: Duration) -> Result<Option<Loaded>> {
        submit(&self.loads, *key, limit).await
    }

    pub(crate) async fn save(
        &self,
        key: &Key,
        record: &Record,
        write: Write,
        limit: Duration,
    ) -> Result<()> {
        let (key, record) = (*key, record.clone());
        match write {
            Write::Create { ttl } => {
                submit(&self.creates, CreateItem { key, record, ttl }, limit).await
            }
            Write::Update(update) => {
                submit(&self.updates, UpdateItem { key, record, update }, limit).await
            }
        }
    }

    pub(crate) async fn touch(
        &self,
        key: &Key,
        expected: Revision,
        ttl: Duration,
        limit: Duration,
    ) -> Result<()> {
        submit(&self.touches, TouchItem { key: *key, expected, ttl }, limit).await
    }

    pub(crate) async fn destroy(
        &self,
        key: &Key,
        only: Option<Revision>,
        limit: Duration,
    ) -> Result<bool> {
        submit(&self.destroys, DestroyItem { key: *key, only }, limit).await
    }
}

/// The state that the operations of one kind share.
struct Shared<K: Kind> {
    backend: Arc<dyn Backend>,
    limits: BatchLimits,
    sizes: BatchSizes,
    /// One queue for each runtime that has outstanding operations.
    queues: Mutex<Vec<(Id, Queue<K>)>>,
}

impl<K: Kind> Shared<K> {
    fn new(backend: &Arc<dyn Backend>, limits: BatchLimits) -> Arc<Self> {
        let (backend, sizes) = (Arc::clone(backend), BatchSizes::default());
        Arc::new(Self { backend, limits, sizes, queues: Mutex::default() })
    }

    /// Locks the queue of a runtime for `work`. The queue of an idle runtime is removed, because
    /// the runtime may end.
    fn queue<T>(&self, runtime: Id, work: impl FnOnce(&mut Queue<K>) -> T) -> T {
        let mut queues = self.queues.lock().unwrap_or_else(PoisonError::into_inner);
        let place = queues.iter().position(|(id, _)| *id == runtime).unwrap_or_else(|| {
            queues.push((runtime, Queue::new(self.limits)));
            queues.len() - 1
        });
        let queue = &mut queues[place].1;
        let outcome = work(queue);
        if queue.is_idle() {
            queues.swap_remove(place);
        }
        outcome
    }
}

async fn submit<K: Kind>(
    shared: &Arc<Shared<K>>,
    item: K::Item,
    limit: Duration,
) -> Result<K::Reply> {
    let runtime = Handle::current();
    let entered = shared.queue(runtime.id(), |queue| queue.enter(item, limit));
    let _outstanding = Outstanding { shared, runtime: runtime.id() };
    match entered {
        Entered::Alone(item) => timeout(limit, K::alone(&*shared.backend, &item))
            .await
            .unwrap_or_else(|_| Err(no_answer(limit))),
        Entered::Waits(answer, batch) => {
            if let Some(batch) = batch {
                Flight::begin(Arc::clone(shared), &runtime, batch);
            }
            answer.await.unwrap_or_else(|_| {
                Err(Error::unavailable(
                    "the task that sent the operation ended early: the backend panicked, or its \
                     runtime was shut down",
                ))
            })
        }
    }
}

/// Counts an operation while its caller waits for it.
struct Outstanding<'a, K: Kind> {
    shared: &'a Shared<K>,
    runtime: Id,
}

impl<K: Kind> Drop for Outstanding<'_, K> {
    fn drop(&mut self) {
        self.shared.queue(self.runtime, |queue| queue.outstanding -= 1);
    }
}

/// A task that sends batches, one after another.
struct Flight<K: Kind> {
    shared: Arc<Shared<K>>,
    runtime: Handle,
    ended: bool,
}

impl<K: Kind> Flight<K> {
    fn begin(shared: Arc<Shared<K>>, runtime: &Handle, batch: Batch<K>) {
        let flight = Self { shared, runtime: runtime.clone(), ended: false };
        runtime.spawn(flight.run(batch));
    }

    async fn run(mut self, batch: Batch<K>) {
        let mut next = Some(batch);
        while let Some(batch) = next {
            self.send(batch).await;
            next = self.next();
        }
        self.ended = true;
    }

    fn next(&self) -> Option<Batch<K>> {
        self.shared.queue(self.runtime.id(), Queue::next)
    }

    /// Sends one batch and answers its callers, each at its deadline at the latest.
    async fn send(&self, mut batch: Batch<K>) {
        let items = std::mem::take(&mut batch.items);
        let Some(backend) = self.shared.backend.batch() else {
            return batch.answer(items.len(), Vec::new());
        };
        self.shared.sizes.sent(self.shared.backend.name(), K::NAME, items.len());
        let mut work = K::together(backend, &items);
        while let Some(earliest) = batch.earliest() {
            let check = Instant::now() + DEADLINE_CHECK;
            match timeout_at(earliest.min(check), &mut work).await {
                Ok(results) => return batch.answer(items.len(), results),
                Err(_) => {
                    let now = Instant::now();
                    batch.expire(now);
                    self.shared.queue(self.runtime.id(), |queue| queue.expire(now));
                }
            }
        }
    }
}

/// Runs early if the backend panics or the runtime is shut down.
impl<K: Kind> Drop for Flight<K> {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        if std::thread::panicking() {
            if let Some(batch) = self.next() {
                Self::begin(Arc::clone(&self.shared), &self.runtime, batch);
            }
        } else {
            // Dropped after the lock was released, because the drop wakes the callers.
            drop(self.shared.queue(self.runtime.id(), Queue::abandon));
        }
    }
}
