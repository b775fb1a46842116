//! The operations, each with its defects.

use std::sync::PoisonError;
use std::time::{Duration, Instant};

use session_core::{
    Backend, Bytes, Capabilities, Error, ErrorKind, Key, Loaded, Owner, Record, Result, Revision,
    Update, Write, async_trait,
};

use super::{Broken, Defect};
use crate::support::reference::{Entry, expected};

/// A pause that is long enough for another task to run.
pub(super) async fn pause() {
    tokio::time::sleep(Duration::from_millis(1)).await;
}

fn lock<T>(mutex: &std::sync::Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Broken {
    pub(super) fn is(&self, defect: Defect) -> bool {
        self.defect == defect
    }

    /// The key that this store uses for this key.
    fn filed(&self, key: &Key) -> Key {
        let mut bytes = *key.as_bytes();
        match self.defect {
            Defect::KeysByPrefix => bytes[8..].fill(0),
            Defect::KeysWithoutCase => bytes.make_ascii_lowercase(),
            Defect::KeysTrimmed => {
                for byte in bytes.iter_mut().rev().take_while(|byte| b" \0\t\n".contains(byte)) {
                    *byte = 0;
                }
            }
            _ => {}
        }
        Key::from_bytes(bytes)
    }

    fn revision(&self, revision: Revision) -> Revision {
        let number = revision.to_u64();
        Revision::from_u64(match self.defect {
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
            #[expect(clippy::cast_precision_loss)]
            Defect::RevisionIsFloat => number as f64 as u64,
            Defect::RevisionHas63Bits => number & (u64::MAX >> 1),
            _ => number,
        })
    }

    /// The record that this store keeps for this record.
    fn kept(&self, record: &Record) -> Result<Record> {
        let payload = &record.payload;
        let name = record.owner.as_ref().map(|owner| owner.as_str().to_owned());
        let payload = match self.defect {
            Defect::LossyUtf8 => String::from_utf8_lossy(payload).into_owned().into(),
            Defect::NulEndsPayload => {
                let end = payload.iter().position(|&byte| byte == 0);
                payload.slice(..end.unwrap_or(payload.len()))
            }
            Defect::PadsPayload => Bytes::from([payload, &b"\0"[..]].concat()),
            Defect::ReformatsJson => match serde_json::from_slice::<serde_json::Value>(payload) {
                Ok(json) => json.to_string().into(),
                Err(_) => payload.clone(),
            },
            Defect::TruncatesAt65535 => payload.slice(..payload.len().min(65_535)),
            Defect::HugePayloadIsCut => payload.slice(..payload.len().min(16 << 20)),
            Defect::HugePayloadIsUnavailable if payload.len() > 16 << 20 => {
                return Err(Error::unavailable("the server closed the connection"));
            }
            Defect::LimitOfOneMebibyte if payload.len() > 1 << 20 => {
                return Err(Error::new(ErrorKind::TooLarge, "1 MiB is enough"));
            }
            _ => payload.clone(),
        };
        let name = match self.defect {
            Defect::DropsOwner => None,
            Defect::FoldsOwner => name.map(|name| name.to_lowercase()),
            Defect::TrimsOwner => name.map(|name| name.trim_end().to_owned()),
            _ => name,
        };
        let owner = name.filter(|name| !name.is_empty()).map(Owner::new).transpose()?;
        Ok(Record { payload, revision: self.revision(record.revision), owner })
    }

    async fn create(&self, key: &Key, record: Record, ttl: Duration) -> Result<()> {
        if self.is(Defect::CreateIsLost) {
            return Ok(());
        }
        if self.is(Defect::TombstoneRefusesCreate) && lock(&self.memory.destroyed).contains(key) {
            return Err(Error::already_exists());
        }
        let expires = self.expiry(ttl)?;
        let exists = {
            let entries = self.store.entries();
            entries
                .get(key)
                .is_some_and(|entry| entry.live() || self.is(Defect::CreateOverExpiredRefused))
        };
        if self.is(Defect::CreateChecksThenWrites) {
            pause().await;
        }
        if exists && !self.is(Defect::CreateOverwrites) {
            return Err(Error::already_exists());
        }
        let mut entries = self.store.entries();
        let again = entries.get(key).is_some_and(Entry::live);
        if again && !self.is(Defect::CreateChecksThenWrites) && !self.is(Defect::CreateOverwrites) {
            return Err(Error::already_exists());
        }
        if self.is(Defect::OneSessionPerOwner) && record.owner.is_some() {
            entries.retain(|_, entry| entry.record.owner != record.owner);
        }
        if self.is(Defect::OneDeadlineForAll) {
            entries.values_mut().for_each(|entry| entry.expires = expires);
        }
        lock(&self.memory.first_expiries).entry(*key).or_insert(expires);
        entries.insert(*key, Entry { record, expires });
        let mut order = lock(&self.memory.order);
        order.push(*key);
        if self.is(Defect::EvictsTheOldest) && order.len() > 500 {
            entries.remove(&order.remove(0));
        }
        Ok(())
    }

    async fn update(&self, key: &Key, mut record: Record, write: Update) -> Result<()> {
        let expires = write.ttl.map(|ttl| self.expiry(ttl)).transpose()?;
        let seen = self.store.entries().get(key).cloned();
        match (&seen, self.defect) {
            (None, Defect::UpdateInserts) => {
                let expires = self.expiry(Duration::from_secs(3600))?;
                self.store.entries().insert(*key, Entry { record, expires });
                return Ok(());
            }
            (None, Defect::UpdateOfMissingIsSilent) => return Ok(()),
            (Some(entry), Defect::UpdateIsSilent) if entry.record.revision == write.expected => {
                return Ok(());
            }
            (Some(entry), Defect::ConflictWrites) if entry.record.revision != write.expected => {
                let expires = entry.expires;
                self.store.entries().insert(*key, Entry { record, expires });
                return Err(Error::conflict());
            }
            (Some(entry), Defect::HugePayloadReplacesAndIsRefused)
                if record.payload.len() > 16 << 20 =>
            {
                let expires = entry.expires;
                record.payload = Bytes::new();
                self.store.entries().insert(*key, Entry { record, expires });
                return Err(Error::new(ErrorKind::TooLarge, "16 MiB is enough"));
            }
            (Some(entry), Defect::CountsChangedRows) if entry.record == record => {
                return Err(Error::gone());
            }
            (Some(entry), Defect::UpdateRevivesExpired) if !entry.live() => {
                let expires = self.expiry(Duration::from_secs(3600))?;
                self.store.entries().insert(*key, Entry { record, expires });
                return Ok(());
            }
            (Some(entry), Defect::UpdateChecksThenWrites) if entry.live() => {
                if entry.record.revision != write.expected {
                    return Err(Error::conflict());
                }
                pause().await;
                let expires = expires.unwrap_or(entry.expires);
                self.store.entries().insert(*key, Entry { record, expires });
                return Ok(());
            }
            _ => {}
        }
        let revision = match (&seen, self.defect) {
            (Some(entry), Defect::UpdateIgnoresRevision) => entry.record.revision,
            _ => self.revision(write.expected),
        };
        if self.is(Defect::WritesInParts) {
            expected(&mut self.store.entries(), key, revision)?.record.payload =
                record.payload.clone();
            pause().await;
        }
        let mut entries = self.store.entries();
        let entry = expected(&mut entries, key, revision)?;
        lock(&self.memory.versions).entry(*key).or_default().push(entry.clone());
        let shrinks = record.payload.len() < entry.record.payload.len();
        entry.expires = match self.defect {
            Defect::UpdateToSmallerKeepsExpiry if shrinks => entry.expires,
            Defect::UpdateRenewsAlways => self.expiry(Duration::from_secs(3600))?,
            Defect::UpdateNeverRenews => entry.expires,
            Defect::UpdateNeverShortens => expires.unwrap_or(entry.expires).max(entry.expires),
            _ => expires.unwrap_or(entry.expires),
        };
        if self.is(Defect::UpdateKeepsTail) && entry.record.payload.len() > record.payload.len() {
            let tail = &entry.record.payload[record.payload.len()..];
            record.payload = Bytes::from([&record.payload, tail].concat());
        }
        let keeps_owner = self.is(Defect::UpdateKeepsOwner)
            || (self.is(Defect::UpdateToSmallerKeepsOwner) && shrinks);
        if keeps_owner {
            record.owner = entry.record.owner.clone();
        }
        entry.record = record.clone();
        if self.is(Defect::UpdateIgnoresKey) {
            let same = entries.values_mut().filter(|entry| entry.record.revision == revision);
            same.for_each(|entry| entry.record = record.clone());
        }
        Ok(())
    }
}

#[async_trait]
impl Backend for Broken {
    fn name(&self) -> &'static str {
        "broken"
    }

    fn capabilities(&self) -> Capabilities {
        let durable = self.is(Defect::ForgetsWhenReopened);
        let expires_natively = self.is(Defect::ClaimsTooMuch);
        Capabilities { durable, expires_natively }
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        let key = self.filed(key);
        let now = Instant::now();
        if let Some(cached) = lock(&self.cache).get(&key) {
            return Ok(Some(cached.clone()));
        }
        let mut entries = self.store.entries();
        let Some(entry) = entries.get_mut(&key).filter(|entry| self.loads(entry, now)) else {
            let empty =
                Record { payload: Bytes::new(), revision: Revision::from_u64(0), owner: None };
            let expires = now + Duration::from_secs(3600);
            return match self.defect {
                Defect::MissingIsAnError => Err(Error::gone()),
                Defect::OlderVersionReturns => Ok(self.older_version(&key, now)),
                Defect::MissingIsEmptyRecord => {
                    Ok(Some(Loaded { record: empty, expires_in: Duration::from_secs(1) }))
                }
                Defect::LoadCreates => {
                    entries.insert(key, Entry { record: empty, expires });
                    Ok(None)
                }
                _ => Ok(None),
            };
        };
        if self.is(Defect::LoadRenews) {
            entry.expires = now + Duration::from_secs(3600);
        }
        if self.is(Defect::EmptyIsMissing) && entry.record.payload.is_empty() {
            return Ok(None);
        }
        let loaded = Loaded { record: entry.record.clone(), expires_in: self.left(entry, now) };
        if self.is(Defect::LoadConsumes) {
            entries.remove(&key);
        }
        if self.is(Defect::CachesPerHandle) {
            lock(&self.cache).insert(key, loaded.clone());
        }
        Ok(Some(loaded))
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let (key, record) = (self.filed(key), self.kept(record)?);
        if let (Defect::BatchEndsWithItsLeader, Write::Update(update)) = (self.defect, write) {
            return self.join_batch(key, record, update).await;
        }
        match write {
            Write::Create { ttl } => self.create(&key, record, ttl).await,
            Write::Update(update) => self.update(&key, record, update).await,
        }
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        let (key, expected) = (self.filed(key), self.revision(expected));
        self.touched(&key, expected, ttl).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        let key = self.filed(key);
        lock(&self.memory.destroyed).insert(key);
        let only =
            only.map(|only| self.revision(only)).filter(|_| !self.is(Defect::DestroyIgnoresOnly));
        if self.is(Defect::DestroyOnlyChecksThenRemoves)
            && let Some(only) = only
        {
            if expected(&mut self.store.entries(), &key, only).is_err() {
                return Ok(false);
            }
            pause().await;
            return self.store.destroy(&key, None).await;
        }
        if self.is(Defect::DestroyIsSilent) {
            return Ok(self.store.entries().get(&key).is_some_and(Entry::live));
        }
        if self.is(Defect::DestroyCountsExpired) && only.is_none() {
            return Ok(self.store.entries().remove(&key).is_some());
        }
        let live = self.store.destroy(&key, only).await?;
        if live {
            lock(&self.memory.versions).remove(&key);
        }
        if self.is(Defect::DestroyClearsAll) {
            self.store.entries().clear();
        }
        Ok((live || self.is(Defect::DestroyAlwaysTrue)) && !self.is(Defect::DestroyAlwaysFalse))
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        self.collect(limit).await
    }
}

