//! A complete store with a map and a lock: the minimal implementation of the contract.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use session_core::{
    Backend, Capabilities, Error, Key, Loaded, Record, Result, Revision, Update, Write,
    async_trait, ttl_millis,
};

/// Sessions in a map.
#[derive(Default)]
pub struct MapStore(Mutex<HashMap<Key, Entry>>);

struct Entry {
    record: Record,
    expires: Instant,
}

impl MapStore {
    /// The entries. No code panics while it holds the lock, so a poisoned lock can be used.
    fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn is_live(&self) -> bool {
        Instant::now() < self.expires
    }
}

/// `ttl_millis` refuses a ttl of zero and limits the longest one.
fn expiry(ttl: Duration) -> Result<Instant> {
    Ok(Instant::now() + Duration::from_millis(ttl_millis(ttl)?))
}

/// The live entry with the expected revision.
fn expect<'a>(
    entries: &'a mut HashMap<Key, Entry>,
    key: &Key,
    revision: Revision,
) -> Result<&'a mut Entry> {
    let entry = entries.get_mut(key).filter(|entry| entry.is_live()).ok_or_else(Error::gone)?;
    if entry.record.revision == revision { Ok(entry) } else { Err(Error::conflict()) }
}

#[async_trait]
impl Backend for MapStore {
    fn name(&self) -> &'static str {
        "map"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        let entries = self.entries();
        let entry = entries.get(key);
        Ok(entry.and_then(|entry| {
            let expires_in = entry.expires.checked_duration_since(Instant::now())?;
            let record = entry.record.clone();
            (!expires_in.is_zero()).then_some(Loaded { record, expires_in })
        }))
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let record = record.clone();
        let mut entries = self.entries();
        match write {
            Write::Create { ttl } => {
                let expires = expiry(ttl)?;
                if entries.get(key).is_some_and(Entry::is_live) {
                    return Err(Error::already_exists());
                }
                entries.insert(*key, Entry { record, expires });
            }
            Write::Update(Update { expected, ttl }) => {
                let renewed = ttl.map(expiry).transpose()?;
                let entry = expect(&mut entries, key, expected)?;
                entry.expires = renewed.unwrap_or(entry.expires);
                entry.record = record;
            }
        }
        Ok(())
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        let expires = expiry(ttl)?;
        expect(&mut self.entries(), key, expected)?.expires = expires;
        Ok(())
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        let mut entries = self.entries();
        let Some(entry) = entries.get(key) else {
            return Ok(false);
        };
        if only.is_some_and(|only| only != entry.record.revision) {
            return Ok(false);
        }
        Ok(entries.remove(key).is_some_and(|entry| entry.is_live()))
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        let mut entries = self.entries();
        let expired = entries.iter().filter(|(_, entry)| !entry.is_live());
        let expired: Vec<Key> = expired.map(|(key, _)| *key).take(limit).collect();
        for key in &expired {
            entries.remove(key);
        }
        Ok(expired.len() as u64)
    }
}

impl fmt::Debug for MapStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("MapStore").field("sessions", &self.entries().len()).finish()
    }
}
