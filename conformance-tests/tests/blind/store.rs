//! A correct store in memory, except for one fault. Clones are other objects on the same data.

use std::collections::{HashMap, HashSet};
use std::future::poll_fn;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::Poll;
use std::time::{Duration, Instant};

use session_core::{Error, Key, MAX_TTL, Owner, Record, Result, Revision, Update, ttl_millis};

use super::list::Fault;

/// How long an object with a cache serves a load from it.
pub(super) const CACHED: u64 = 200_000;
/// How long an update waits for the lock of another one.
pub(super) const PATIENCE: Duration = Duration::from_millis(500);
pub(super) const GC_CHUNK: usize = 50;

#[derive(Debug)]
pub(crate) struct Wrong {
    pub(super) fault: Fault,
    pub(super) shared: Arc<Shared>,
    /// Of this object only: the entry, and until when it is served.
    pub(super) cache: Mutex<HashMap<Key, (Entry, u64)>>,
}

#[derive(Debug)]
pub(super) struct Shared {
    pub(super) start: Instant,
    pub(super) entries: Mutex<HashMap<Key, Entry>>,
    pub(super) locks: Mutex<HashSet<Key>>,
}

/// Moments are microseconds since the start.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) record: Record,
    pub(super) expires_at: u64,
    pub(super) indexed_at: u64,
}

impl Entry {
    pub(super) fn new(record: Record, expires_at: u64) -> Self {
        Self { record, expires_at, indexed_at: expires_at }
    }

    pub(super) fn renew(&mut self, expires_at: u64) {
        self.expires_at = expires_at;
        self.indexed_at = expires_at;
    }

    pub(super) fn is_live(&self, now: u64) -> bool {
        now < self.expires_at
    }
}

impl Clone for Wrong {
    fn clone(&self) -> Self {
        Self { fault: self.fault, shared: Arc::clone(&self.shared), cache: Mutex::default() }
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) async fn yield_now() {
    let mut yielded = false;
    poll_fn(|context| {
        if std::mem::replace(&mut yielded, true) {
            return Poll::Ready(());
        }
        context.waker().wake_by_ref();
        Poll::Pending
    })
    .await;
}

/// The time between two round trips. It yields at least once.
pub(super) async fn round_trip() {
    let begun = Instant::now();
    loop {
        yield_now().await;
        if begun.elapsed() > Duration::from_micros(300) {
            return;
        }
    }
}

pub(super) fn after(now: u64, millis: u64) -> u64 {
    now.saturating_add(millis.saturating_mul(1_000))
}

pub(super) fn remove_expired(entries: &mut HashMap<Key, Entry>, keys: &[Key], now: u64) -> u64 {
    let mut removed = 0;
    for key in keys {
        if entries.get(key).is_some_and(|entry| !entry.is_live(now)) {
            entries.remove(key);
            removed += 1;
        }
    }
    removed
}

impl Wrong {
    pub(super) fn new(fault: Fault) -> Self {
        let shared =
            Shared { start: Instant::now(), entries: Mutex::default(), locks: Mutex::default() };
        Self { fault, shared: Arc::new(shared), cache: Mutex::default() }
    }

    pub(super) fn is(&self, fault: Fault) -> bool {
        self.fault == fault
    }

    pub(super) fn now(&self) -> u64 {
        u64::try_from(self.shared.start.elapsed().as_micros()).unwrap_or(u64::MAX)
    }

    pub(super) fn entries(&self) -> MutexGuard<'_, HashMap<Key, Entry>> {
        lock(&self.shared.entries)
    }

    pub(super) fn place(&self, key: &Key) -> Key {
        let mut bytes = *key.as_bytes();
        if self.is(Fault::KeyEndsAtNul)
            && let Some(end) = bytes.iter().position(|byte| *byte == 0)
        {
            bytes[end..].fill(0);
        }
        Key::from_bytes(bytes)
    }

    pub(super) fn stored(&self, record: &Record) -> Record {
        let mut record = record.clone();
        if self.is(Fault::OwnerWithoutTrailingBlanks) {
            record.owner = record
                .owner
                .and_then(|owner| Owner::new(owner.as_str().trim_end_matches(' ')).ok());
        }
        if self.is(Fault::PayloadCutAtOneMebibyte) {
            record.payload.truncate(1 << 20);
        }
        record
    }

    pub(super) fn same(&self, one: Revision, other: Revision) -> bool {
        if self.is(Fault::RevisionComparedAsDouble) {
            return one.to_u64() as f64 == other.to_u64() as f64;
        }
        one == other
    }

