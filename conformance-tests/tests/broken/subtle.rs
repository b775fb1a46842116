//! Stores with a rare defect: no case for a single clause finds it, but random calls do.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::{Duration, Instant};

use session_core::{
    Backend, Bytes, Capabilities, Key, Loaded, Record, Result, Revision, Update, Write, async_trait,
};

use super::Defect;
use crate::support::reference::{Entry, Reference};

/// The reference store with one small defect.
#[derive(Debug)]
pub(super) struct Subtle {
    defect: Defect,
    inner: Arc<Reference>,
    shared: Arc<Mutex<Memory>>,
    /// The keys without a record that this handle loaded.
    missing: Mutex<HashSet<Key>>,
}

#[derive(Debug, Default)]
pub(super) struct Memory {
    touched: HashSet<(Key, Revision)>,
    /// The expiry of a record before a touch.
    before_touch: HashMap<Key, Instant>,
}

impl Subtle {
    pub(super) fn new(defect: Defect, inner: Arc<Reference>, shared: Arc<Mutex<Memory>>) -> Self {
        Self { defect, inner, shared, missing: Mutex::default() }
    }

    pub(super) fn has(defect: Defect) -> bool {
        format!("{defect:?}").starts_with("Subtle")
    }

    fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    fn shared(&self) -> MutexGuard<'_, Memory> {
        self.shared.lock().expect("no case panics while it holds the lock")
    }

    fn missing(&self) -> MutexGuard<'_, HashSet<Key>> {
        self.missing.lock().expect("no case panics while it holds the lock")
    }

    fn seen(&self, key: &Key) -> Option<Entry> {
        self.inner.entries().get(key).cloned()
    }

    fn change(&self, key: &Key, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.inner.entries().get_mut(key) {
            change(entry);
        }
    }

    /// Removes what is under the key, if there was an expired record a moment ago.
    async fn removes_late(&self, key: &Key, before: Option<&Entry>) {
        let expired = before.is_some_and(|before| !before.live());
        if expired && self.is(Defect::SubtleWritesRemoveExpiredLate) && self.seen(key).is_some() {
            super::store::pause().await;
            self.inner.entries().remove(key);
        }
    }

    /// The key that differs only in the case of its last byte.
    fn sibling(key: &Key) -> Key {
        let mut bytes = *key.as_bytes();
        bytes[31] ^= 0x20;
        Key::from_bytes(bytes)
    }
}

/// By how much a life of some of the stores exceeds its ttl.
const TOO_MUCH: Duration = Duration::from_millis(500);

fn whole_seconds(ttl: Duration) -> Duration {
    if ttl.as_secs() == 0 { ttl } else { Duration::from_secs(ttl.as_secs()) }
}

