//! Connections: where they come from, and how long they are trusted.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use sqlx::pool::{PoolConnection, PoolOptions};
use sqlx::{Connection as _, Database, Pool};
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

/// How long an operation waits for a free connection, in pools that we make.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that was used less long ago is taken to be alive.
const TRUSTED: Duration = Duration::from_secs(1);
/// How long the answer to a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// So long a lane goes from batch to batch on one connection; then others have their turn, if any wait.
const TURN: Duration = Duration::from_millis(5);
/// A kept connection visits the pool this often, which closes it when it has reached its age.
const KEPT_AT_MOST: Duration = Duration::from_secs(600);

/// The pool, and the few connections that go from one batch to the next without a visit to it: a
/// visit costs a round trip, because sqlx tests each connection that comes back.
#[derive(Debug)]
pub(crate) struct Connections<DB: Database> {
    pool: Pool<DB>,
    kept: Mutex<Vec<Kept<DB>>>,
    keep: usize,
    /// A database in the process can't be lost on the way.
    remote: bool,
    losses: Arc<Losses>,
    /// As many as there are connections: who holds one finds a connection kept or in the pool.
    free: Arc<Semaphore>,
    /// The one permit to write, where there is one writer at a time.
    writer: Option<Arc<Semaphore>>,
    /// How many are waiting for a lease.
    waiting: AtomicUsize,
}

#[derive(Debug)]
struct Kept<DB: Database> {
    connection: PoolConnection<DB>,
    taken: Instant,
    used: Instant,
}

/// When a connection was last seen to be broken. One that was idle then may be broken, too.
#[derive(Debug, Default)]
struct Losses(Mutex<Option<Instant>>);

impl Losses {
    fn note(&self) {
        *lock(&self.0) = Some(Instant::now());
    }

    fn since(&self, moment: Instant) -> bool {
        lock(&self.0).is_some_and(|loss| loss >= moment)
    }
}

impl<DB: Database> Connections<DB> {
    /// A pool of our own. It pings a connection that was idle for a second or while another broke,
    /// not each before each use.
    pub(crate) fn own(
        options: PoolOptions<DB>,
        connect: <DB::Connection as sqlx::Connection>::Options,
        one_writer: bool,
        keep: usize,
    ) -> Self {
        let size = options.get_max_connections();
        let losses = Arc::new(Losses::default());
        let known = Arc::clone(&losses);
        let pool = options
            .acquire_timeout(ACQUIRE_TIMEOUT)
            .test_before_acquire(false)
            .before_acquire(move |connection, used| {
                let trusted = one_writer
                    || used.idle_for < TRUSTED
                        && Instant::now()
                            .checked_sub(used.idle_for)
                            .is_some_and(|since| !known.since(since));
                Box::pin(async move {
                    Ok(trusted
                        || matches!(timeout(PING_TIMEOUT, connection.ping()).await, Ok(Ok(()))))
                })
            })
            .connect_lazy_with(connect);
        let mut own = Self::shared(pool, one_writer);
        own.keep = keep;
        own.losses = losses;
        own.free = Arc::new(Semaphore::new(usize::try_from(size).unwrap_or(1)));
        own
    }

    /// A pool that the application uses, too: nothing is kept from it.
    pub(crate) fn shared(pool: Pool<DB>, one_writer: bool) -> Self {
        Self {
            pool,
            kept: Mutex::default(),
            keep: 0,
            remote: !one_writer,
            losses: Arc::default(),
            free: Arc::new(Semaphore::new(Semaphore::MAX_PERMITS)),
            writer: one_writer.then(|| Arc::new(Semaphore::new(1))),
            waiting: AtomicUsize::new(0),
        }
    }

    pub(crate) fn pool(&self) -> &Pool<DB> {
        &self.pool
    }

