//! One session in memory.

use std::mem::swap;
use std::sync::Arc;

use session_core::{Bytes, Key, Loaded, Owner, Record, Revision};

use crate::clock::{Moment, until};

/// 88 bytes and the payload.
pub(crate) struct Entry {
    pub(crate) key: Key,
    /// A copy of its own: the caller's bytes may be a small part of a large buffer, and would keep
    /// all of it in memory.
    payload: Arc<[u8]>,
    pub(crate) owner: Option<Owner>,
    pub(crate) revision: Revision,
    /// The first moment at which it is expired.
    pub(crate) expires_at: Moment,
    /// Where the shard's index has it: at `expires_at` or, after it was prolonged, earlier.
    pub(crate) indexed_at: Moment,
}

impl Entry {
    pub(crate) fn new(key: Key, record: &Record) -> Self {
        Self {
            key,
            payload: Arc::from(&record.payload[..]),
            owner: record.owner.clone(),
            revision: record.revision,
            expires_at: 0,
            indexed_at: 0,
        }
    }

    /// Takes the record of `other` and keeps its own life. Returns the record that it had.
    #[must_use = "it is to be freed after the lock"]
    pub(crate) fn replace_record(&mut self, mut other: Self) -> Self {
        swap(&mut self.payload, &mut other.payload);
        swap(&mut self.owner, &mut other.owner);
        swap(&mut self.revision, &mut other.revision);
        other
    }

    pub(crate) fn is_live(&self, now: Moment) -> bool {
        now < self.expires_at
    }

    /// A view that does not change when the entry does. Only the owner is copied.
    pub(crate) fn view(&self) -> View {
        View {
            payload: Arc::clone(&self.payload),
            owner: self.owner.clone(),
            revision: self.revision,
            expires_at: self.expires_at,
        }
    }
}

/// What a load takes out of the map while it holds the shard's lock.
pub(crate) struct View {
    payload: Arc<[u8]>,
    owner: Option<Owner>,
    revision: Revision,
    expires_at: Moment,
}

impl View {
    pub(crate) fn into_loaded(self, now: Moment) -> Loaded {
        Loaded {
            record: Record {
                payload: Bytes::from_owner(self.payload),
                revision: self.revision,
                owner: self.owner,
            },
            expires_in: until(self.expires_at, now),
        }
    }
}
