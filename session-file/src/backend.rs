//! The store as the handle sees it: each operation is one hop to the blocking pool, if it needs one.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use session_core::{
    Backend, Capabilities, Error, Key, Loaded, Record, Result, Revision, Update, Write, async_trait,
};
use tokio::task::coop::consume_budget;
use tokio::task::spawn_blocking;

use crate::clock;
use crate::name::bucket_of;
use crate::operations::{Glance, Store};
use crate::queue::{Asked, Turn};
use crate::root::Root;

/// Sessions in files of one directory, for all processes of one machine and one user.
///
/// Clones share the store. Its methods must be called within a tokio runtime. They run on its threads
/// that may block, except for loads of what Linux has in memory. An operation whose future is dropped
/// while it waits for its turn does nothing; otherwise it is carried out to its end, so nothing is ever
/// half done. No operation waits longer than about two seconds for other writers:
/// then it is `Unavailable`, and nothing was written.
///
/// ```
/// use session_file::{Durability, FileBackend};
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("sessions");
/// let backend = FileBackend::open_with(path, Durability::Full)?;
/// # Ok::<(), session_core::Error>(())
/// ```
#[derive(Clone)]
pub struct FileBackend {
    path: PathBuf,
    pub(crate) store: Arc<Store>,
}

/// What a power failure or a crash of the operating system may undo. A process that dies, even by
/// `kill -9`, undoes nothing that was acknowledged, whatever this is set to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Durability {
    /// Everything of the last half minute or so. On some file systems a session saved in that time
    /// may be `Corrupt` afterwards.
    None,
    /// The last few changes: a session is then as it was before, never damaged. A logout may be
    /// undone. (`fdatasync` before the rename.)
    #[default]
    Data,
    /// Nothing that was acknowledged. (The directory is synced, too.)
    Full,
}

impl FileBackend {
    /// Opens the store in this directory, which is created where it does not exist, with
    /// [`Durability::Data`].
    ///
    /// It does a few system calls on this thread.
    ///
    /// # Errors
    /// `InvalidConfig` when the directory can't be made or opened, is a symbolic link, belongs to
    /// another user, or lets other users in (its mode must be 0700, or less).
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        Self::open_with(path, Durability::default())
    }

    /// [`open`](Self::open) with another durability.
    ///
    /// # Errors
    /// As for `open`.
    pub fn open_with(path: impl AsRef<Path>, durability: Durability) -> Result<Self> {
        let path = path.as_ref();
        let root = Root::open(path, durability).map_err(|error| error.with_backend("file"))?;
        Ok(Self { path: path.to_owned(), store: Arc::new(Store::new(root, durability)) })
    }

    /// Runs a writer on a thread that may block, when it is its turn in the sub-directories of these
    /// keys.
    async fn write<T: Send + 'static>(
        &self,
        one: &Key,
        other: &Key,
        operation: impl FnOnce(&Store, &Turn) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let asked = Asked::now(self.store.patience)?;
        let turn = self.store.queues.turn(asked, bucket_of(one), bucket_of(other)).await?;
        self.run(move |store| operation(store, &turn)).await
    }

    async fn run<T: Send + 'static>(
        &self,
        operation: impl FnOnce(&Store) -> Result<T> + Send + 'static,
    ) -> Result<T> {
        let store = Arc::clone(&self.store);
        let done = spawn_blocking(move || operation(&store)).await;
        done.unwrap_or_else(|error| {
            Err(Error::unavailable("the runtime gave the operation up").with_source(error))
        })
    }
}

#[async_trait]
impl Backend for FileBackend {
    fn name(&self) -> &'static str {
        "file"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            detects_conflicts: true,
            revocable: true,
            rotates_atomically: true,
            durable: true,
            ..Capabilities::default()
        }
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        clock::checked_now()?;
        // A load that waits for nothing would never let other tasks run.
        consume_budget().await;
        if let Some(found) = self.store.load_cached(key) {
            return Ok(found);
        }
        let key = *key;
        let permit = self.store.queues.reader().await?;
        let glance = self.run(move |store| {
            let _permit = permit;
            store.load(&key)
        });
        match glance.await? {
            Glance::Sure(found) => Ok(found),
            Glance::Unsure => {
                self.write(&key, &key, move |store, turn| store.load_locked(turn, &key)).await
            }
        }
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let (key, record) = (*key, record.clone());
        self.write(&key, &key, move |store, turn| store.save(turn, &key, &record, write)).await
    }

    async fn touch(&self, key: &Key, ttl: Duration) -> Result<()> {
        let key = *key;
        self.write(&key, &key, move |store, turn| store.touch(turn, &key, ttl)).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        let key = *key;
        self.write(&key, &key, move |store, turn| store.destroy(turn, &key, only)).await
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        clock::checked_now()?;
        let permit = self.store.queues.writer().await?;
        self.run(move |store| {
            let _permit = permit;
            store.collect(limit)
        })
        .await
    }

    async fn rotate(&self, old: &Key, new: &Key, record: &Record, write: Update) -> Result<()> {
        let (old, new, record) = (*old, *new, record.clone());
        let rotate =
            move |store: &Store, turn: &Turn| store.rotate(turn, &old, &new, &record, write);
        self.write(&old, &new, rotate).await
    }
}

impl fmt::Debug for FileBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FileBackend")
            .field("path", &self.path)
            .field("durability", &self.store.syncs.durability)
            .finish()
    }
}
