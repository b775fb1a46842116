//! SQLite.

use std::path::Path;
use std::time::Duration;

use session_core::{
    Backend, BatchBackend, BatchLimits, Capabilities, CreateItem, DestroyItem, Error, ErrorKind,
    Key, Loaded, Owner, OwnerIndex, Record, Result, Revision, TouchItem, UpdateItem, Write,
    async_trait,
};
use sqlx::SqlitePool;
use sqlx::sqlite::{SqliteJournalMode, SqliteSynchronous};
use tokio::time::{Instant, sleep};

use crate::backend::backend;
use crate::connections::ACQUIRE_TIMEOUT;
use crate::dialect::{Dialect, MAX_BATCH};
use crate::engine::Engine;
use crate::place::Place;
use crate::table::Table;

mod operations;
mod statements;

use statements::Sqlite;

/// One that writes, and some that read.
const MAX_CONNECTIONS: usize = 6;
/// How long a statement waits for the lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);
/// Rows that the driver's thread may be ahead: a whole batch, so that it never waits for its caller.
const ROW_BUFFER: usize = 128;

/// Sessions in SQLite (3.42 or newer; the one that is built in is).
///
/// Cheap to clone; clones share connections. A future that is dropped does not break
/// off its statement: what was sent is carried out. There is one writer at a time and several
/// readers beside it, therefore "database is locked" can only come from another process that holds
/// the lock for more than 3 s.
/// To read the table: `SELECT CAST(payload AS TEXT) FROM sessions`. A store over a pool claims to be durable
/// if the pool's file exists.
#[derive(Clone, Debug)]
pub struct SqliteBackend(Engine<Sqlite>);

backend!(SqliteBackend, Sqlite, SqlitePool, durable: |pool: &SqlitePool| {
    pool.connect_options().get_filename().is_file()
});

impl SqliteBackend {
    /// Opens `sqlite:path/to/file`, or `sqlite::memory:`. The file is created when it is missing,
    /// readable and writable by its owner only (mode 0600, and so are the files `-wal` and `-shm`
    /// beside it); one that exists keeps its mode. It is switched to write-ahead logging with
    /// `synchronous = NORMAL`: a crash of the process loses nothing, one of the machine may lose
    /// the last moments, and neither leaves half a record.
    ///
    /// `?mode=ro` opens a database that must exist for reading only, `?mode=rw` one that must exist.
    /// If the file is replaced or removed while the store is in use, the store closes it, answers `Unavailable` as
    /// long as there is none, and opens the new one. A write at that very moment is in doubt.
    ///
    /// In memory, each call opens a database of its own, which clones share.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that is none, and for a file that can't be opened or is not a
    /// database.
    pub async fn connect(url: &str) -> Result<Self> {
        let opened = Self::open(url).await;
        opened.map_err(|error| error.with_operation("connect").with_backend(Sqlite::NAME))
    }

    async fn open(url: &str) -> Result<Self> {
        let options = Engine::<Sqlite>::parse(url)?;
        let options = options.busy_timeout(BUSY_TIMEOUT).row_buffer_size(ROW_BUFFER);
        let mode = Mode::of(url);
        if let Mode::File = mode {
            create_private(options.get_filename())?;
        }
        let (most, durable, options) = match mode {
            // The database is gone with its last connection. Several would wait for each other.
            Mode::Memory => (1, false, options),
            Mode::ReadOnly => (MAX_CONNECTIONS, true, options),
            Mode::Existing | Mode::File => {
                let options = options.journal_mode(SqliteJournalMode::Wal);
                (MAX_CONNECTIONS, true, options.synchronous(SqliteSynchronous::Normal))
            }
        };
        let file =
            (!matches!(mode, Mode::Memory)).then(|| Place::new(options.get_filename().into()));
        let dialect = Sqlite::new(Table::default());
        let engine = Engine::own(dialect, options, most, (durable, file));
        // The switch to write-ahead logging waits for nobody, and other processes may be switching, too.
        let give_up = Instant::now() + ACQUIRE_TIMEOUT;
        loop {
            match engine.check().await {
                Err(error) if is_busy(&error) && Instant::now() < give_up => {
                    sleep(Duration::from_millis(20)).await;
                }
                checked => return checked.map(|()| Self(engine)),
            }
        }
    }
}

enum Mode {
    Memory,
    ReadOnly,
    /// It must exist.
    Existing,
    File,
}

impl Mode {
    fn of(url: &str) -> Self {
        let (path, settings) = url.split_once('?').unwrap_or((url, ""));
        let has = |setting| settings.split('&').any(|one| one == setting);
        if path.ends_with(":memory:") || has("mode=memory") {
            Self::Memory
        } else if has("mode=ro") {
            Self::ReadOnly
        } else if has("mode=rw") {
            Self::Existing
        } else {
            Self::File
        }
    }
}

/// Creates the file before SQLite does, which would let everybody read it. SQLite gives the files
/// beside it the same mode.
fn create_private(path: &Path) -> Result<()> {
    let mut options = std::fs::OpenOptions::new();
    options.write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    let opened = options.open(path).map(drop);
    opened.map_err(|error| {
        Error::invalid_config("the database's file can't be opened or created").with_source(error)
    })
}

fn is_busy(error: &Error) -> bool {
    error.kind() == ErrorKind::Unavailable
}
