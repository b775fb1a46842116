//! The store itself.

use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::{DashMap, Entry as Slot, SharedValue};
use session_core::{
    Backend, Capabilities, Error, ErrorKind, Key, Loaded, Record, Result, Revision, Update, Write,
    async_trait, ttl_millis,
};

use crate::clock::{Clock, Moment, after};
use crate::deadlines::Deadlines;
use crate::entry::Entry;

/// How often a creation in a full store looks for an expired session.
const ROUNDS_OF_CREATE: usize = 4;
/// The lock of a shard is held while others of its sessions are collected, and while its table grows,
/// so shards are small.
const SHARDS: usize = 256;

/// Sessions in the memory of this process. They end with it.
///
/// All operations are O(1), except that a session which is created, destroyed or given a shorter life
/// is filed in O(log n). None of them waits for anything but the short lock of one of the map's
/// shards, so a future that is dropped has done all or nothing.
///
/// Memory: less than 256 bytes a session beside its payload (and owner). What a full map has taken is
/// kept for later sessions when it empties.
///
/// ```
/// use session_memory::MemoryBackend;
///
/// let backend = MemoryBackend::new().max_sessions(1_000_000);
/// assert!(backend.is_empty());
/// ```
pub struct MemoryBackend {
    pub(crate) sessions: DashMap<Key, Box<Entry>, BuildHasherDefault<KeyHasher>>,
    /// One for each shard of `sessions`, and locked only while that shard is (or alone, for a look).
    pub(crate) deadlines: Box<[Mutex<Deadlines>]>,
    pub(crate) clock: Clock,
    /// The entries in `sessions`, and those about to be inserted.
    pub(crate) taken: AtomicUsize,
    max_sessions: usize,
    /// Where the next collection begins, so that a small limit does not favour the first shards.
    pub(crate) next_shard: AtomicUsize,
}

impl MemoryBackend {
    /// An empty store that takes as many sessions as memory holds.
    #[must_use]
    pub fn new() -> Self {
        let hasher = BuildHasherDefault::default();
        let sessions = DashMap::with_hasher_and_shard_amount(hasher, SHARDS);
        let deadlines = sessions.shards().iter().map(|_| Mutex::default()).collect();
        Self {
            sessions,
            deadlines,
            clock: Clock::new(),
            taken: AtomicUsize::new(0),
            max_sessions: usize::MAX,
            next_shard: AtomicUsize::new(0),
        }
    }

    /// Limits the number of sessions (default: no limit).
    ///
    /// A full store first removes what has expired. When all are alive it refuses new sessions with
    /// `Unavailable`, which says that nothing was written; it never evicts a live one. Sessions that
    /// are there can still be saved, touched, rotated and destroyed.
    #[must_use]
    pub fn max_sessions(mut self, limit: usize) -> Self {
        self.max_sessions = limit;
        self
    }

    /// How many sessions are in memory, expired ones that are not collected yet included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Whether no session is in memory.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The map, the files and the count agree.
    #[cfg(test)]
    pub(crate) fn assert_consistent(&self) {
        let filed: usize = self.deadlines.iter().map(|part| lock(part).len()).sum();
        assert_eq!((self.sessions.len(), filed), (self.len(), self.len()));
    }

    fn create(&self, key: Key, record: &Record, ttl: Duration) -> Result<()> {
        let millis = ttl_millis(ttl)?;
        let mut entry = Box::new(Entry::new(record));
        for _ in 0..ROUNDS_OF_CREATE {
            match self.try_create(key, entry, millis)? {
                None => return Ok(()),
                Some(refused) => entry = refused,
            }
            // The room it makes may be taken by another creation, or the other way round.
            if !self.make_room() {
                break;
            }
        }
        match self.try_create(key, entry, millis)? {
            None => Ok(()),
            Some(_) => Err(self.full()),
        }
    }

    /// Gives the entry back where the store is full.
    fn try_create(&self, key: Key, entry: Box<Entry>, millis: u64) -> Result<Option<Box<Entry>>> {
        let slot = self.sessions.entry(key);
        let now = self.clock.now();
        match &slot {
            Slot::Occupied(there) if there.get().is_live(now) => {
                return Err(Error::already_exists());
            }
            Slot::Occupied(_) => {}
            Slot::Vacant(_) if self.take_place() => {}
            Slot::Vacant(_) => return Ok(Some(entry)),
        }
        drop(self.put(slot, entry, after(now, millis)));
        Ok(None)
    }

