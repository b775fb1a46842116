//! Tests of this store only. The contract itself is proven by `session-conformance`.

mod cached;
mod collect;
mod damage;
mod directory;
mod limits;
mod operations;

use std::fs::{self, DirBuilder, File, Permissions};
use std::io::Write as _;
use std::os::unix::fs::{
    DirBuilderExt as _, FileExt as _, MetadataExt as _, PermissionsExt as _, symlink,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use session_core::{
    Backend as _, Bytes, ErrorKind, Key, Owner, Record, Revision, Saved, SessionId, SessionStore,
    Update, Write,
};
use tempfile::TempDir;
use tokio::time::sleep;

use crate::store::Store;
use crate::{Durability, FileBackend};

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(200);

struct Fixture {
    directory: TempDir,
    store: FileBackend,
}

impl Fixture {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = open(directory.path());
        Self { directory, store }
    }

    fn root(&self) -> PathBuf {
        self.directory.path().join("sessions")
    }

    fn file(&self, key: &Key) -> PathBuf {
        let name = key.to_hex();
        self.root().join(&name[..2]).join(name)
    }

    async fn create(&self, key: &Key, ttl: Duration) {
        let write = Write::Create { ttl };
        self.store.save(key, &record(1), write).await.unwrap();
    }

    async fn touch(&self, key: &Key, ttl: Duration) {
        self.store.touch(key, Revision::from_u64(1), ttl).await.unwrap();
    }

    /// Simulates a kernel that does not support loads from the page cache, or loads with one path.
    fn set_unsupported(&self, [cached, blocking]: [bool; 2]) {
        let direct = &self.store.store.direct;
        direct.cached_unsupported.store(cached, Ordering::Relaxed);
        direct.blocking_unsupported.store(blocking, Ordering::Relaxed);
    }

    /// The kind of the error of a load.
    async fn load_error(&self, key: &Key) -> ErrorKind {
        self.store.load(key).await.unwrap_err().kind()
    }
}

fn open(directory: &Path) -> FileBackend {
    FileBackend::open_with(directory.join("sessions"), Durability::None).unwrap()
}

fn key(first: u8, last: u8) -> Key {
    let mut bytes = [first; 32];
    bytes[31] = last;
    Key::from_bytes(bytes)
}

fn record(revision: u64) -> Record {
    Record {
        payload: Bytes::from_static(b"{\"theme\":\"dark\"}"),
        revision: Revision::from_u64(revision),
        owner: Some(Owner::new("ann").unwrap()),
    }
}

/// For settings that only tests change. The store must not be cloned yet.
fn change(store: &mut FileBackend) -> &mut Store {
    Arc::get_mut(&mut store.store).unwrap()
}

fn update(expected: u64) -> Update {
    Update { expected: Revision::from_u64(expected), ttl: None }
}

fn mode(path: &Path) -> u32 {
    fs::symlink_metadata(path).unwrap().mode() & 0o7777
}
