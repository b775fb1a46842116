//! The order of writers, and how long they wait. A waiting operation is a future and takes no
//! thread: there are few blocking threads, and the application uses them, too.

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::{Error, Result};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::clock;
use crate::errors::busy;

/// How long an operation waits for other writers. The handle gives the first attempt of a save half
/// of its deadline (of 5 s by default). This is less than that half, so that the caller gets a
/// refusal.
pub(crate) const MAX_WAIT: Duration = Duration::from_secs(2);
/// How many loads, and how many writes, run on threads at a time. It limits the open files, too.
const PERMITS: usize = 64;

/// The moment at which an operation was requested. The ttl that it sets begins then.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    /// The moment until which it waits.
    pub(crate) until: Instant,
}

impl Request {
    pub(crate) fn now(max_wait: Duration) -> Result<Self> {
        Ok(Self { at: clock::checked_now()?, until: Instant::now() + max_wait })
    }
}

/// The writers of this process wait in these queues and not in `flock`, which would block a thread
/// for each.
#[derive(Debug)]
pub(crate) struct Queues {
    /// One for each bucket.
    buckets: Box<[Arc<Mutex<()>>]>,
    writers: Arc<Semaphore>,
    /// Readers never wait for writers.
    readers: Arc<Semaphore>,
}

/// The exclusive right within this process to write to one bucket.
#[derive(Debug)]
pub(crate) struct WritePermit {
    pub(crate) request: Request,
    _thread: OwnedSemaphorePermit,
    _bucket: OwnedMutexGuard<()>,
}

impl Queues {
    pub(crate) fn new() -> Self {
        Self {
            buckets: (0..256).map(|_| Arc::default()).collect(),
            writers: Arc::new(Semaphore::new(PERMITS)),
            readers: Arc::new(Semaphore::new(PERMITS)),
        }
    }

    /// Waits for the bucket first and then for a thread, so that a blocked bucket takes at most one
    /// thread.
    pub(crate) async fn writer(&self, request: Request, bucket: u8) -> Result<WritePermit> {
        let bucket = self.bucket(bucket).lock_owned().await;
        let thread = permit(&self.writers).await?;
        if Instant::now() >= request.until {
            return Err(busy());
        }
        Ok(WritePermit { request, _thread: thread, _bucket: bucket })
    }

    /// Waits for a thread.
    pub(crate) async fn reader(&self) -> Result<OwnedSemaphorePermit> {
        permit(&self.readers).await
    }

    /// Locks a bucket that is not in use in this process; `None` if an operation has it or waits
    /// for it.
    pub(crate) fn idle_bucket(&self, bucket: u8) -> Option<OwnedMutexGuard<()>> {
        self.bucket(bucket).try_lock_owned().ok()
    }

    fn bucket(&self, number: u8) -> Arc<Mutex<()>> {
        Arc::clone(&self.buckets[usize::from(number)])
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    // The semaphore is never closed.
    let permit = Arc::clone(semaphore).acquire_owned().await;
    permit.map_err(|error| Error::refused("the store is closed").with_source(error))
}
