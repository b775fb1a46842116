//! The keys of each owner.

use std::collections::hash_map::RandomState;
use std::collections::{BTreeSet, HashMap};
use std::hash::BuildHasher as _;
use std::ops::Bound;
use std::sync::{Mutex, MutexGuard, PoisonError};

use session_core::{Key, Owner};

const SHARDS: usize = 16;

type Keys = HashMap<Owner, BTreeSet<Key>>;

/// An index of the sessions by owner. It is changed while the lock of the session's shard is held, so it
/// always agrees with the sessions. Its own locks are taken last.
#[derive(Default)]
pub(crate) struct Owners {
    shards: [Mutex<Keys>; SHARDS],
    hasher: RandomState,
}

impl Owners {
    /// The session under the key had one owner and has another one now.
    pub(crate) fn change(&self, key: &Key, before: Option<&Owner>, after: Option<&Owner>) {
        if before == after {
            return;
        }
        if let Some(owner) = after {
            self.shard(owner).entry(owner.clone()).or_default().insert(*key);
        }
        if let Some(owner) = before {
            let mut shard = self.shard(owner);
            let keys = shard.get_mut(owner).expect("every owner of a session is in the index");
            keys.remove(key);
            if keys.is_empty() {
                shard.remove(owner);
            }
        }
    }

    /// Up to `limit` keys in ascending order, after this one.
    pub(crate) fn keys_of(&self, owner: &Owner, after: Option<&Key>, limit: usize) -> Vec<Key> {
        let from = after.map_or(Bound::Unbounded, Bound::Excluded);
        let shard = self.shard(owner);
        let keys = shard.get(owner).into_iter();
        keys.flat_map(|keys| keys.range((from, Bound::Unbounded))).take(limit).copied().collect()
    }

    #[cfg(test)]
    pub(crate) fn len(&self) -> usize {
        self.shards
            .iter()
            .flat_map(|shard| lock(shard).values().map(BTreeSet::len).collect::<Vec<_>>())
            .sum()
    }

    fn shard(&self, owner: &Owner) -> MutexGuard<'_, Keys> {
        let hash = self.hasher.hash_one(owner);
        lock(&self.shards[usize::from(hash.to_be_bytes()[0]) % SHARDS])
    }
}

/// No code panics while it holds a lock, but for a broken invariant.
fn lock(shard: &Mutex<Keys>) -> MutexGuard<'_, Keys> {
    shard.lock().unwrap_or_else(PoisonError::into_inner)
}
