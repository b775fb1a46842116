//! One session in memory.

use std::sync::Arc;

use session_core::{Bytes, Key, Loaded, Owner, Record, Revision};

use crate::clock::{Moment, until};

/// 88 bytes and the payload.
pub(crate) struct Entry {
    pub(crate) key: Key,
    pub(crate) content: Content,
    /// The first moment at which it is expired.
    pub(crate) expires_at: Moment,
    /// Where the shard's index has it: at `expires_at` or, after it was prolonged, earlier.
    pub(crate) indexed_at: Moment,
}

impl Entry {
    /// Its life is given to it when it is stored.
    pub(crate) fn new(key: Key, record: &Record) -> Self {
        Self { key, content: Content::new(record), expires_at: 0, indexed_at: 0 }
    }

    pub(crate) fn is_live(&self, now: Moment) -> bool {
        now < self.expires_at
    }
}

/// A record as it is kept. A clone shares the payload.
#[derive(Clone)]
pub(crate) struct Content {
    /// A copy of its own: the caller's bytes may be a small part of a large buffer, and would keep
    /// all of it in memory.
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
