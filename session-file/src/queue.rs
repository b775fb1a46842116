//! The order of writers, and how long they wait. An operation that waits is a future and takes no
//! thread: threads that may block are few, and the runtime shares them with the application.

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::{Error, Result};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::clock;
use crate::errors::busy;

/// How long an operation waits for other writers. The handle gives the first attempt of a save half
/// of its deadline (of 5 s by default). This is less, so that the caller learns that nothing was
/// written.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// How many loads, and how many writes, have a thread at a time. It bounds the open files, too.
const PERMITS: usize = 64;

/// When an operation was requested, which is when the life that it gives begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Request {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    /// When it gives up waiting.
    pub(crate) until: Instant,
}

impl Request {
    pub(crate) fn now(patience: Duration) -> Result<Self> {
        Ok(Self { at: clock::checked_now()?, until: Instant::now() + patience })
    }
}

/// The writers of this process queue here rather than in the kernel, where they would be threads.
#[derive(Debug)]
pub(crate) struct Queues {
    /// One for each bucket.
    buckets: Box<[Arc<Mutex<()>>]>,
    writers: Arc<Semaphore>,
    /// Readers never wait for writers.
    readers: Arc<Semaphore>,
}

/// The right to write to one bucket, among the writers of this process.
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

    /// Waits for the bucket first and then for a thread, so a bucket that is stuck takes one thread
    /// at most.
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

    /// A bucket that is not in use in this process; no operation waits for it either.
    pub(crate) fn idle_bucket(&self, bucket: u8) -> Option<OwnedMutexGuard<()>> {
        self.bucket(bucket).try_lock_owned().ok()
    }

    fn bucket(&self, number: u8) -> Arc<Mutex<()>> {
        Arc::clone(&self.buckets[usize::from(number)])
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    // It is never closed.
    let permit = Arc::clone(semaphore).acquire_owned().await;
    permit.map_err(|error| Error::refused("the store is closed").with_source(error))
}