    fn update(&self, key: &Key, record: &Record, write: Update) -> Result<()> {
        let millis = write.ttl.map(ttl_millis).transpose()?;
        let new = Entry::new(record);
        let Some(mut entry) = self.sessions.get_mut(key) else {
            return Err(Error::gone());
        };
        let now = self.clock.now();
        check(&entry, write.expected, now)?;
        let replaced = entry.replace_record(new);
        if let Some(millis) = millis {
            self.set_deadline(key, &mut entry, after(now, millis));
        }
        // To free a large payload takes longer than all of this, so it comes after the lock.
        drop(entry);
        drop(replaced);
        Ok(())
    }

    /// Fills a slot, whose shard is locked by it, and unlocks it. What it held before is given back.
    fn put(
        &self,
        slot: Slot<'_, Key, Box<Entry>>,
        mut entry: Box<Entry>,
        deadline: Moment,
    ) -> Option<Box<Entry>> {
        let key = *slot.key();
        let mut deadlines = self.deadlines_of(&key);
        if let Slot::Occupied(old) = &slot {
            deadlines.remove(old.get().filed, key.prefix());
        }
        entry.deadline = deadline;
        entry.filed = deadlines.file(deadline, key.prefix());
        drop(deadlines);
        match slot {
            Slot::Occupied(mut slot) => Some(slot.insert(entry)),
            Slot::Vacant(slot) => {
                slot.insert(entry);
                None
            }
        }
    }

    /// Moves the deadline of an entry, whose shard is locked.
    fn set_deadline(&self, key: &Key, entry: &mut Entry, deadline: Moment) {
        if deadline < entry.filed {
            let mut deadlines = self.deadlines_of(key);
            deadlines.remove(entry.filed, key.prefix());
            entry.filed = deadlines.file(deadline, key.prefix());
        }
        entry.deadline = deadline;
    }

    /// Both shards are locked, so nobody sees the session twice or not at all.
    fn move_session(
        &self,
        old: &Key,
        new: &Key,
        mut entry: Box<Entry>,
        write: Update,
    ) -> Result<()> {
        let millis = write.ttl.map(ttl_millis).transpose()?;
        let (from, to) = (self.sessions.determine_map(old), self.sessions.determine_map(new));
        let (old_hash, new_hash) = (hash_of(old.prefix()), hash_of(new.prefix()));
        let shards = self.sessions.shards();
        // Everyone takes the lower one first.
        let mut low = shards[from.min(to)].write();
        let mut high = (from != to).then(|| shards[from.max(to)].write());
        let now = self.clock.now();

        let source = match &mut high {
            Some(high) if from > to => &mut **high,
            _ => &mut *low,
        };
        let Some((_, standing)) = source.get(old_hash, |(key, _)| key == old) else {
            return Err(Error::gone());
        };
        let standing = standing.get();
        check(standing, write.expected, now)?;
        let (filed, deadline) = (standing.filed, standing.deadline);
        let deadline = millis.map_or(deadline, |millis| after(now, millis));

        let target = match &mut high {
            Some(high) if to > from => &mut **high,
            _ => &mut *low,
        };
        let there = target.get(new_hash, |(key, _)| key == new);
        if there.is_some_and(|(_, there)| there.get().is_live(now)) {
            return Err(Error::already_exists());
        }
        let expired = target.remove_entry(new_hash, |(key, _)| key == new);
        if let Some((_, expired)) = &expired {
            lock(&self.deadlines[to]).remove(expired.get().filed, new.prefix());
            self.give_place_back();
        }
        entry.deadline = deadline;
        entry.filed = lock(&self.deadlines[to]).file(deadline, new.prefix());
        let slot = (*new, SharedValue::new(entry));
        target.insert(new_hash, slot, |(key, _)| hash_of(key.prefix()));

        let source = match &mut high {
            Some(high) if from > to => &mut **high,
            _ => &mut *low,
        };
        let moved = source.remove_entry(old_hash, |(key, _)| key == old);
        lock(&self.deadlines[from]).remove(filed, old.prefix());
        // The payloads are freed after the locks.
        drop((low, high));
        drop((expired, moved));
        Ok(())
    }

