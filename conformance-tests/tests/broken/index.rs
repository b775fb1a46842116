//! Stores whose records are correct, and whose index of owners is not.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use session_core::{
    Backend, Capabilities, Key, Loaded, Owner, OwnerIndex, Record, Result, Revision, Write,
    async_trait,
};

use super::Defect;
use crate::support::reference::{Reference, expiry};

/// An index of its own beside the records, as in a key-value store.
#[derive(Debug)]
pub(super) struct WrongIndex {
    defect: Defect,
    inner: Arc<Reference>,
    entries: Arc<Mutex<Vec<Entry>>>,
    /// The first answer of this handle to each owner.
    remembered: Mutex<HashMap<String, Vec<Key>>>,
    /// How many keys it has given since the first page.
    given: AtomicUsize,
}

#[derive(Debug, Clone)]
pub(super) struct Entry {
    owner: String,
    key: Key,
    expires: Instant,
    /// When other handles see it.
    visible: Instant,
}

/// The index of all handles of one store.
pub(super) type Shared = Arc<Mutex<Vec<Entries>>>;
type Entries = Arc<Mutex<Vec<Entry>>>;

impl WrongIndex {
    pub(super) fn new(defect: Defect, inner: Arc<Reference>, shared: &Shared) -> Self {
        let mut shared = shared.lock().expect("no case panics while it holds the lock");
        let alone = [Defect::IndexIsOfOneHandle, Defect::IndexForgetsWhenReopened];
        if shared.is_empty() || alone.contains(&defect) {
            shared.push(Arc::default());
        }
        let entries = Arc::clone(shared.last().expect("there is one"));
        Self { defect, inner, entries, remembered: Mutex::default(), given: AtomicUsize::new(0) }
    }

    pub(super) fn has(defect: Defect) -> bool {
        format!("{defect:?}").starts_with("Index")
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn entries(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().expect("no case panics while it holds the lock")
    }

    fn name(&self, owner: &Owner) -> String {
        match self.is(Defect::IndexFoldsCase) {
            true => owner.as_str().to_lowercase(),
            false => owner.as_str().to_owned(),
        }
    }

    /// Before the record is written.
    fn enter_or_prolong(&self, key: &Key, owner: &Owner, expires: Instant) {
        let delay = if self.is(Defect::IndexIsWrittenLater) { 40 } else { 0 };
        let visible = Instant::now() + Duration::from_millis(delay);
        let owner = self.name(owner);
        let mut entries = self.entries();
        let there = entries.iter_mut().find(|entry| entry.owner == owner && entry.key == *key);
        match there {
            Some(_) if self.is(Defect::IndexKeepsTheFirstExpiry) => {}
            Some(entry) => entry.expires = entry.expires.max(expires),
            None => entries.push(Entry { owner, key: *key, expires, visible }),
        }
    }
}

#[async_trait]
impl Backend for WrongIndex {
    fn name(&self) -> &'static str {
        "wrong index"
    }

    fn capabilities(&self) -> Capabilities {
        let durable = self.is(Defect::IndexForgetsWhenReopened);
        Capabilities { durable, ..self.inner.capabilities() }
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.inner.load(key).await
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let ttl = match write {
            Write::Create { ttl } => Some(ttl),
            Write::Update(update) => update.ttl,
        };
        let late = self.is(Defect::IndexIsWrittenAfterTheRecord);
        if late {
            self.inner.save(key, record, write).await?;
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        if let (Some(owner), Some(ttl)) = (&record.owner, ttl) {
            self.enter_or_prolong(key, owner, expiry(ttl)?);
        }
        if late { Ok(()) } else { self.inner.save(key, record, write).await }
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        self.inner.touch(key, expected, ttl).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.inner.destroy(key, only).await
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        self.inner.gc(limit).await
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        Some(self)
    }
}

#[async_trait]
impl OwnerIndex for WrongIndex {
    async fn keys_of(&self, owner: &Owner, after: Option<&Key>, limit: usize) -> Result<Vec<Key>> {
        let (name, now) = (self.name(owner), Instant::now());
        let keeps = self.is(Defect::IndexNeverForgets);
        let mut keys: Vec<Key> = self
            .entries()
            .iter()
            .filter(|entry| entry.owner == name && entry.visible <= now)
            .filter(|entry| keeps || entry.expires > now)
            .map(|entry| entry.key)
            .collect();
        if !self.is(Defect::IndexInOrderOfWrites) {
            keys.sort_unstable();
        }
        if self.is(Defect::IndexIsCutAtAThousand) {
            keys.truncate(1_000);
        }
        if self.is(Defect::IndexRemembersItsAnswer) {
            let mut remembered = self.remembered.lock().expect("no case panics meanwhile");
            keys = remembered.entry(name).or_insert(keys).clone();
        }
        if self.is(Defect::IndexCountsPositions) {
            let first = after.map_or(0, |_| self.given.load(Ordering::SeqCst));
            keys = keys.into_iter().skip(first).take(limit).collect();
            self.given.store(first + keys.len(), Ordering::SeqCst);
            return Ok(keys);
        }
        let later = keys.into_iter().filter(|key| after.is_none_or(|after| after < key));
        Ok(later.take(limit).collect())
    }

    async fn prolong(&self, owner: &Owner, key: &Key, ttl: Duration) -> Result<()> {
        if !self.is(Defect::IndexKeepsTheOwner) {
            self.enter_or_prolong(key, owner, expiry(ttl)?);
        }
        Ok(())
    }

    async fn forget(&self, owner: &Owner, key: &Key) -> Result<()> {
        if !self.is(Defect::IndexNeverForgets) {
            let name = self.name(owner);
            self.entries().retain(|entry| (&entry.owner, &entry.key) != (&name, key));
        }
        Ok(())
    }
}
