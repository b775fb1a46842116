//! The backend: its shards, its limit, and the collection of expired sessions.

use std::fmt;
use std::future::poll_fn;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::task::Poll;
use std::time::Duration;

use session_core::{
    Backend, Capabilities, Error, Key, Loaded, Owner, OwnerIndex, Record, Result, Revision, Update,
    Write, async_trait, ttl_millis,
};

use crate::clock::Clock;
use crate::entry::{Content, Entry};
use crate::owners::Owners;
use crate::shard::{Collected, Created, Shard};

/// One for each value of a byte of the key. The lock of a shard is held during a batch of a
/// collection and while the table grows, so shards are small.
const SHARDS: usize = 256;
/// How many sessions a collection examines before it releases the lock of the shard.
const BATCH: usize = 128;
/// How many rounds a create in a full store takes to find an expired session.
const ROUNDS_OF_CREATE: usize = 4;
/// How many sessions each round examines.
const EXAMINED_BY_CREATE: usize = 8 * BATCH;

/// Sessions in the memory of this process. They end with the process.
///
/// Loads and updates are O(1). An operation that creates a session, destroys it or shortens its
/// life also changes an index in O(log n). An operation waits only for the lock of one of 256
/// shards, which is held for a short time. It has no await, so a dropped future has carried out all
/// or nothing. The store needs no async runtime.
///
/// A session takes less than 256 bytes of memory beside its payload and owner. The memory of the
/// tables is kept for later sessions.
///
/// ```
/// use session_memory::MemoryBackend;
///
/// let backend = MemoryBackend::new().max_sessions(1_000_000);
/// assert!(backend.is_empty());
/// ```
pub struct MemoryBackend {
    shards: Box<[Padded]>,
    owners: Owners,
    clock: Clock,
    /// The number of sessions in all shards, with those about to be inserted.
    places_taken: AtomicUsize,
    max_sessions: usize,
    /// The shard where the next collection begins, so that a small limit does not favour the first
    /// shards.
    next_shard: AtomicUsize,
}

/// Shards must not share a cache line: a write to one would slow down reads of the next one.
#[derive(Default)]
#[repr(align(128))]
struct Padded(RwLock<Shard>);

