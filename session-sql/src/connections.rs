//! Connections: where they come from, and how long they are trusted.

use std::fmt;
use std::future::{Future, ready};
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use sqlx::error::DatabaseError;
use sqlx::pool::PoolConnection;
use sqlx::{ConnectOptions as _, Connection as _, Database, Pool};
use tokio::time::{sleep, timeout};

use crate::failure::{After, Class, class_of};
use crate::place::Place;
use crate::slots::{Slot, Slots};

/// How long an operation waits for a connection.
pub(crate) const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(3);
/// A connection that was used less long ago is taken to be alive.
const TRUSTED: Duration = Duration::from_secs(1);
/// How long the answer to a ping may take.
const PING_TIMEOUT: Duration = Duration::from_secs(1);
/// A connection is closed when it is older.
const MAX_AGE: Duration = Duration::from_secs(1800);
/// All connections are closed at most this often.
const RENEW_AFTER: Duration = Duration::from_secs(1);
/// The pause before another attempt to connect.
const RECONNECT_AFTER: Duration = Duration::from_millis(100);
/// An operation that holds a connection for longer is on a runtime that rests: the others may open
/// another one.
const OVERDUE: Duration = Duration::from_secs(5);
/// The same for the slot of the one that writes, where the database itself keeps writers apart.
const WRITER_OVERDUE: Duration = Duration::from_millis(100);

/// Changes the settings of a new connection of our own.
pub(crate) type Prepare<DB> = fn(&mut <DB as Database>::Connection) -> Prepared<'_>;
pub(crate) type Prepared<'a> = Pin<Box<dyn Future<Output = sqlx::Result<()>> + Send + 'a>>;

pub(crate) type Options<DB> = <<DB as Database>::Connection as sqlx::Connection>::Options;

/// Makes the options of each new connection, for example with a password that is changed from time to time.
pub(crate) type Provider<DB> = Box<dyn Fn() -> Provided<DB> + Send + Sync>;
pub(crate) type Provided<DB> = Pin<Box<dyn Future<Output = sqlx::Result<Options<DB>>> + Send>>;

/// The connections of a backend.
pub(crate) struct Connections<DB: Database> {
    source: Source<DB>,
    prepare: Prepare<DB>,
    classify: fn(&dyn DatabaseError) -> Class,
    /// A database in the process: its connections can't break.
    local: bool,
    slots: Slots,
    /// Where the database takes one writer at a time.
    writer: Option<Slots>,
    trust: Mutex<Trust>,
    /// Of a database in a file.
    place: Option<Place>,
    in_use: AtomicUsize,
}

enum Source<DB: Database> {
    Own {
        options: Provider<DB>,
        idle: Mutex<Vec<Idle<DB>>>,
        /// For the application, which may want to look at the table.
        pool: Pool<DB>,
    },
    /// A pool that the application uses, too: nothing is kept from it.
    Shared(Pool<DB>),
}

struct Idle<DB: Database> {
    connection: DB::Connection,
    opened: Instant,
    used: Instant,
}

#[derive(Default)]
struct Trust {
    /// When a connection was last seen to be broken. One that was idle then may be broken, too.
    broke: Option<Instant>,
    /// When a server was last seen not to be the right one any more. Older connections are closed.
    renewed: Option<Instant>,
}

impl<DB: Database> Connections<DB> {
    /// Up to `most` connections of its own. `pool` is for the application.
    pub(crate) fn own(
        options: Provider<DB>,
        pool: Pool<DB>,
        most: usize,
        local: bool,
        prepare: Prepare<DB>,
        classify: fn(&dyn DatabaseError) -> Class,
    ) -> Self {
        let source = Source::Own { options, idle: Mutex::default(), pool };
        Self { prepare, ..Self::new(source, most, local, classify) }
    }

    pub(crate) fn shared(
        pool: Pool<DB>,
        local: bool,
        classify: fn(&dyn DatabaseError) -> Class,
    ) -> Self {
        Self::new(Source::Shared(pool), usize::MAX, local, classify)
    }

    fn new(
        source: Source<DB>,
        most: usize,
        local: bool,
        classify: fn(&dyn DatabaseError) -> Class,
    ) -> Self {
        Self {
            source,
            prepare: |_| Box::pin(ready(Ok(()))),
            classify,
            local,
            slots: Slots::new(most, OVERDUE),
            writer: local.then(|| Slots::new(1, WRITER_OVERDUE)),
            trust: Mutex::default(),
            place: None,
            in_use: AtomicUsize::new(0),
        }
    }

