//! One part of the store: a map of sessions, and the same sessions in the order in which they expire.

use std::collections::BTreeSet;
use std::mem::replace;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;
use session_core::{Error, Key, Result, Revision};

use crate::clock::{Moment, after};
use crate::entry::{Content, Entry};

/// By the hash of the key. It is the key's first eight bytes: a key is a digest, so there is nothing
/// left to mix. The entries are boxed, because half of a table may be empty.
type Sessions = HashTable<Box<Entry>>;
type ByExpiry = BTreeSet<(Moment, Key)>;

/// Its methods run under the lock of the shard. What they remove they return, so that the caller can
/// free it after the lock: freeing a large payload takes longer than the method itself.
#[derive(Default)]
pub(crate) struct Shard {
    sessions: Sessions,
    /// Every session of the map exactly once, at `Entry::indexed_at`.
    ///
    /// A session that is prolonged keeps its place, so a touch costs nothing here. The collector
    /// moves it when the place is due, which happens at most once per life.
    by_expiry: ByExpiry,
}

/// What a create did.
pub(crate) enum Created {
    /// It stored the entry, in the place of an expired one if there was one.
    Stored(#[expect(dead_code, reason = "the caller drops it after the lock")] Option<Box<Entry>>),
    /// It got no place for the entry, and gives it back.
    NoPlace(Box<Entry>),
}

/// The result of one step of a collection.
#[derive(Default)]
pub(crate) struct Collected {
    /// How many sessions were examined.
    pub(crate) examined: usize,
    /// The expired ones, which are not in the shard any more.
    #[expect(clippy::vec_box, reason = "the entries are boxed already")]
    pub(crate) removed: Vec<Box<Entry>>,
}

impl Shard {
    /// The live entry under the key.
    pub(crate) fn get(&self, key: &Key, now: Moment) -> Option<&Entry> {
        let entry = self.sessions.find(key.prefix(), |entry| entry.key == *key)?;
        entry.is_live(now).then_some(entry)
    }

    /// Stores a new entry. A key that is not in the map needs a place, which `take_place` grants.
    pub(crate) fn create(
        &mut self,
        mut entry: Box<Entry>,
        (now, millis): (Moment, u64),
        take_place: impl FnOnce() -> bool,
    ) -> Result<Created> {
        entry.expires_at = after(now, millis);
        entry.indexed_at = entry.expires_at;
        let key = entry.key;
        let indexed = (entry.indexed_at, key);
        let slot =
            self.sessions.entry(key.prefix(), |there| there.key == key, |there| there.key.prefix());
        let expired = match slot {
            Slot::Occupied(there) if there.get().is_live(now) => {
                return Err(Error::already_exists());
            }
            Slot::Occupied(mut expired) => {
                self.by_expiry.remove(&(expired.get().indexed_at, key));
                Some(replace(expired.get_mut(), entry))
            }
            Slot::Vacant(place) if take_place() => {
                place.insert(entry);
                None
            }
            Slot::Vacant(_) => return Ok(Created::NoPlace(entry)),
        };
        self.by_expiry.insert(indexed);
        Ok(Created::Stored(expired))
    }

    /// Replaces the record if it is live and has the expected revision, and renews its life if
    /// `millis` says so. Returns what was there.
    pub(crate) fn update(
        &mut self,
        key: &Key,
        expected: Revision,
        content: Content,
        (now, millis): (Moment, Option<u64>),
    ) -> Result<Content> {
        let there = expect(&mut self.sessions, key, expected, now)?;
        let replaced = replace(&mut there.content, content);
        if let Some(millis) = millis {
            renew(there, &mut self.by_expiry, after(now, millis));
        }
        Ok(replaced)
    }

    /// Gives the live record with the expected revision a new life.
    pub(crate) fn touch(
        &mut self,
        key: &Key,
        expected: Revision,
        (now, millis): (Moment, u64),
    ) -> Result<()> {
        let there = expect(&mut self.sessions, key, expected, now)?;
        renew(there, &mut self.by_expiry, after(now, millis));
        Ok(())
    }

    /// Removes the entry: any expired one, and a live one if it has the revision `only`. Returns it,
    /// and whether it was live.
    pub(crate) fn destroy(
        &mut self,
        key: &Key,
        only: Option<Revision>,
        now: Moment,
    ) -> Option<(Box<Entry>, bool)> {
        let there = self.sessions.find_entry(key.prefix(), |entry| entry.key == *key).ok()?;
        let live = there.get().is_live(now);
        if live && only.is_some_and(|only| only != there.get().content.revision) {
            return None;
        }
        let (removed, _) = there.remove();
        self.by_expiry.remove(&(removed.indexed_at, *key));
        Some((removed, live))
    }

    /// Whether the collector has something to examine.
    pub(crate) fn has_due(&self, now: Moment) -> bool {
        self.by_expiry.first().is_some_and(|(at, _)| *at <= now)
    }

    /// Examines up to `examine` sessions that are due: removes those that expired, at most `remove`,
    /// and indexes anew those that were prolonged.
    pub(crate) fn collect(&mut self, now: Moment, examine: usize, remove: usize) -> Collected {
        let mut collected = Collected::default();
        while collected.examined < examine
            && collected.removed.len() < remove
            && self.has_due(now)
            && let Some((_, key)) = self.by_expiry.pop_first()
        {
            collected.examined += 1;
            let there = self.sessions.find_entry(key.prefix(), |entry| entry.key == key);
            let mut there = there.ok().expect("every indexed session is in the table");
            if there.get().is_live(now) {
                let entry = there.get_mut();
                entry.indexed_at = entry.expires_at;
                self.by_expiry.insert((entry.indexed_at, key));
            } else {
                collected.removed.push(there.remove().0);
            }
        }
        collected
    }

    #[cfg(test)]
    pub(crate) fn assert_consistent(&self) -> usize {
        assert_eq!(self.sessions.len(), self.by_expiry.len());
        for entry in &self.sessions {
            assert!(self.by_expiry.contains(&(entry.indexed_at, entry.key)));
            assert!(entry.indexed_at <= entry.expires_at);
        }
        self.sessions.len()
    }
}

/// The live entry with the expected revision.
fn expect<'a>(
    sessions: &'a mut Sessions,
    key: &Key,
    expected: Revision,
    now: Moment,
) -> Result<&'a mut Entry> {
    match sessions.find_mut(key.prefix(), |entry| entry.key == *key) {
        Some(entry) if !entry.is_live(now) => Err(Error::gone()),
        Some(entry) if entry.content.revision != expected => Err(Error::conflict()),
        Some(entry) => Ok(entry),
        None => Err(Error::gone()),
    }
}

/// A shorter life must be found in time, so its place changes; a longer one keeps its place.
fn renew(entry: &mut Entry, by_expiry: &mut ByExpiry, expires_at: Moment) {
    if expires_at < entry.indexed_at {
        by_expiry.remove(&(entry.indexed_at, entry.key));
        by_expiry.insert((expires_at, entry.key));
        entry.indexed_at = expires_at;
    }
    entry.expires_at = expires_at;
}
