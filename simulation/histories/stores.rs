//! The stores, each on a private server.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use session_core::{Config, SessionStore};
use session_file::FileBackend;
use session_redis::RedisBackend;
use session_sql::{MySqlBackend, PostgresBackend, SqliteBackend};
use tempfile::TempDir;
use test_servers::{Missing, Options, Server};

use crate::faults::Fault;
use crate::proxy::Proxy;

/// The deadline of every operation.
pub(crate) const DEADLINE: Duration = Duration::from_secs(2);
const TOMBSTONE: Duration = Duration::from_secs(5);

pub(crate) const NAMES: [&str; 5] = ["postgres", "mariadb", "sqlite", "file", "redis"];

/// A store and what it depends on.
pub(crate) struct Field {
    pub(crate) store: SessionStore,
    pub(crate) server: Option<Server>,
    pub(crate) proxy: Option<Proxy>,
    /// The database or the directory of a local store.
    pub(crate) path: PathBuf,
    pub(crate) faults: &'static [Fault],
    /// A file system of its own, which can be filled.
    pub(crate) disk: Option<Disk>,
    _directory: TempDir,
}

/// Why a store can't be had.
pub(crate) enum Unusable {
    Missing(String),
    Failed(String),
}

impl From<Missing> for Unusable {
    fn from(missing: Missing) -> Self {
        Self::Missing(missing.to_string())
    }
}

impl From<io::Error> for Unusable {
    fn from(error: io::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

impl From<session_core::Error> for Unusable {
    fn from(error: session_core::Error) -> Self {
        Self::Failed(error.to_string())
    }
}

const SQL_SERVER: &[Fault] =
    &[Fault::Kill, Fault::Pause, Fault::Cut, Fault::Stall, Fault::Lose, Fault::Terminate];
const REDIS: &[Fault] = &[
    Fault::Kill,
    Fault::Pause,
    Fault::Cut,
    Fault::Stall,
    Fault::Lose,
    Fault::FlushScripts,
    Fault::FillMemory,
];

pub(crate) fn config() -> Config {
    Config::default().deadline(DEADLINE).tombstone_ttl(TOMBSTONE)
}

pub(crate) async fn open(name: &str) -> Result<Field, Unusable> {
    let directory = tempfile::tempdir()?;
    let (mut path, mut disk) = (directory.path().join("sessions"), None);
    let (mut server, mut proxy) = (None, None);
    let mut url = String::new();
    if let Some(started) = start(name)? {
        let between = Proxy::start(started.address()).await?;
        url = started.url().replace(started.address(), &between.address().to_string());
        (server, proxy) = (Some(started), Some(between));
    } else {
        disk = Disk::mount(directory.path());
        if let Some(disk) = &disk {
            path = disk.path.join("sessions");
        }
    }
    let (store, faults) = match name {
        "postgres" => {
            let backend = PostgresBackend::connect(&url).await?;
            backend.migrate().await?;
            (SessionStore::new(backend), SQL_SERVER)
        }
        "mariadb" => {
            let backend = MySqlBackend::connect(&url).await?;
            backend.migrate().await?;
            (SessionStore::new(backend), SQL_SERVER)
        }
        "redis" => (SessionStore::new(RedisBackend::connect(&url).await?), REDIS),
        "sqlite" => {
            let backend = SqliteBackend::connect(&format!("sqlite:{}", path.display())).await?;
            backend.migrate().await?;
            let faults: &[Fault] = match disk {
                Some(_) => &[Fault::Lock, Fault::FillDisk],
                None => &[Fault::Lock],
            };
            (SessionStore::new(backend), faults)
        }
        "file" => {
            let faults: &[Fault] = match disk {
                Some(_) => &[Fault::MoveAway, Fault::FillDisk],
                None => &[Fault::MoveAway],
            };
            (SessionStore::new(FileBackend::open(&path)?), faults)
        }
        _ => return Err(Unusable::Failed(format!("no store is named {name:?}"))),
    };
    let store = store.with_config(config())?;
    Ok(Field { store, server, proxy, path, faults, disk, _directory: directory })
}

fn start(name: &str) -> Result<Option<Server>, Missing> {
    let options = Options::default();
    Ok(match name {
        "postgres" => Some(test_servers::postgres::start_new(options)?),
        "mariadb" => Some(test_servers::mariadb::start_new(options)?),
        // What is acknowledged must survive the end of the process.
        "redis" => Some(test_servers::redis::start_new(options.set("appendonly", "yes"))?),
        _ => None,
    })
}

/// A file system in memory, of limited size.
pub(crate) struct Disk {
    path: PathBuf,
}

impl Disk {
    /// `None` where this process may not mount one.
    fn mount(directory: &std::path::Path) -> Option<Self> {
        let path = directory.join("disk");
        std::fs::create_dir(&path).ok()?;
        let mut mount = std::process::Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=64m,mode=0700", "tmpfs"]).arg(&path);
        mount.stderr(std::process::Stdio::null());
        mount.status().ok()?.success().then_some(Self { path })
    }

    /// Leaves no space on it.
    pub(crate) fn fill(&self) {
        let mut file = match std::fs::File::create(self.path.join("filler")) {
            Ok(file) => file,
            Err(_) => return,
        };
        let block = vec![0; 16 * 1024];
        while io::Write::write_all(&mut file, &block).is_ok() {}
    }

    pub(crate) fn free(&self) {
        let _ = std::fs::remove_file(self.path.join("filler"));
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        // Lazily: the store may still have files open.
        let _ = std::process::Command::new("umount").arg("-l").arg(&self.path).status();
    }
}