    /// The live entry with the expected revision.
    pub(super) fn expect<'a>(
        &self,
        entries: &'a mut HashMap<Key, Entry>,
        key: &Key,
        expected: Revision,
        now: u64,
    ) -> Result<&'a mut Entry> {
        let entry = entries.get_mut(key).ok_or_else(Error::gone)?;
        let matches = self.same(entry.record.revision, expected);
        if self.is(Fault::ExpiredOtherRevisionConflicts) && !matches {
            return Err(Error::conflict());
        }
        match entry.is_live(now) {
            false => Err(Error::gone()),
            true if !matches => Err(Error::conflict()),
            true => Ok(entry),
        }
    }

    pub(super) fn renewal(&self, ttl: Duration) -> Result<u64> {
        let millis = ttl_millis(ttl)?;
        if self.is(Fault::RenewalSaturatesAt31Bits) {
            return Ok(millis.min(0x7FFF_FFFF));
        }
        Ok(millis)
    }

    pub(super) async fn create(&self, key: Key, record: &Record, ttl: Duration) -> Result<()> {
        let millis = ttl_millis(ttl)?;
        let mut record = self.stored(record);
        let expires_at = {
            let mut entries = self.entries();
            let now = self.now();
            let expires_at = after(now, millis);
            match entries.get(&key) {
                Some(entry) if entry.is_live(now) => return Err(Error::already_exists()),
                Some(expired) if self.is(Fault::UpsertOverExpiredKeepsOwner) => {
                    record.owner = expired.record.owner.clone();
                }
                _ => {}
            }
            if self.is(Fault::SetThenExpire) {
                let never = after(now, ttl_millis(MAX_TTL)?);
                entries.insert(key, Entry::new(record.clone(), never));
            } else if !self.is(Fault::CreateOverExpiredRaces) || !entries.contains_key(&key) {
                entries.insert(key, Entry::new(record, expires_at));
                return Ok(());
            }
            expires_at
        };
        round_trip().await;
        let mut entries = self.entries();
        if self.is(Fault::CreateOverExpiredRaces) {
            entries.insert(key, Entry::new(record, expires_at));
        } else if let Some(entry) = entries.get_mut(&key)
            && entry.record.revision == record.revision
        {
            entry.renew(expires_at);
        }
        Ok(())
    }

    /// The second statement of an update, if there has to be one, is left to the caller.
    pub(super) fn update_now(&self, key: &Key, record: &Record, update: Update) -> Result<()> {
        let late = self.is(Fault::TtlCheckedAfterWrite);
        let millis = match update.ttl.map(|ttl| self.renewal(ttl)).transpose() {
            Err(error) if !late => return Err(error),
            other => other,
        };
        let mut entries = self.entries();
        let now = self.now();
        let entry = self.expect(&mut entries, key, update.expected, now)?;
        let mut record = self.stored(record);
        if self.is(Fault::IdenticalUpdateIsConflict)
            && update.ttl.is_none()
            && entry.record == record
        {
            return Err(Error::conflict());
        }
        if self.is(Fault::EmptyPayloadCoalesced) && record.payload.is_empty() {
            record.payload = entry.record.payload.clone();
        }
        if self.is(Fault::OwnerInSecondStatement) {
            record.owner = entry.record.owner.clone();
        }
        entry.record = record;
        match millis? {
            Some(millis) if self.is(Fault::GcIndexIgnoresUpdate) => {
                entry.expires_at = after(now, millis);
            }
            Some(millis) => entry.renew(after(now, millis)),
            None if self.is(Fault::UpdateWithoutTtlInSeconds) => {
                let seconds = (entry.expires_at - now).div_ceil(1_000_000);
                entry.renew(after(now, seconds.saturating_mul(1_000)));
            }
            None => {}
        }
        Ok(())
    }

    pub(super) async fn update(&self, key: &Key, record: &Record, update: Update) -> Result<()> {
        match self.fault {
            Fault::OwnerInSecondStatement => {
                self.update_now(key, record, update)?;
                let differs = |entry: &Entry| {
                    entry.record.revision == record.revision && entry.record.owner != record.owner
                };
                if !self.entries().get(key).is_some_and(differs) {
                    return Ok(());
                }
                round_trip().await;
                if let Some(entry) = self.entries().get_mut(key)
                    && differs(entry)
                {
                    entry.record.owner = record.owner.clone();
                }
                Ok(())
            }
            Fault::UpdateReadsThenWrites if update.ttl.is_none() => {
                self.expect(&mut self.entries(), key, update.expected, self.now())?;
                round_trip().await;
                let mut entries = self.entries();
                let now = self.now();
                let there = entries.get_mut(key).filter(|entry| entry.is_live(now));
                there.ok_or_else(Error::gone)?.record = record.clone();
                Ok(())
            }
            Fault::LockSurvivesDrop => {
                let begun = Instant::now();
                while !lock(&self.shared.locks).insert(*key) {
                    if begun.elapsed() > PATIENCE {
                        return Err(Error::refused("the session is locked"));
                    }
                    yield_now().await;
                }
                round_trip().await;
                let updated = self.update_now(key, record, update);
                lock(&self.shared.locks).remove(key);
                updated
            }
            _ => self.update_now(key, record, update),
        }
    }

    pub(super) fn destroy_now(&self, key: &Key, only: Option<Revision>) -> bool {
        let mut entries = self.entries();
        let now = self.now();
        match (entries.get(key), only) {
            (None, _) => false,
            (Some(entry), Some(only)) if !self.same(entry.record.revision, only) => false,
            _ => entries.remove(key).is_some_and(|entry| entry.is_live(now)),
        }
    }

    pub(super) fn forget(&self, key: &Key) {
        lock(&self.cache).remove(key);
    }

    /// Looks into the store, or the cache if there is one. The lock of the cache is held, so that
    /// the object's own writes are never hidden.
    pub(super) fn look(&self, key: &Key) -> (Option<Entry>, u64) {
        let mut cache = lock(&self.cache);
        if let Some((entry, until)) = cache.get(key)
            && self.now() < *until
        {
            return (Some(entry.clone()), self.now());
        }
        let entries = self.entries();
        let now = self.now();
        let found = entries.get(key).cloned();
        if self.is(Fault::CachedLoad) {
            match &found {
                Some(entry) => cache.insert(*key, (entry.clone(), now + CACHED)),
                None => cache.remove(key),
            };
        }
        (found, now)
    }
}
