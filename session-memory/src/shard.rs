//! One part of the store: a map of sessions, and an index by expiry.

use std::collections::BTreeSet;
use std::mem::replace;

use hashbrown::HashTable;
use hashbrown::hash_table::Entry as Slot;
use session_core::{Error, Key, Result, Revision};

use crate::clock::{Moment, after};
use crate::entry::{Content, Entry};

/// The hash is the first eight bytes of the key, which is a digest. The entries are boxed, because
/// half of a table may be empty.
type Sessions = HashTable<Box<Entry>>;
type ByExpiry = BTreeSet<(Moment, Key)>;

/// The methods run under the lock of the shard. They return the entries that they remove, so that
/// the caller drops them after the lock: freeing a large payload takes longer than the method
/// itself.
#[derive(Default)]
pub(crate) struct Shard {
    sessions: Sessions,
    /// Contains every session of the map exactly once, at `Entry::indexed_at`.
    ///
    /// A renewed session keeps its place, so a renewal does not change the index. The collection
    /// moves the session when its place is due, which happens at most once per life.
    by_expiry: ByExpiry,
}

/// The result of a create.
pub(crate) enum Created {
    /// The entry was stored. Contains the expired entry that it replaced, if any.
    Stored(Option<Box<Entry>>),
    /// There was no place for the entry, which is returned.
    NoPlace(Box<Entry>),
}

/// The result of one step of a collection.
#[derive(Default)]
pub(crate) struct Collected {
    /// How many sessions were examined.
    pub(crate) examined: usize,
    /// The expired entries, which were removed from the shard.
    #[expect(clippy::vec_box, reason = "the entries are boxed already")]
    pub(crate) removed: Vec<Box<Entry>>,
}

impl Shard {
    /// The live entry under the key.
    pub(crate) fn get(&self, key: &Key, now: Moment) -> Option<&Entry> {
        let entry = self.sessions.find(key.prefix(), |entry| entry.key == *key)?;
        entry.is_live(now).then_some(entry)
    }

    /// Stores a new entry. If its key is not in the map, `take_place` has to grant a place.
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

    /// Replaces the record if it is live and has the expected revision, and sets a new life if
    /// `millis` is set. Returns the old record.
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

    /// Removes an expired entry, or a live one if it has the revision `only`. Returns it, and
    /// whether it was live.
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

    /// Whether there is a session to examine.
    pub(crate) fn has_due(&self, now: Moment) -> bool {
        self.by_expiry.first().is_some_and(|(at, _)| *at <= now)
    }

    /// Examines up to `examine` due sessions: removes the expired ones, at most `remove`, and
    /// updates the place of the renewed ones.
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

    /// How many sessions have an owner.
    #[cfg(test)]
    pub(crate) fn owned(&self) -> usize {
        self.sessions.iter().filter(|entry| entry.content.owner().is_some()).count()
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

/// An earlier expiry must be collected in time, so the place changes. With a later one the place
/// remains.
fn renew(entry: &mut Entry, by_expiry: &mut ByExpiry, expires_at: Moment) {
    if expires_at < entry.indexed_at {
        by_expiry.remove(&(entry.indexed_at, entry.key));
        by_expiry.insert((expires_at, entry.key));
        entry.indexed_at = expires_at;
    }
    entry.expires_at = expires_at;
}
