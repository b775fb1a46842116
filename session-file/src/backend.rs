//! The backend: moves each operation to a blocking thread, if it needs one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use session_core::{
    Backend, Capabilities, Key, Loaded, Owner, OwnerIndex, Record, Result, Revision, Write,
    async_trait,
};
use tokio::task::coop::consume_budget;

use crate::clock;
use crate::durability::Durability;
use crate::name::bucket_of;
use crate::queue::Request;
use crate::store::{LockFreeLoad, Store};

/// Sessions in files of one directory, for all processes of one user on one machine.
///
/// Clones share the store. Its methods must be called within a tokio runtime with a timer
/// (`enable_time`). They run on the blocking threads of tokio, except for loads from the page cache of Linux.
///
/// If the future of an operation is dropped while it waits for other writers, the operation is not
/// carried out. After that it is always carried out completely. An operation waits at most about
/// two seconds for other writers; then it is refused.
///
/// ```
/// use session_file::{Durability, FileBackend};
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("sessions");
/// let backend = FileBackend::open_with(path, Durability::Data)?;
/// # Ok::<(), session_core::Error>(())
/// ```
#[derive(Clone)]
pub struct FileBackend {
    path: PathBuf,
    pub(crate) store: Arc<Store>,
}

impl FileBackend {
    /// Opens the store in this directory, with [`Durability::Data`]. The directory is created if it
    /// does not exist.
    ///
    /// It makes a few blocking system calls on this thread.
    ///
    /// # Errors
    /// `InvalidConfig` if the directory can't be created or opened, is a symbolic link, belongs to
    /// another user, or can be entered by users other than its owner and its group (`chmod 700`
    /// it). If only its group has rights, they are removed.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Durability::default())
    }

    /// [`open`](Self::open) with another durability.
    ///
    /// # Errors
    /// As for `open`.
    pub fn open_with(path: impl AsRef<Path>, durability: Durability) -> Result<Self> {
        let path = path.as_ref();
        let store = Store::open(path, durability).map_err(|error| error.with_backend("file"))?;
        Ok(Self { path: path.to_owned(), store: Arc::new(store) })
    }

    /// Runs an operation with exclusive access to the bucket of this key.
    async fn write<T: Send + 'static>(
        &self,
        key: Key,
        operation: impl FnOnce(&Store, Request, &Key) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let request = Request::now(self.store.max_wait)?;
        let store = Arc::clone(&self.store);
        let operation = move || operation(&store, request, &key);
        self.store.queues.writers.run_in_bucket(bucket_of(&key), request.until, operation).await
    }
}

#[async_trait]
impl Backend for FileBackend {
    fn name(&self) -> &'static str {
        "file"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: true, expires_natively: false }
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        clock::checked_now()?;
        // A load that never waits would not let other tasks run.
        consume_budget().await;
        if let Some(found) = self.store.load_cached(key) {
            return Ok(found);
        }
        let (store, key) = (Arc::clone(&self.store), *key);
        match self.store.queues.readers.run(move || store.load(&key)).await? {
            LockFreeLoad::Done(found) => Ok(found),
            LockFreeLoad::NeedsLock => self.write(key, Store::load_locked).await,
        }
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let record = record.clone();
        self.write(*key, move |store, request, key| store.save(request, key, &record, write)).await
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        self.write(*key, move |store, request, key| store.touch(request, key, expected, ttl)).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.write(*key, move |store, request, key| store.destroy(request, key, only)).await
    }

    /// One collection of a store runs at a time; others wait for it. It ends after at most two
    /// seconds, even if this future is dropped, and the next one continues where it ended.
    async fn gc(&self, limit: usize) -> Result<u64> {
        clock::checked_now()?;
        let store = Arc::clone(&self.store);
        self.store.queues.collections.run(move || store.collect(limit)).await
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        Some(self)
    }
}

/// Each entry is changed together with its record, so there is nothing to prolong or to forget.
#[async_trait]
impl OwnerIndex for FileBackend {
    async fn keys_of(&self, owner: &Owner, after: Option<&Key>, limit: usize) -> Result<Vec<Key>> {
        let (store, owner, after) = (Arc::clone(&self.store), owner.clone(), after.copied());
        let find = move || store.keys_of(&owner, after.as_ref(), limit);
        self.store.queues.readers.run(find).await
    }
}

impl fmt::Debug for FileBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBackend")
            .field("path", &self.path)
            .field("durability", &self.store.durability)
            .finish()
    }
}