impl MemoryBackend {
    /// An empty store without a limit.
    #[must_use]
    pub fn new() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| Padded::default()).collect(),
            owners: Owners::default(),
            clock: Clock::new(),
            places_taken: AtomicUsize::new(0),
            max_sessions: usize::MAX,
            next_shard: AtomicUsize::new(0),
        }
    }

    /// Limits the number of sessions (default: no limit).
    ///
    /// A full store first removes expired sessions. If it finds none, it refuses new sessions with
    /// an `Unavailable` error for which [`Error::nothing_was_written`] is true. It never evicts a
    /// live session. Existing sessions can still be saved, touched and destroyed.
    #[must_use]
    pub fn max_sessions(mut self, limit: usize) -> Self {
        self.max_sessions = limit;
        self
    }

    /// The number of sessions in memory, including expired ones that are not collected yet.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places_taken.load(Ordering::Relaxed)
    }

    /// Whether no session is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Checks that the maps, the indexes and the count agree.
    #[cfg(test)]
    pub(crate) fn assert_consistent(&self) {
        let sessions: usize = (0..SHARDS).map(|index| self.read(index).assert_consistent()).sum();
        assert_eq!(sessions, self.len());
        let owned = (0..SHARDS).map(|index| self.read(index).owned()).sum::<usize>();
        assert_eq!(owned, self.owners.len());
    }

    fn create(&self, key: Key, record: &Record, ttl: Duration) -> Result<()> {
        let millis = ttl_millis(ttl)?;
        let mut entry = Box::new(Entry::new(key, record));
        let mut rounds = 0;
        loop {
            let created = {
                let mut shard = self.write(shard_of(&key));
                let life = (self.clock.now(), millis);
                let created = shard.create(entry, life, || self.take_place())?;
                if let Created::Stored(expired) = &created {
                    let before = expired.as_ref().and_then(|entry| entry.content.owner());
                    self.owners.change(&key, before, record.owner.as_ref());
                }
                created
            };
            match created {
                Created::Stored(_) => return Ok(()),
                Created::NoPlace(refused) => entry = refused,
            }
            // Another create may take the place that this one freed, so it tries more than once.
            if rounds == ROUNDS_OF_CREATE || !self.make_place() {
                return Err(self.full());
            }
            rounds += 1;
        }
    }

    fn update(&self, key: &Key, record: &Record, write: Update) -> Result<()> {
        let millis = write.ttl.map(ttl_millis).transpose()?;
        let content = Content::new(record);
        let replaced = {
            let mut shard = self.write(shard_of(key));
            let life = (self.clock.now(), millis);
            let replaced = shard.update(key, write.expected, content, life)?;
            self.owners.change(key, replaced.owner(), record.owner.as_ref());
            replaced
        };
        drop(replaced);
        Ok(())
    }

    /// Removes up to `limit` expired sessions, and lets other tasks run after each batch.
    async fn collect(&self, limit: usize) -> usize {
        let mut removed = 0;
        for index in self.all_shards() {
            while removed < limit && self.has_due(index) {
                removed += self.collect_batch(index, limit - removed).removed.len();
                yield_now().await;
            }
        }
        removed
    }

    /// Frees a place in a full store. It examines a few batches at most. Returns whether it found a
    /// session to examine.
    fn make_place(&self) -> bool {
        let mut examined = 0;
        for index in self.all_shards() {
            while examined < EXAMINED_BY_CREATE && self.has_due(index) {
                let collected = self.collect_batch(index, BATCH);
                examined += collected.examined;
                if !collected.removed.is_empty() {
                    return true;
                }
            }
        }
        examined > 0
    }

    fn collect_batch(&self, index: usize, limit: usize) -> Collected {
        let mut shard = self.write(index);
        let collected = shard.collect(self.clock.now(), BATCH, limit);
        // Before the lock is released, so that a create that finds no due session afterwards finds
        // the place.
        self.places_taken.fetch_sub(collected.removed.len(), Ordering::Relaxed);
        for entry in &collected.removed {
            self.owners.change(&entry.key, entry.content.owner(), None);
        }
        collected
    }

    fn has_due(&self, index: usize) -> bool {
        self.read(index).has_due(self.clock.now())
    }

    /// The indexes of all shards. Each call begins with another shard.
    fn all_shards(&self) -> impl Iterator<Item = usize> + use<> {
        let first = self.next_shard.fetch_add(1, Ordering::Relaxed);
        (0..SHARDS).map(move |step| first.wrapping_add(step) % SHARDS)
    }

    fn take_place(&self) -> bool {
        self.places_taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < self.max_sessions).then_some(taken + 1)
            })
            .is_ok()
    }

    fn full(&self) -> Error {
        Error::refused(format!(
            "the store is full: all of its {} sessions are live; nothing was written. Raise \
             max_sessions, shorten the lifetime, or use a store that is not in memory",
            self.max_sessions
        ))
    }

    // No code panics while it holds one of these locks.

    fn read(&self, index: usize) -> RwLockReadGuard<'_, Shard> {
        self.shards[index].0.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self, index: usize) -> RwLockWriteGuard<'_, Shard> {
        self.shards[index].0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// By the last byte, because the table in a shard uses the first eight.
fn shard_of(key: &Key) -> usize {
    usize::from(key.as_bytes()[31])
}

/// Lets other tasks run, on any runtime.
async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| match std::mem::replace(&mut yielded, true) {
        true => Poll::Ready(()),
        false => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
    })
    .await;
}

// Each method reads the clock under the lock: a session that one caller found expired is expired
// for all later ones.
#[async_trait]
impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        let (found, now) = {
            let shard = self.read(shard_of(key));
            let now = self.clock.now();
            let found = shard.get(key, now);
            (found.map(|entry| (entry.content.clone(), entry.expires_at)), now)
        };
        Ok(found.map(|(content, expires_at)| content.into_loaded(expires_at, now)))
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        match write {
            Write::Create { ttl } => self.create(*key, record, ttl),
            Write::Update(update) => self.update(key, record, update),
        }
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        let millis = ttl_millis(ttl)?;
        self.write(shard_of(key)).touch(key, expected, (self.clock.now(), millis))
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        let destroyed = {
            let mut shard = self.write(shard_of(key));
            let destroyed = shard.destroy(key, only, self.clock.now());
            if let Some((removed, _)) = &destroyed {
                self.owners.change(key, removed.content.owner(), None);
            }
            destroyed
        };
        let Some((_removed, live)) = destroyed else {
            return Ok(false);
        };
        self.places_taken.fetch_sub(1, Ordering::Relaxed);
        Ok(live)
    }

    /// It lets other tasks run after each batch. If the future is dropped there, removed sessions
    /// stay removed.
    async fn gc(&self, limit: usize) -> Result<u64> {
        Ok(self.collect(limit).await as u64)
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        Some(self)
    }
}

#[async_trait]
impl OwnerIndex for MemoryBackend {
    async fn keys_of(&self, owner: &Owner, after: Option<&Key>, limit: usize) -> Result<Vec<Key>> {
        Ok(self.owners.keys_of(owner, after, limit))
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

/// Shows only numbers.
impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend")
            .field("sessions", &self.len())
            .field("max_sessions", &self.max_sessions)
            .finish()
    }
}
