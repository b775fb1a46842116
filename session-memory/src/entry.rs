//! One session in memory.

use std::sync::Arc;

use session_core::{Bytes, Key, Loaded, Owner, Record, Revision};

use crate::clock::{Moment, until};

/// An entry takes 88 bytes and the payload.
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) content: Content,
    /// The expiry: the first moment at which it is expired.
    pub(crate) expires_at: Moment,
    /// Its moment in the index of the shard: `expires_at` or, after a renewal, an earlier one.
    pub(crate) indexed_at: Moment,
}

impl Entry {
    /// The shard sets the expiry when it stores the entry.
    pub(crate) fn new(key: Key, record: &Record) -> Self {
        Self { key, content: Content::new(record), expires_at: 0, indexed_at: 0 }
    }

    pub(crate) fn is_live(&self, now: Moment) -> bool {
        now < self.expires_at
    }
}

/// The stored form of a record. A clone shares the payload.
#[derive(Clone)]
pub(crate) struct Content {
    /// A copy, because the caller's bytes may be a small part of a large buffer, and would keep all
    /// of it in memory.
    payload: Arc<[u8]>,
    owner: Option<Owner>,
    pub(crate) revision: Revision,
}

impl Content {
    pub(crate) fn new(record: &Record) -> Self {
        Self {
            payload: Arc::from(&record.payload[..]),
            owner: record.owner.clone(),
            revision: record.revision,
        }
    }

    pub(crate) fn owner(&self) -> Option<&Owner> {
        self.owner.as_ref()
    }

    pub(crate) fn into_loaded(self, expires_at: Moment, now: Moment) -> Loaded {
        Loaded {
            record: Record {
                payload: Bytes::from_owner(self.payload),
                revision: self.revision,
                owner: self.owner,
            },
            expires_in: until(expires_at, now),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_its_expiry_it_is_expired() {
        let record = Record { payload: Bytes::new(), revision: Revision::from_u64(1), owner: None };
        let mut entry = Entry::new(Key::from_bytes([1; 32]), &record);
        entry.expires_at = 5;
        assert!(entry.is_live(4));
        assert!(!entry.is_live(5));
    }
}