    pub(crate) fn at(self, place: Option<Place>) -> Self {
        Self { place, ..self }
    }

    /// Whether what was written is in the file that others see.
    pub(crate) fn is_in_place(&self) -> bool {
        self.place.as_ref().is_none_or(Place::is_same)
    }

    pub(crate) fn pool(&self) -> &Pool<DB> {
        match &self.source {
            Source::Own { pool, .. } | Source::Shared(pool) => pool,
        }
    }

    /// False for the application's own pool.
    pub(crate) fn set_most(&self, most: usize) -> bool {
        let is_own = matches!(self.source, Source::Own { .. });
        if is_own {
            self.slots.set_most(most);
        }
        is_own
    }

    /// Proves that the database can be reached, with one attempt: at the start of a process it is better
    /// to know at once.
    pub(crate) async fn check(&self) -> sqlx::Result<()> {
        let found = timeout(ACQUIRE_TIMEOUT, self.find()).await;
        let (connection, opened) = found.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
        let mut lease = self.lease(connection, opened, None, None);
        lease.ends(After::Keep);
        Ok(())
    }

    /// Two new connections. `None` for the application's own pool, and where there are no two.
    pub(crate) async fn pair(&self) -> Option<(DB::Connection, DB::Connection)> {
        let Source::Own { options, pool, .. } = &self.source else {
            return None;
        };
        let pair = async {
            Some((connect(options, pool).await.ok()?, connect(options, pool).await.ok()?))
        };
        timeout(ACQUIRE_TIMEOUT, pair).await.ok()?
    }

    /// A connection for one operation.
    pub(crate) async fn take(&self, writes: bool) -> sqlx::Result<Lease<'_, DB>> {
        let taken = timeout(ACQUIRE_TIMEOUT, self.wait(writes)).await;
        taken.unwrap_or(Err(sqlx::Error::PoolTimedOut))
    }

    /// Lets other operations go first, if some wait.
    pub(crate) async fn give_way(&self) {
        self.slots.give_way().await;
        if let Some(writer) = &self.writer {
            writer.give_way().await;
        }
    }

    async fn wait(&self, writes: bool) -> sqlx::Result<Lease<'_, DB>> {
        let writer = match &self.writer {
            Some(writer) if writes => Some(writer.take().await),
            _ => None,
        };
        let started = Instant::now();
        loop {
            let slot = self.slots.take().await;
            let error = match self.find().await {
                Ok((connection, opened)) => {
                    return Ok(self.lease(connection, opened, Some(slot), writer));
                }
                Err(error) => error,
            };
            match class_of(&error, self.classify) {
                // The server has no more, but we have some: use those.
                Class::NoConnection if self.slots.lower() => {}
                Class::NoConnection | Class::Broken | Class::NotServing
                    if started.elapsed() + RECONNECT_AFTER < ACQUIRE_TIMEOUT =>
                {
                    drop(slot);
                    sleep(RECONNECT_AFTER).await;
                }
                _ => return Err(error),
            }
        }
    }

    fn lease<'a>(
        &'a self,
        connection: Held<DB>,
        opened: Instant,
        slot: Option<Slot<'a>>,
        writer: Option<Slot<'a>>,
    ) -> Lease<'a, DB> {
        self.in_use.fetch_add(1, Ordering::AcqRel);
        Lease { home: self, connection: Some(connection), opened, _slots: (slot, writer) }
    }

    /// A connection that is idle, or a new one.
    async fn find(&self) -> sqlx::Result<(Held<DB>, Instant)> {
        let (options, idle, pool) = match &self.source {
            Source::Shared(pool) => {
                return Ok((Held::Shared(pool.acquire().await?), Instant::now()));
            }
            Source::Own { options, idle, pool } => (options, idle, pool),
        };
        if let Some(place) = &self.place {
            self.follow(place, idle).await?;
        }
        loop {
            let Some(mut one) = lock(idle).pop() else {
                break;
            };
            if self.is_outdated(one.opened) {
                continue;
            }
            if self.is_trusted(one.used) || answers::<DB>(&mut one.connection).await {
                return Ok((Held::Own(one.connection), one.opened));
            }
            lock(&self.trust).broke = Some(Instant::now());
        }
        let opened = Instant::now();
        let mut connection = connect(options, pool).await?;
        // A pooler between us and the server lets everybody connect and then wait for a server.
        if !self.local && self.slots.held() > 1 && !answers::<DB>(&mut connection).await {
            return Err(sqlx::Error::PoolTimedOut);
        }
        (self.prepare)(&mut connection).await?;
        Ok((Held::Own(connection), opened))
    }

    /// Closes what is open if another file is at the place now. Its log has the same name as that of the old one, so
    /// it is opened when no connection to the old one is left.
    async fn follow(&self, place: &Place, idle: &Mutex<Vec<Idle<DB>>>) -> sqlx::Result<()> {
        let is_same = place.is_same();
        if !is_same {
            let left = std::mem::take(&mut *lock(idle));
            for one in left {
                one.connection.close().await?;
            }
        }
        let none_is_open = lock(idle).is_empty() && self.in_use.load(Ordering::Acquire) == 0;
        let follows = if none_is_open { place.opens() } else { is_same };
        if follows { Ok(()) } else { Err(no_file()) }
    }

    fn is_trusted(&self, used: Instant) -> bool {
        let fresh = used.elapsed() < TRUSTED;
        self.local || fresh && lock(&self.trust).broke.is_none_or(|broke| broke < used)
    }

    fn is_outdated(&self, opened: Instant) -> bool {
        let renewed = lock(&self.trust).renewed.is_some_and(|renewed| opened < renewed);
        !self.local && (renewed || opened.elapsed() > MAX_AGE)
    }

    fn take_back(&self, connection: Held<DB>, opened: Instant, after: After) {
        match after {
            After::Keep => match (connection, &self.source) {
                (Held::Own(connection), Source::Own { idle, .. }) if !self.is_outdated(opened) => {
                    lock(idle).push(Idle { connection, opened, used: Instant::now() });
                    return;
                }
                (connection, _) => return drop(connection),
            },
            After::Close => {}
            After::Broke => lock(&self.trust).broke = Some(Instant::now()),
            After::Renew => {
                let mut trust = lock(&self.trust);
                if trust.renewed.is_none_or(|renewed| renewed.elapsed() > RENEW_AFTER) {
                    trust.renewed = Some(Instant::now());
                }
            }
        }
        match connection {
            Held::Own(connection) => drop(connection),
            Held::Shared(connection) => drop(connection.detach()),
        }
    }
}