impl Broken {
    /// The first save writes for all; if it is dropped, the changes of the others are lost.
    async fn join_batch(&self, key: Key, record: Record, write: Update) -> Result<()> {
        expected(&mut self.store.entries(), &key, write.expected)?;
        let leads = {
            let mut batch = lock(&self.memory.batch);
            batch.push((key, record, write));
            batch.len() == 1
        };
        pause().await;
        if !leads {
            return Ok(());
        }
        let batch = std::mem::take(&mut *lock(&self.memory.batch));
        for (key, record, write) in batch {
            self.update(&key, record, write).await?;
        }
        Ok(())
    }

    pub(super) fn first_expiry(&self, key: &Key) -> Option<Instant> {
        lock(&self.memory.first_expiries).get(key).copied()
    }

    /// Whether an update replaced a record of this revision.
    pub(super) fn replaced(&self, key: &Key, revision: Revision) -> bool {
        lock(&self.memory.versions)
            .get(key)
            .is_some_and(|versions| versions.iter().any(|seen| seen.record.revision == revision))
    }

    /// The newest record that an update replaced and that has not expired.
    fn older_version(&self, key: &Key, now: Instant) -> Option<Loaded> {
        let versions = lock(&self.memory.versions);
        let older = versions.get(key)?.iter().rev().find(|older| now < older.expires)?;
        Some(Loaded { record: older.record.clone(), expires_in: older.expires - now })
    }
}
