//! The records, their expiry and their owners, changed together under one lock.

use std::collections::{BTreeSet, HashMap, HashSet};

use session_core::{Error, Key, Loaded, Owner, Record, Result, Revision};

use crate::Fault;

#[derive(Debug, Clone)]
pub(crate) struct Row {
    pub(crate) record: Record,
    pub(crate) expires_at: u64,
}

impl Row {
    pub(crate) fn loaded(&self, now: u64) -> Option<Loaded> {
        let left = self.expires_at.checked_sub(now).filter(|left| *left > 0)?;
        let expires_in = std::time::Duration::from_millis(left);
        Some(Loaded { record: self.record.clone(), expires_in })
    }
}

#[derive(Debug, Default)]
pub(crate) struct State {
    pub(crate) rows: HashMap<Key, Row>,
    by_expiry: BTreeSet<(u64, Key)>,
    pub(crate) owners: HashMap<Owner, BTreeSet<Key>>,
    /// The keys that an update has locked (`DropLeavesLock`).
    pub(crate) locked: HashSet<Key>,
    /// Successful updates (`RepeatIsRemembered`).
    pub(crate) done: HashSet<(Key, Revision, Revision)>,
    /// The cached rows, and whether a cached row may be served yet.
    pub(crate) cache: HashMap<Key, Row>,
    pub(crate) seen: HashSet<Key>,
}

impl State {
    pub(crate) fn live(&self, key: &Key, now: u64) -> Option<&Row> {
        self.rows.get(key).filter(|row| now < row.expires_at)
    }

    pub(crate) fn put(&mut self, key: Key, row: Row) {
        self.remove(&key);
        self.by_expiry.insert((row.expires_at, key));
        if let Some(owner) = row.record.owner.clone() {
            self.owners.entry(owner).or_default().insert(key);
        }
        self.rows.insert(key, row);
    }

    pub(crate) fn remove(&mut self, key: &Key) -> Option<Row> {
        let row = self.rows.remove(key)?;
        self.by_expiry.remove(&(row.expires_at, *key));
        if let Some(owner) = &row.record.owner
            && let Some(keys) = self.owners.get_mut(owner)
        {
            keys.remove(key);
            if keys.is_empty() {
                self.owners.remove(owner);
            }
        }
        Some(row)
    }

    pub(crate) fn collect(&mut self, limit: usize, now: u64) -> u64 {
        let mut removed = 0;
        for _ in 0..limit {
            match self.by_expiry.first().copied() {
                Some((at, key)) if at <= now => self.remove(&key),
                _ => break,
            };
            removed += 1;
        }
        removed
    }

    /// The live row, if it has the expected revision.
    pub(crate) fn expect(
        &self,
        key: &Key,
        now: u64,
        fault: Fault,
        same: impl Fn(Revision) -> bool,
    ) -> Result<Row> {
        let row = match fault {
            Fault::ExpiredIsConflict => self.rows.get(key),
            _ => self.live(key, now),
        };
        let row = row.ok_or_else(Error::gone)?;
        if !same(row.record.revision) {
            return Err(Error::conflict());
        }
        if row.expires_at <= now {
            return Err(Error::gone());
        }
        Ok(row.clone())
    }

    pub(crate) fn forget_cached(&mut self, key: &Key) {
        self.cache.remove(key);
        self.seen.remove(key);
    }
}