    fn take_place(&self) -> bool {
        self.taken
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |taken| {
                (taken < self.max_sessions).then_some(taken + 1)
            })
            .is_ok()
    }

    fn give_place_back(&self) {
        self.taken.fetch_sub(1, Ordering::Relaxed);
    }

    fn full(&self) -> Error {
        Error::new(
            ErrorKind::Unavailable,
            format!(
                "the store is full: all of its {} sessions are alive; nothing was written. Raise \
                 max_sessions, shorten the lifetime, or use a store that is not in memory",
                self.max_sessions
            ),
        )
    }

    fn deadlines_of(&self, key: &Key) -> MutexGuard<'_, Deadlines> {
        lock(&self.deadlines[self.sessions.determine_map(key)])
    }
}

/// Whether an update that expects this revision may replace the entry.
fn check(entry: &Entry, expected: Revision, now: Moment) -> Result<()> {
    if !entry.is_live(now) {
        return Err(Error::gone());
    }
    if entry.revision != expected {
        return Err(Error::conflict());
    }
    Ok(())
}

/// No code panics while it holds this lock, and if it did, the set would still be a set.
pub(crate) fn lock(deadlines: &Mutex<Deadlines>) -> MutexGuard<'_, Deadlines> {
    deadlines.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Backend for MemoryBackend {
    fn name(&self) -> &'static str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            detects_conflicts: true,
            revocable: true,
            rotates_atomically: true,
            ..Capabilities::default()
        }
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        let Some(entry) = self.sessions.get(key) else {
            return Ok(None);
        };
        // Under the lock, like all looks at the clock: what was once seen to be expired stays so.
        let now = self.clock.now();
        let view = entry.is_live(now).then(|| entry.view());
        drop(entry);
        Ok(view.map(|view| view.into_loaded(now)))
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        match write {
            Write::Create { ttl } => self.create(*key, record, ttl),
            Write::Update(update) => self.update(key, record, update),
        }
    }

    async fn touch(&self, key: &Key, ttl: Duration) -> Result<()> {
        let millis = ttl_millis(ttl)?;
        let Some(mut entry) = self.sessions.get_mut(key) else {
            return Err(Error::gone());
        };
        let now = self.clock.now();
        if !entry.is_live(now) {
            return Err(Error::gone());
        }
        self.set_deadline(key, &mut entry, after(now, millis));
        Ok(())
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        let Slot::Occupied(slot) = self.sessions.entry(*key) else {
            return Ok(false);
        };
        let live = slot.get().is_live(self.clock.now());
        if live && only.is_some_and(|only| only != slot.get().revision) {
            return Ok(false);
        }
        self.deadlines_of(key).remove(slot.get().filed, key.prefix());
        slot.remove();
        self.give_place_back();
        Ok(live)
    }

    /// It lets other tasks run after each batch; when it is dropped there, what it removed stays
    /// removed.
    async fn gc(&self, limit: usize) -> Result<u64> {
        Ok(self.collect(limit).await as u64)
    }

    async fn rotate(&self, old: &Key, new: &Key, record: &Record, write: Update) -> Result<()> {
        self.move_session(old, new, Box::new(Entry::new(record)), write)
    }
}

impl Default for MemoryBackend {
    fn default() -> Self {
        Self::new()
    }
}

/// Numbers only: what is stored is nobody's business in a log.
impl fmt::Debug for MemoryBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MemoryBackend")
            .field("sessions", &self.len())
            .field("max_sessions", &self.max_sessions)
            .finish()
    }
}

/// A key is a digest, and its `Hash` gives eight bytes of it: there is nothing left to mix.
#[derive(Default)]
pub(crate) struct KeyHasher(u64);

impl Hasher for KeyHasher {
    fn write_u64(&mut self, prefix: u64) {
        self.0 = prefix;
    }

    fn write(&mut self, bytes: &[u8]) {
        // Not what `Key` does today; correct all the same, should it change.
        for byte in bytes {
            self.0 = self.0.rotate_left(8) ^ u64::from(*byte);
        }
    }

    fn finish(&self) -> u64 {
        self.0
    }
}

/// What the map files a key with this prefix under.
pub(crate) fn hash_of(prefix: u64) -> u64 {
    let mut hasher = KeyHasher::default();
    hasher.write_u64(prefix);
    hasher.finish()
}
