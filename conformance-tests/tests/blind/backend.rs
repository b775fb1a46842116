//! The methods of the contract.

use std::time::Duration;

use session_core::{
    Backend, BatchBackend, Capabilities, CreateItem, DestroyItem, Error, Key, Loaded, Record,
    Result, Revision, TouchItem, UpdateItem, Write, async_trait,
};

use super::list::Fault;
use super::store::*;

#[async_trait]
impl Backend for Wrong {
    fn name(&self) -> &'static str {
        "wrong-b"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        let key = self.place(key);
        let (found, now) = self.look(&key);
        let Some(entry) = found else { return Ok(None) };
        if !entry.is_live(now) {
            if self.is(Fault::LateLazyDelete) {
                round_trip().await;
                self.entries().remove(&key);
            }
            return Ok(None);
        }
        let expires_in = Duration::from_millis((entry.expires_at - now).div_ceil(1_000));
        Ok(Some(Loaded { record: entry.record, expires_in }))
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let key = self.place(key);
        let saved = match write {
            Write::Create { ttl } => self.create(key, record, ttl).await,
            Write::Update(update) => self.update(&key, record, update).await,
        };
        self.forget(&key);
        saved
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        let millis = self.renewal(ttl)?;
        let key = self.place(key);
        if self.is(Fault::TouchWritesRecordBack) {
            let copy = self.expect(&mut self.entries(), &key, expected, self.now())?.record.clone();
            round_trip().await;
            let mut entries = self.entries();
            let now = self.now();
            let there = entries.get_mut(&key).filter(|entry| entry.is_live(now));
            *there.ok_or_else(Error::gone)? = Entry::new(copy, after(now, millis));
            return Ok(());
        }
        {
            let mut entries = self.entries();
            let now = self.now();
            let entry = self.expect(&mut entries, &key, expected, now)?;
            let expires_at = after(now, millis);
            if self.is(Fault::TouchToSameExpiryIsGone)
                && entry.expires_at / 1_000 == expires_at / 1_000
            {
                return Err(Error::gone());
            }
            entry.renew(expires_at);
        }
        self.forget(&key);
        Ok(())
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        let key = self.place(key);
        if self.is(Fault::DestroyOnlyLoadsThenDeletes)
            && let Some(revision) = only
        {
            let other = |entry: &Entry| entry.record.revision != revision;
            if self.entries().get(&key).is_none_or(other) {
                return Ok(false);
            }
            round_trip().await;
            return Ok(self.destroy_now(&key, None));
        }
        let destroyed = self.destroy_now(&key, only);
        self.forget(&key);
        Ok(destroyed)
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        let index = self.is(Fault::GcIndexIgnoresUpdate);
        let chunks = self.is(Fault::GcChunksOverrunLimit);
        let select = if chunks { limit.div_ceil(GC_CHUNK) * GC_CHUNK } else { limit };
        let select = if limit <= GC_CHUNK { limit } else { select };
        let selected: Vec<Key> = {
            let mut entries = self.entries();
            let now = self.now();
            let due = |entry: &Entry| match index {
                true => entry.indexed_at <= now,
                false => !entry.is_live(now),
            };
            let selected = entries.iter().filter(|(_, entry)| due(entry)).map(|(key, _)| *key);
            let selected: Vec<Key> = selected.take(select).collect();
            if index {
                selected.iter().for_each(|key| drop(entries.remove(key)));
                return Ok(selected.len() as u64);
            }
            if !self.is(Fault::GcCountsSnapshot) {
                return Ok(remove_expired(&mut entries, &selected, now));
            }
            selected
        };
        round_trip().await;
        remove_expired(&mut self.entries(), &selected, self.now());
        Ok(selected.len() as u64)
    }

    fn batch(&self) -> Option<&dyn BatchBackend> {
        self.is(Fault::DestroyManyInKeyOrder).then_some(self)
    }
}

#[async_trait]
impl BatchBackend for Wrong {
    async fn load_many(&self, keys: &[Key]) -> Vec<Result<Option<Loaded>>> {
        let mut results = Vec::with_capacity(keys.len());
        for key in keys {
            results.push(self.load(key).await);
        }
        results
    }

    async fn create_many(&self, items: &[CreateItem]) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(items.len());
        for item in items {
            results.push(self.save(&item.key, &item.record, Write::Create { ttl: item.ttl }).await);
        }
        results
    }

    async fn update_many(&self, items: &[UpdateItem]) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(items.len());
        for item in items {
            results.push(self.save(&item.key, &item.record, Write::Update(item.update)).await);
        }
        results
    }

    async fn touch_many(&self, items: &[TouchItem]) -> Vec<Result<()>> {
        let mut results = Vec::with_capacity(items.len());
        for item in items {
            results.push(self.touch(&item.key, item.expected, item.ttl).await);
        }
        results
    }

    async fn destroy_many(&self, items: &[DestroyItem]) -> Vec<Result<bool>> {
        let mut sorted = items.to_vec();
        sorted.sort_unstable_by_key(|item| item.key);
        let mut results = Vec::with_capacity(items.len());
        for item in sorted {
            results.push(self.destroy(&item.key, item.only).await);
        }
        results
    }
}