#[async_trait]
impl Backend for Subtle {
    fn name(&self) -> &'static str {
        "subtle"
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        let remembers = self.is(Defect::SubtleHandleRemembersMissing);
        if remembers && self.missing().contains(key) {
            return Ok(None);
        }
        let loaded = self.inner.load(key).await?;
        if remembers && loaded.is_none() {
            self.missing().insert(*key);
        }
        Ok(loaded)
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        self.missing().remove(key);
        let before = self.seen(key);
        let mut record = record.clone();
        let length = record.payload.len();
        if self.is(Defect::SubtlePowerOfTwo) && length >= 256 && length.is_power_of_two() {
            record.payload = record.payload.slice(..length - 1);
        }
        let write = match (write, self.defect) {
            (Write::Update(update), Defect::SubtleUpdateDropsFraction) => {
                Write::Update(Update { ttl: update.ttl.map(whole_seconds), ..update })
            }
            (Write::Update(update), Defect::SubtleLongTtlIsNone) => {
                let ttl = update.ttl.filter(|ttl| *ttl < Duration::from_secs(1 << 32));
                Write::Update(Update { ttl, ..update })
            }
            (Write::Create { ttl }, Defect::SubtleOwnedLiveLonger) if record.owner.is_some() => {
                Write::Create { ttl: ttl * 2 }
            }
            (Write::Create { ttl }, Defect::SubtleCreateRoundsUp) => {
                Write::Create { ttl: Duration::from_secs(ttl.as_secs() + 1) }
            }
            (Write::Create { ttl }, Defect::SubtleCreateAddsAMoment) if !ttl.is_zero() => {
                Write::Create { ttl: ttl.saturating_add(TOO_MUCH) }
            }
            (write, _) => write,
        };
        if let (Some(before), Write::Update(update)) = (&before, write)
            && self.is(Defect::SubtleSecondCopyRenews)
            && before.live()
            && before.record == record
        {
            let expected = before.record.revision;
            return self
                .inner
                .save(key, &record, Write::Update(Update { expected, ..update }))
                .await;
        }
        let result = self.inner.save(key, &record, write).await;
        self.removes_late(key, before.as_ref()).await;
        result?;
        let Some(before) = before else {
            return Ok(());
        };
        let is_update = matches!(write, Write::Update(_));
        self.change(key, |entry| match self.defect {
            Defect::SubtleEqualPayloadKeepsOwner
                if is_update && before.record.payload == record.payload =>
            {
                entry.record.owner = before.record.owner;
            }
            Defect::SubtleCreateOverExpiredKeepsOwner if !is_update => {
                entry.record.owner = before.record.owner;
            }
            Defect::SubtleUpdateForgetsTouch
                if matches!(write, Write::Update(Update { ttl: None, .. })) =>
            {
                if let Some(first) = self.shared().before_touch.get(key) {
                    entry.expires = *first;
                }
            }
            Defect::SubtleRenewalAddsToTheRest
                if matches!(write, Write::Update(Update { ttl: Some(_), .. })) =>
            {
                entry.expires += TOO_MUCH;
            }
            Defect::SubtleUpdateKeepsTheLonger if is_update => {
                entry.expires = entry.expires.max(before.expires);
            }
            _ => {}
        });
        self.shared().before_touch.remove(key);
        Ok(())
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        let before = self.seen(key);
        let ttl = if self.is(Defect::SubtleTouchDropsFraction) { whole_seconds(ttl) } else { ttl };
        let owned = before.as_ref().is_some_and(|before| before.record.owner.is_some());
        let result = self.inner.touch(key, expected, ttl).await;
        self.removes_late(key, before.as_ref()).await;
        result?;
        if self.is(Defect::SubtleRenewalAddsToTheRest) {
            self.change(key, |entry| entry.expires += TOO_MUCH);
        }
        let first = self.shared().touched.insert((*key, expected));
        if let Some(before) = before {
            let is_undone = self.is(Defect::SubtleTouchWorksOnce) && !first
                || self.is(Defect::SubtleOwnedAreNotTouched) && owned;
            if is_undone {
                self.change(key, |entry| entry.expires = before.expires);
            }
            self.shared().before_touch.entry(*key).or_insert(before.expires);
        }
        Ok(())
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        let before = self.seen(key);
        let only = match (&before, only) {
            (Some(before), Some(only)) if self.is(Defect::SubtleOnlyComparesHighBits) => {
                let found = before.record.revision;
                let same = found.to_u64() >> 8 == only.to_u64() >> 8;
                Some(if same { found } else { only })
            }
            (_, only) => only,
        };
        let was = self.inner.destroy(key, only).await?;
        if was && self.is(Defect::SubtleDestroysSibling) {
            self.inner.destroy(&Self::sibling(key), only).await?;
        }
        if let Some(before) = before.filter(|_| was && self.is(Defect::SubtleSharesPayloads)) {
            let payload = before.record.payload;
            let mut entries = self.inner.entries();
            let same = entries.values_mut().filter(|entry| entry.record.payload == payload);
            same.for_each(|entry| entry.record.payload = Bytes::new());
        }
        Ok(was)
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        if self.is(Defect::SubtleNoLimitIsAll) && limit == 0 {
            return self.inner.gc(usize::MAX).await;
        }
        let removed = self.inner.gc(limit).await?;
        if self.is(Defect::SubtleGcCountsToLimit) && removed > 0 {
            return Ok(limit as u64);
        }
        Ok(removed)
    }
}
