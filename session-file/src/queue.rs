//! Who may write, and who waits. Nobody waits without a limit, and who waits for a turn is a future:
//! threads that block are few, and the runtime shares them with the application.

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::{Error, Result};
use tokio::sync::{Mutex, OwnedMutexGuard, OwnedSemaphorePermit, Semaphore};

use crate::clock;

/// How long an operation waits for other writers. The handle gives the first attempt of a save half
/// of its deadline (of 5 s by default); this is below it, so that the caller learns that nothing was
/// written.
pub(crate) const PATIENCE: Duration = Duration::from_secs(2);
/// How many operations of each kind have a thread at a time. It bounds the open files, too.
const PERMITS: usize = 64;

/// When an operation was asked for, which is when the life it gives begins.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Asked {
    /// Milliseconds since 1970.
    pub(crate) at: u64,
    /// When it stops to wait for its turn.
    pub(crate) until: Instant,
}

impl Asked {
    pub(crate) fn now(patience: Duration) -> Result<Self> {
        Ok(Self { at: clock::checked_now()?, until: Instant::now() + patience })
    }
}

/// The writers of this process queue here rather than in the kernel, where they would be threads.
#[derive(Debug)]
pub(crate) struct Queues {
    /// One for each sub-directory.
    sub_directories: Box<[Arc<Mutex<()>>]>,
    writers: Arc<Semaphore>,
    /// Readers never wait for writers.
    readers: Arc<Semaphore>,
}

/// The right to write to one or two sub-directories, as far as this process goes, and the time for it.
#[derive(Debug)]
pub(crate) struct Turn {
    pub(crate) asked: Asked,
    _permit: OwnedSemaphorePermit,
    _places: (OwnedMutexGuard<()>, Option<OwnedMutexGuard<()>>),
}

impl Queues {
    pub(crate) fn new() -> Self {
        Self {
            sub_directories: (0..256).map(|_| Arc::default()).collect(),
            writers: Arc::new(Semaphore::new(PERMITS)),
            readers: Arc::new(Semaphore::new(PERMITS)),
        }
    }

    /// Waits for the turn in these sub-directories, which may be the same. Only who is at the head of
    /// a queue asks for a permit, so one that is stuck takes no more than one of them.
    pub(crate) async fn turn(&self, asked: Asked, one: u8, other: u8) -> Result<Turn> {
        // In the order of their numbers, as everyone does.
        let first = self.place(one.min(other)).lock_owned().await;
        let second = match one == other {
            true => None,
            false => Some(self.place(one.max(other)).lock_owned().await),
        };
        let permit = permit(&self.writers).await?;
        if Instant::now() >= asked.until {
            return Err(busy());
        }
        Ok(Turn { asked, _permit: permit, _places: (first, second) })
    }

    /// The turn in a sub-directory where nobody waits or writes.
    pub(crate) fn turn_at_once(&self, number: u8) -> Option<OwnedMutexGuard<()>> {
        self.place(number).try_lock_owned().ok()
    }

    pub(crate) async fn writer(&self) -> Result<OwnedSemaphorePermit> {
        permit(&self.writers).await
    }

    pub(crate) async fn reader(&self) -> Result<OwnedSemaphorePermit> {
        permit(&self.readers).await
    }

    fn place(&self, number: u8) -> Arc<Mutex<()>> {
        Arc::clone(&self.sub_directories[usize::from(number)])
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit> {
    // Nobody closes it.
    let permit = Arc::clone(semaphore).acquire_owned().await;
    permit.map_err(|error| Error::unavailable("the store is closed").with_source(error))
}

pub(crate) fn busy() -> Error {
    Error::unavailable(
        "other writers did not let go of a sub-directory in time; nothing was written. If it stays \
         so, look for a stopped process that uses the session directory",
    )
}
