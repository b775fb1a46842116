//! SQLite.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use session_core::{
    Backend, Capabilities, Error, ErrorKind, Key, Loaded, Record, Result, Revision, Write,
    async_trait,
};
use sqlx::sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous};
use sqlx::{ConnectOptions as _, SqlitePool};
use tokio::time::{Instant, sleep};

use crate::backend::backend;
use crate::connections::{ACQUIRE_TIMEOUT, Connections};
use crate::dialect::Dialect;
use crate::engine::{Engine, Settings};
use crate::fault::Fault;
use crate::table::Table;

mod operations;
mod statements;

use statements::Statements;

/// One that writes, some that read, and some for who asks for [`SqliteBackend::pool`].
const MAX_CONNECTIONS: u32 = 8;
const KEEP: usize = 5;
/// How long a statement waits for the lock that another process holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(3);
/// Rows that the driver's thread may be ahead: a whole batch.
const ROW_BUFFER: usize = 128;
const SETTINGS: Settings = Settings { group_commit: true, durable: true };

/// Sessions in SQLite (3.42 or newer; the one that is built in is).
///
/// Cheap to clone; clones share connections and batches. A future that is dropped does not break
/// off its statement: what was sent is carried out. There is one writer at a time and several
/// readers beside it, therefore "database is locked" can only come from another process that holds
/// the lock for more than 3 s.
///
/// The table, as [`schema`](Self::schema) shows and [`migrate`](Self::migrate) creates it
/// (`WITHOUT ROWID`):
///
/// | column | type | holds |
/// |---|---|---|
/// | `id_hash` | `BLOB`, primary key | the SHA-256 of the session id, 32 bytes |
/// | `revision` | `INTEGER` | 64 random bits of the last writer |
/// | `expires_at` | `INTEGER` | the deadline, in milliseconds since 1970 UTC by this machine's clock |
/// | `owner` | `BLOB`, or null | whose session it is, UTF-8 |
/// | `payload` | `BLOB` | the session's document, JSON in UTF-8, up to 1 GB |
///
/// Indexes: the primary key; `<table>_expires_at`, by which gc finds what expired; `<table>_owner`,
/// where there is an owner. To read it: `SELECT CAST(payload AS TEXT) FROM sessions`.
#[derive(Clone, Debug)]
pub struct SqliteBackend(Engine<Statements>);

backend!(SqliteBackend, SqlitePool);

impl SqliteBackend {
    /// Opens `sqlite:path/to/file`, or `sqlite::memory:`. The file is created when it is missing,
    /// readable and writable by its owner only (mode 0600, and so are the files `-wal` and `-shm`
    /// beside it); one that exists keeps its mode. It is switched to write-ahead logging with
    /// `synchronous = NORMAL`: a crash of the process loses nothing, one of the machine may lose
    /// the last moments, and neither leaves half a record.
    ///
    /// `?mode=ro` opens a database that must exist for reading only, `?mode=rw` one that must exist.
    /// In memory, each call opens a database of its own, which clones share.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that is none, and for a file that can't be opened or is no
    /// database.
    pub async fn connect(url: &str) -> Result<Self> {
        let opened = Self::open(url).await;
        opened.map_err(|error| error.with_operation("connect").with_backend(Statements::NAME))
    }

    async fn open(url: &str) -> Result<Self> {
        let options: sqlx::Result<SqliteConnectOptions> = url.parse();
        let options = options.map_err(|error| Fault::new(error, Statements::classify).error())?;
        let options = options
            .busy_timeout(BUSY_TIMEOUT)
            .row_buffer_size(ROW_BUFFER)
            .disable_statement_logging();
        let pool = SqlitePoolOptions::new().idle_timeout(None).max_lifetime(None);
        let (pool, options, settings) = match Mode::of(&options, url) {
            // Such a database belongs to its connection, and is gone with it.
            Mode::Memory => {
                let settings = Settings { durable: false, ..SETTINGS };
                (pool.max_connections(1), options, settings)
            }
            Mode::ReadOnly => (pool.max_connections(MAX_CONNECTIONS), options, SETTINGS),
            mode @ (Mode::Existing | Mode::File) => {
                if let Mode::File = mode {
                    create_private(options.get_filename())?;
                }
                let options = options
                    .journal_mode(SqliteJournalMode::Wal)
                    .synchronous(SqliteSynchronous::Normal);
                (pool.max_connections(MAX_CONNECTIONS), options, SETTINGS)
            }
        };
        let keep = if settings.durable { KEEP } else { 0 };
        let backend = Self::over(Connections::own(pool, options, true, keep), settings);
        // The switch to write-ahead logging waits for nobody, and others may be at it, too.
        let give_up = Instant::now() + ACQUIRE_TIMEOUT;
        loop {
            match backend.0.check().await {
                Err(error) if is_busy(&error) && Instant::now() < give_up => {
                    sleep(Duration::from_millis(20)).await;
                }
                checked => return checked.map(|()| backend),
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
    fn of(options: &SqliteConnectOptions, url: &str) -> Self {
        let settings = url.split_once('?').map_or("", |(_, settings)| settings);
        let has = |setting| settings.split('&').any(|one| one == setting);
        if is_in_memory(options) {
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

fn is_in_memory(options: &SqliteConnectOptions) -> bool {
    // There is no other way to ask: `to_url_lossy` panics on what `sqlite::memory:` is read as.
    options.get_filename() == Path::new(":memory:")
        || format!("{options:?}").contains("in_memory: true")
}

/// Whether records in this pool's database survive that it is closed.
fn durable(pool: &SqlitePool) -> bool {
    !is_in_memory(&pool.connect_options())
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
