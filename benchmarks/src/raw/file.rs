//! std::fs: one file for each session, written to a temporary file and renamed, on a blocking thread.

use std::fs::File;
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use bench_harness::Subject;

use super::{Key, LIFE, change, changed_number, payload, random_key};

pub(crate) struct Raw {
    directory: Arc<Path>,
    payload: Vec<u8>,
    /// Whether the data must be on the disk before a write ends.
    sync: bool,
}

impl Raw {
    pub(crate) fn new(directory: &Path, sync: bool) -> Self {
        for bucket in 0..=255 {
            let path = directory.join(format!("{bucket:02x}"));
            std::fs::create_dir(path).expect("the directory can be made");
        }
        Self { directory: directory.into(), payload: payload(), sync }
    }

    async fn get(&self, key: &Key) -> Option<Vec<u8>> {
        let path = path_of(&self.directory, key);
        blocking(move || {
            let mut bytes = std::fs::read(path).ok()?;
            (expiry(&bytes) > now()).then(|| bytes.split_off(8))
        })
        .await
    }

    async fn put(&self, key: Key, payload: &[u8], life: Duration) {
        let mut bytes = (now() + millis(life)).to_le_bytes().to_vec();
        bytes.extend_from_slice(payload);
        let (directory, sync) = (Arc::clone(&self.directory), self.sync);
        blocking(move || {
            let path = path_of(&directory, &key);
            let temporary = path.with_extension(fastrand::u64(..).to_string());
            let mut file = File::create_new(&temporary).expect("a file can be made");
            file.write_all(&bytes).expect("it can be written");
            if sync {
                file.sync_data().expect("it can be synced");
            }
            std::fs::rename(temporary, path).expect("it can be renamed");
        })
        .await;
    }
}

impl Subject for Raw {
    type Id = Key;
    type Session = (Key, Vec<u8>);

    async fn create(&self) -> Self::Session {
        let key = random_key();
        self.put(key, &self.payload, LIFE).await;
        (key, Vec::new())
    }

    fn id(&self, session: &Self::Session) -> Key {
        session.0
    }

    fn unknown(&self) -> Key {
        random_key()
    }

    async fn load(&self, key: &Key) -> bool {
        self.get(key).await.is_some()
    }

    async fn open(&self, key: &Key) -> Self::Session {
        (*key, self.get(key).await.expect("it exists"))
    }

    async fn save(&self, (key, payload): &mut Self::Session, number: u64) {
        change(payload, number);
        self.put(*key, payload, LIFE).await;
    }

    async fn touch(&self, (key, _): &mut Self::Session) {
        let (path, sync) = (path_of(&self.directory, key), self.sync);
        blocking(move || {
            let file = File::options().write(true).open(path).expect("it exists");
            let expiry = now() + millis(LIFE);
            file.write_all_at(&expiry.to_le_bytes(), 0).expect("it can be written");
            if sync {
                file.sync_data().expect("it can be synced");
            }
        })
        .await;
    }

    async fn destroy(&self, (key, _): Self::Session) {
        let path = path_of(&self.directory, &key);
        blocking(move || std::fs::remove_file(path).expect("it exists")).await;
    }

    async fn increment(&self, key: &Key) {
        let (key, mut payload) = self.open(key).await;
        let count = changed_number(&payload) + 1;
        change(&mut payload, count);
        self.put(key, &payload, LIFE).await;
    }

    async fn counter(&self, key: &Key) -> u64 {
        changed_number(&self.open(key).await.1)
    }

    async fn create_short(&self, life: Duration) {
        self.put(random_key(), &self.payload, life).await;
    }

    /// Reads every file, because there is no index.
    async fn gc(&self) -> Option<u64> {
        let directory = Arc::clone(&self.directory);
        Some(blocking(move || collect(&directory)).await)
    }
}

fn collect(directory: &Path) -> u64 {
    let mut removed = 0;
    for bucket in std::fs::read_dir(directory).expect("it exists") {
        let bucket = bucket.expect("it can be listed").path();
        for file in std::fs::read_dir(bucket).expect("it exists") {
            let path = file.expect("it can be listed").path();
            let mut head = [0; 8];
            let file = File::open(&path).expect("it exists");
            file.read_exact_at(&mut head, 0).expect("it has a head");
            if expiry(&head) <= now() {
                std::fs::remove_file(path).expect("it exists");
                removed += 1;
            }
        }
    }
    removed
}

fn path_of(directory: &Path, key: &Key) -> PathBuf {
    let hex = session_core::Key::from_bytes(*key).to_hex();
    directory.join(&hex[..2]).join(hex)
}

fn expiry(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(bytes[..8].try_into().expect("eight bytes"))
}

fn now() -> u64 {
    millis(SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default())
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.expect("it does not panic")
}