    /// A connection for a while. Dropped before it is [`settled`](Lease::settled), it is closed.
    pub(crate) async fn lease(self: &Arc<Self>, writes: bool) -> sqlx::Result<Lease<DB>> {
        let _waits = Waits::new(&self.waiting);
        timeout(ACQUIRE_TIMEOUT, self.wait_for_lease(writes))
            .await
            .unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    async fn wait_for_lease(self: &Arc<Self>, writes: bool) -> sqlx::Result<Lease<DB>> {
        let writer = match &self.writer {
            Some(writer) if writes => Some(permit(writer).await?),
            _ => None,
        };
        let free = permit(&self.free).await?;
        let (connection, taken) = match self.kept_one() {
            Some(kept) => (kept.connection, kept.taken),
            None => (self.pool.acquire().await?, Instant::now()),
        };
        Ok(Lease {
            home: Arc::clone(self),
            connection: Some(connection),
            taken,
            leased: Instant::now(),
            settled: true,
            permits: (writer, free),
        })
    }

    /// Whether who comes next has to wait; in a pool that we share, it may be the application.
    fn is_exhausted(&self) -> bool {
        let all = self.pool.options().get_max_connections();
        self.free.available_permits() == 0 || self.pool.num_idle() == 0 && self.pool.size() >= all
    }

    fn kept_one(&self) -> Option<Kept<DB>> {
        loop {
            let kept = lock(&self.kept).pop()?;
            if !self.remote || kept.used.elapsed() < TRUSTED && !self.losses.since(kept.used) {
                return Some(kept);
            }
            // Goes back to the pool, which tests it.
        }
    }

    fn take_back(&self, connection: PoolConnection<DB>, taken: Instant) {
        let used = Instant::now();
        if !self.remote || taken.elapsed() < KEPT_AT_MOST {
            let mut kept = lock(&self.kept);
            if kept.len() < self.keep {
                kept.push(Kept { connection, taken, used });
            }
        }
    }
}

impl<DB: Database> Drop for Connections<DB> {
    fn drop(&mut self) {
        // To give them back takes a runtime, and there may be none any more.
        for kept in lock(&self.kept).drain(..) {
            drop(kept.connection.detach());
        }
    }
}

/// A connection in use.
#[derive(Debug)]
pub(crate) struct Lease<DB: Database> {
    home: Arc<Connections<DB>>,
    connection: Option<PoolConnection<DB>>,
    taken: Instant,
    leased: Instant,
    settled: bool,
    permits: (Option<OwnedSemaphorePermit>, OwnedSemaphorePermit),
}

impl<DB: Database> Lease<DB> {
    /// The connection. From here on until [`settled`](Self::settled) an exchange may be under way.
    pub(crate) fn connection(&mut self) -> &mut DB::Connection {
        self.settled = false;
        self.connection.as_mut().expect("the connection stays until the lease is dropped")
    }

    /// No exchange is under way.
    pub(crate) fn settled(&mut self) {
        self.settled = true;
    }

    /// Whether it is time to give it back, because others wait for it: at once where it is the one that
    /// may write, else a logout would wait until nobody has anything to write any more.
    pub(crate) fn is_due(&self) -> bool {
        let waited_for = self.home.waiting.load(Ordering::Relaxed) > 0;
        waited_for && self.permits.0.is_some()
            || self.leased.elapsed() >= TURN && (waited_for || self.home.is_exhausted())
    }

    /// The connection broke, and others may have.
    pub(crate) fn lost(mut self) {
        self.home.losses.note();
        self.settled = false;
    }
}

impl<DB: Database> Drop for Lease<DB> {
    fn drop(&mut self) {
        let Some(connection) = self.connection.take() else {
            return;
        };
        // To give it back to the pool takes a runtime.
        if self.settled && Handle::try_current().is_ok() {
            self.home.take_back(connection, self.taken);
        } else {
            drop(connection.detach());
        }
    }
}

/// Counts one who waits.
struct Waits<'a>(&'a AtomicUsize);

impl<'a> Waits<'a> {
    fn new(waiting: &'a AtomicUsize) -> Self {
        waiting.fetch_add(1, Ordering::Relaxed);
        Self(waiting)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

async fn permit(semaphore: &Arc<Semaphore>) -> sqlx::Result<OwnedSemaphorePermit> {
    let permit = Arc::clone(semaphore).acquire_owned().await;
    permit.map_err(|_| sqlx::Error::PoolClosed)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}