impl<DB: Database> fmt::Debug for Connections<DB> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connections").field("slots", &self.slots).finish_non_exhaustive()
    }
}

enum Held<DB: Database> {
    Own(DB::Connection),
    Shared(PoolConnection<DB>),
}

/// A connection in use. Dropped before [`ends`](Self::ends) was called, the exchange on it was broken
/// off.
pub(crate) struct Lease<'a, DB: Database> {
    home: &'a Connections<DB>,
    connection: Option<Held<DB>>,
    opened: Instant,
    _slots: (Option<Slot<'a>>, Option<Slot<'a>>),
}

impl<DB: Database> Lease<'_, DB> {
    pub(crate) fn connection(&mut self) -> &mut DB::Connection {
        match self.connection.as_mut().expect("it is there until the operation has ended") {
            Held::Own(connection) => connection,
            Held::Shared(connection) => connection,
        }
    }

    /// The exchange has ended.
    pub(crate) fn ends(&mut self, after: After) {
        if let Some(connection) = self.connection.take() {
            self.home.take_back(connection, self.opened, after);
            self.home.in_use.fetch_sub(1, Ordering::AcqRel);
        }
    }
}

impl<DB: Database> Drop for Lease<'_, DB> {
    fn drop(&mut self) {
        // The driver's thread of a database in the process ends an exchange before it begins another one.
        self.ends(if self.home.local { After::Keep } else { After::Close });
    }
}

/// Class `Broken`: what was written is in doubt.
pub(crate) fn no_file() -> sqlx::Error {
    let text = "the database's file was removed or replaced";
    sqlx::Error::Io(std::io::Error::new(std::io::ErrorKind::NotFound, text))
}

/// The application's pool has the same options from now on.
async fn connect<DB: Database>(
    options: &Provider<DB>,
    pool: &Pool<DB>,
) -> sqlx::Result<DB::Connection> {
    let options = options().await?.disable_statement_logging();
    let connection = options.connect().await?;
    pool.set_connect_options(options);
    Ok(connection)
}

async fn answers<DB: Database>(connection: &mut DB::Connection) -> bool {
    matches!(timeout(PING_TIMEOUT, connection.ping()).await, Ok(Ok(())))
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
