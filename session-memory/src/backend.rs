//! The store itself.

use std::fmt;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dashmap::{DashMap, Entry as Slot};
use session_core::{
    Backend, Capabilities, Error, ErrorKind, Key, Loaded, Record, Result, Revision, Update, Write,
    async_trait, ttl_millis,
};

use crate::clock::{Clock, Moment, after};
use crate::deadlines::Deadlines;
use crate::entry::Entry;

/// How many sessions the collector looks at before it lets others at the shard.
const BATCH: usize = 128;

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
    sessions: DashMap<Key, Box<Entry>, BuildHasherDefault<KeyHasher>>,
    /// One for each shard of `sessions`, and locked only while that shard is (or alone, for a look).
    deadlines: Box<[Mutex<Deadlines>]>,
    clock: Clock,
    /// The entries in `sessions`, and those about to be inserted.
    taken: AtomicUsize,
    max_sessions: usize,
    /// Where the next collection begins, so that a small limit does not favour the first shards.
    next_shard: AtomicUsize,
}

impl MemoryBackend {
    /// An empty store that takes as many sessions as memory holds.
    #[must_use]
    pub fn new() -> Self {
        let sessions = DashMap::default();
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
        let entry = Box::new(Entry::new(record));
        loop {
            let now = self.clock.now();
            match self.sessions.entry(key) {
                Slot::Occupied(slot) if slot.get().is_live(now) => {
                    return Err(Error::already_exists());
                }
                slot @ Slot::Occupied(_) => {
                    self.put(slot, entry, after(now, millis));
                    return Ok(());
                }
                slot @ Slot::Vacant(_) => {
                    if self.take_place() {
                        self.put(slot, entry, after(now, millis));
                        return Ok(());
                    }
                }
            }
            if self.collect(BATCH) == 0 {
                return Err(self.full());
            }
        }
    }

    fn update(&self, key: &Key, record: &Record, write: Update) -> Result<()> {
        let millis = write.ttl.map(ttl_millis).transpose()?;
        let new = Entry::new(record);
        let now = self.clock.now();
        let Some(mut entry) = self.sessions.get_mut(key) else {
            return Err(Error::gone());
        };
        check(&entry, write.expected, now)?;
        entry.replace_record(new);
        if let Some(millis) = millis {
            self.set_deadline(key, &mut entry, after(now, millis));
        }
        Ok(())
    }

    /// Removes the session that an update may replace, and gives its deadline.
    fn remove_expected(&self, key: Key, expected: Revision, now: Moment) -> Result<Moment> {
        let Slot::Occupied(slot) = self.sessions.entry(key) else {
            return Err(Error::gone());
        };
        check(slot.get(), expected, now)?;
        self.deadlines_of(&key).remove(slot.get().filed, key.prefix());
        Ok(slot.remove().deadline)
    }

    /// Fills a slot, whose shard is locked by it.
    fn put(&self, slot: Slot<'_, Key, Box<Entry>>, mut entry: Box<Entry>, deadline: Moment) {
        let key = *slot.key();
        let mut deadlines = self.deadlines_of(&key);
        if let Slot::Occupied(old) = &slot {
            deadlines.remove(old.get().filed, key.prefix());
        }
        entry.deadline = deadline;
        entry.filed = deadlines.file(deadline, key.prefix());
        slot.insert(entry);
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

    /// Removes up to `limit` expired sessions.
    fn collect(&self, limit: usize) -> usize {
        let shards = self.deadlines.len();
        let first = self.next_shard.fetch_add(1, Ordering::Relaxed);
        let mut removed = 0;
        for step in 0..shards {
            let shard = first.wrapping_add(step) % shards;
            while removed < limit && lock(&self.deadlines[shard]).has_due(self.clock.now()) {
                removed += self.collect_batch(shard, limit - removed);
            }
        }
        removed
    }

    /// Looks at up to `BATCH` sessions that are due: removes the expired ones, at most `limit`, and
    /// files those anew that were prolonged.
    fn collect_batch(&self, shard: usize, limit: usize) -> usize {
        let now = self.clock.now();
        let mut removed = 0;
        let mut sessions = self.sessions.shards()[shard].write();
        let mut deadlines = lock(&self.deadlines[shard]);
        for _ in 0..BATCH {
            if removed == limit {
                break;
            }
            let Some((filed, prefix)) = deadlines.pop_due(now) else {
                break;
            };
            let hash = hash_of(prefix);
            let Some((_, entry)) = sessions
                .get_mut(hash, |(key, entry)| key.prefix() == prefix && entry.get().filed == filed)
            else {
                debug_assert!(false, "a filed session is in the map");
                continue;
            };
            let entry = entry.get_mut();
            if entry.is_live(now) {
                entry.filed = deadlines.file(entry.deadline, prefix);
                continue;
            }
            sessions.remove_entry(hash, |(key, entry)| {
                key.prefix() == prefix && entry.get().filed == filed
            });
            removed += 1;
        }
        self.taken.fetch_sub(removed, Ordering::Relaxed);
        removed
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
fn lock(deadlines: &Mutex<Deadlines>) -> MutexGuard<'_, Deadlines> {
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
        let now = self.clock.now();
        let view =
            self.sessions.get(key).filter(|entry| entry.is_live(now)).map(|entry| entry.view());
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
        let now = self.clock.now();
        match self.sessions.get_mut(key) {
            Some(mut entry) if entry.is_live(now) => {
                self.set_deadline(key, &mut entry, after(now, millis));
                Ok(())
            }
            _ => Err(Error::gone()),
        }
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        let now = self.clock.now();
        let Slot::Occupied(slot) = self.sessions.entry(*key) else {
            return Ok(false);
        };
        let live = slot.get().is_live(now);
        if live && only.is_some_and(|only| only != slot.get().revision) {
            return Ok(false);
        }
        self.deadlines_of(key).remove(slot.get().filed, key.prefix());
        slot.remove();
        self.give_place_back();
        Ok(live)
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        Ok(self.collect(limit) as u64)
    }

    /// Takes the old record out, which decides the race, then puts the new one in. Nobody can miss the
    /// session in between: the old key is dead from then on, and nobody has the new one yet.
    async fn rotate(&self, old: &Key, new: &Key, record: &Record, write: Update) -> Result<()> {
        let millis = write.ttl.map(ttl_millis).transpose()?;
        let entry = Box::new(Entry::new(record));
        let now = self.clock.now();
        if self.sessions.get(new).is_some_and(|there| there.is_live(now)) {
            return Err(Error::already_exists());
        }
        let standing = self.remove_expected(*old, write.expected, now)?;
        let deadline = millis.map_or(standing, |millis| after(now, millis));
        let slot = self.sessions.entry(*new);
        if matches!(slot, Slot::Occupied(_)) {
            self.give_place_back();
        }
        self.put(slot, entry, deadline);
        Ok(())
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
struct KeyHasher(u64);

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
fn hash_of(prefix: u64) -> u64 {
    let mut hasher = KeyHasher::default();
    hasher.write_u64(prefix);
    hasher.finish()
}
