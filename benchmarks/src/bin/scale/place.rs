//! The stores, and the storage that their sessions take.

use std::path::Path;

use session_core::SessionStore;
use session_file::{Durability, FileBackend};
use session_memory::MemoryBackend;
use session_redis::RedisBackend;
use session_sql::{MySqlBackend, PostgresBackend, SqliteBackend};
use test_servers::{Missing, Options, Server};

/// A store, with the server or directory that must live as long as the store.
pub(crate) struct Place {
    pub(crate) store: SessionStore,
    directory: tempfile::TempDir,
    server: Option<Server>,
    room: Room,
}

enum Room {
    Process,
    Files,
    Redis,
    Postgres(sqlx::PgPool),
    MySql(sqlx::MySqlPool),
}

impl Place {
    pub(crate) async fn new(backend: &str) -> Self {
        let directory = tempfile::tempdir().expect("a directory can be made");
        let mut server = None;
        let (store, room) = match backend {
            "memory" => (SessionStore::new(MemoryBackend::new()), Room::Process),
            // The durability of writes does not matter for loads; without it, filling is much faster.
            "file" => {
                let path = directory.path().join("sessions");
                let opened = FileBackend::open_with(path, Durability::None);
                (SessionStore::new(opened.expect("it can be opened")), Room::Files)
            }
            "sqlite" => {
                let url = format!("sqlite:{}", directory.path().join("sessions.db").display());
                let backend = SqliteBackend::connect(&url).await.expect("SQLite opens");
                backend.migrate().await.expect("the table can be made");
                (SessionStore::new(backend), Room::Files)
            }
            "redis" => {
                let url = start(&mut server, test_servers::redis::start_new, false);
                let backend = RedisBackend::connect(&url).await.expect("Redis answers");
                (SessionStore::new(backend), Room::Redis)
            }
            "postgres" => {
                let url = start(&mut server, test_servers::postgres::start_new, true);
                let backend = PostgresBackend::connect(&url).await.expect("it answers");
                backend.migrate().await.expect("the table can be made");
                let pool = backend.pool().clone();
                (SessionStore::new(backend), Room::Postgres(pool))
            }
            "mariadb" => {
                let url = start(&mut server, test_servers::mariadb::start_new, true);
                let backend = MySqlBackend::connect(&url).await.expect("it answers");
                backend.migrate().await.expect("the table can be made");
                let pool = backend.pool().clone();
                (SessionStore::new(backend), Room::MySql(pool))
            }
            other => panic!("there is no backend {other}"),
        };
        Self { store, directory, server, room }
    }

    /// Bytes of memory (memory, Redis) or of disk (the others).
    pub(crate) async fn bytes(&self) -> u64 {
        match &self.room {
            Room::Process => resident(),
            Room::Files => disk(self.directory.path()),
            Room::Redis => {
                let url = self.server.as_ref().expect("it was started").url();
                let client = redis::Client::open(url).expect("it is a URL");
                let connection = client.get_multiplexed_async_connection().await;
                let mut connection = connection.expect("Redis answers");
                let mut info = redis::cmd("INFO");
                let info: redis::RedisResult<String> =
                    info.arg("memory").query_async(&mut connection).await;
                let info = info.expect("INFO works");
                let used = info.lines().find_map(|line| line.strip_prefix("used_memory:"));
                used.and_then(|bytes| bytes.trim().parse().ok()).expect("it is a number")
            }
            Room::Postgres(pool) => {
                let size = sqlx::query_scalar("SELECT pg_total_relation_size('sessions')");
                let size: i64 = size.fetch_one(pool).await.expect("it tells");
                size.unsigned_abs()
            }
            Room::MySql(pool) => {
                let analyse = sqlx::query("ANALYZE TABLE sessions").execute(pool);
                analyse.await.expect("it can be analysed");
                let size = sqlx::query_scalar(
                    "SELECT CAST(data_length + index_length AS SIGNED) \
                     FROM information_schema.tables WHERE table_name = 'sessions'",
                );
                let size: i64 = size.fetch_one(pool).await.expect("it tells");
                size.unsigned_abs()
            }
        }
    }
}

/// Starts a server that lives as long as `kept`, and returns its URL.
fn start(
    kept: &mut Option<Server>,
    start: fn(Options) -> Result<Server, Missing>,
    durable: bool,
) -> String {
    let server = start(Options::default().durable(durable));
    kept.insert(server.unwrap_or_else(|missing| panic!("{missing}"))).url().to_owned()
}

/// The memory of this process; 0 if the system does not report it.
fn resident() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kibibytes = line.and_then(|line| line.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    kibibytes.unwrap_or(0) * 1024
}

/// The disk blocks of all files below a directory.
fn disk(directory: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt as _;
    let mut bytes = 0;
    for entry in std::fs::read_dir(directory).expect("it exists") {
        let entry = entry.expect("it can be listed");
        let metadata = entry.metadata().expect("it exists");
        bytes += metadata.blocks() * 512;
        if metadata.is_dir() {
            bytes += disk(&entry.path());
        }
    }
    bytes
}
