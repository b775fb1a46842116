//! A simple, correct store: one map with one lock.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use session_core::{
    Backend, BatchBackend, Capabilities, Error, Key, Loaded, OwnerIndex, Record, Result, Revision,
    Update, Write, async_trait, ttl_millis,
};

pub(crate) const CLAIMS: Capabilities = Capabilities { durable: false, expires_natively: false };

#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub(crate) record: Record,
    pub(crate) expires: Instant,
}

impl Entry {
    pub(crate) fn live(&self) -> bool {
        Instant::now() < self.expires
    }
}

/// Its fields are public because the broken stores use them.
#[derive(Debug, Default)]
pub(crate) struct Reference(Mutex<HashMap<Key, Entry>>);

pub(crate) fn expiry(ttl: Duration) -> Result<Instant> {
    let millis = ttl_millis(ttl)?;
    Ok(Instant::now() + Duration::from_millis(millis))
}

impl Reference {
    pub(crate) fn new() -> Arc<Self> {
        Arc::default()
    }

    /// All stored data as bytes.
    pub(crate) fn dump(&self) -> Vec<u8> {
        let entries = self.entries();
        let parts =
            entries.iter().map(|(key, entry)| [key.as_bytes(), &entry.record.payload[..]].concat());
        parts.flatten().collect()
    }

    pub(crate) fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.lock().expect("no case panics while it holds the lock")
    }
}

/// The live entry, if it has the expected revision.
pub(crate) fn expected<'a>(
    entries: &'a mut HashMap<Key, Entry>,
    key: &Key,
    revision: Revision,
) -> Result<&'a mut Entry> {
    let entry = entries.get_mut(key).filter(|entry| entry.live());
    let entry = entry.ok_or_else(Error::gone)?;
    if entry.record.revision == revision { Ok(entry) } else { Err(Error::conflict()) }
}

#[async_trait]
impl Backend for Reference {
    fn name(&self) -> &'static str {
        "reference"
    }

    fn capabilities(&self) -> Capabilities {
        CLAIMS
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        // The clock is read once: a record that expires between two reads would be loaded with no time left.
        let now = Instant::now();
        let entries = self.entries();
        let entry = entries.get(key).filter(|entry| now < entry.expires);
        Ok(entry
            .map(|entry| Loaded { record: entry.record.clone(), expires_in: entry.expires - now }))
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let record = record.clone();
        let mut entries = self.entries();
        match write {
            Write::Create { ttl } => {
                if entries.get(key).is_some_and(Entry::live) {
                    return Err(Error::already_exists());
                }
                let expires = expiry(ttl)?;
                entries.insert(*key, Entry { record, expires });
            }
            Write::Update(Update { expected: revision, ttl }) => {
                let entry = expected(&mut entries, key, revision)?;
                entry.expires = ttl.map_or(Ok(entry.expires), expiry)?;
                entry.record = record;
            }
        }
        Ok(())
    }

    async fn touch(&self, key: &Key, revision: Revision, ttl: Duration) -> Result<()> {
        let expires = expiry(ttl)?;
        expected(&mut self.entries(), key, revision)?.expires = expires;
        Ok(())
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        let mut entries = self.entries();
        let other = |entry: &Entry| only.is_some_and(|only| only != entry.record.revision);
        if entries.get(key).is_some_and(other) {
            return Ok(false);
        }
        Ok(entries.remove(key).is_some_and(|entry| entry.live()))
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        let mut entries = self.entries();
        let dead = entries.iter().filter(|(_, entry)| !entry.live());
        let dead: Vec<Key> = dead.map(|(key, _)| *key).take(limit).collect();
        for key in &dead {
            entries.remove(key);
        }
        Ok(dead.len() as u64)
    }

    fn batch(&self) -> Option<&dyn BatchBackend> {
        Some(self)
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        Some(self)
    }
}
