//! One session as it lies in memory.

use std::mem::swap;
use std::sync::Arc;

use session_core::{Bytes, Loaded, Owner, Record, Revision};

use crate::clock::{Moment, until};

/// 56 bytes and the payload.
pub(crate) struct Entry {
    /// An own copy: the bytes that a caller hands over may be a small part of a large buffer, which
    /// they would keep alive for as long as the session lives.
    payload: Arc<[u8]>,
    pub(crate) owner: Option<Owner>,
    pub(crate) revision: Revision,
    pub(crate) deadline: Moment,
    /// Where `Deadlines` has filed the session: at its deadline or, after it was prolonged, before.
    pub(crate) filed: Moment,
}

impl Entry {
    pub(crate) fn new(record: &Record) -> Self {
        Self {
            payload: Arc::from(&record.payload[..]),
            owner: record.owner.clone(),
            revision: record.revision,
            deadline: 0,
            filed: 0,
        }
    }

    /// Takes the other's record, gives its own for it, and keeps its own life.
    #[must_use = "it is freed after the lock"]
    pub(crate) fn replace_record(&mut self, mut other: Self) -> Self {
        swap(&mut self.payload, &mut other.payload);
        swap(&mut self.owner, &mut other.owner);
        swap(&mut self.revision, &mut other.revision);
        other
    }

    pub(crate) fn is_live(&self, now: Moment) -> bool {
        now < self.deadline
    }

    /// A view of a live entry that stays whole when the entry changes. Nothing is copied but the
    /// owner.
    pub(crate) fn view(&self) -> View {
        View {
            payload: Arc::clone(&self.payload),
            owner: self.owner.clone(),
            revision: self.revision,
            deadline: self.deadline,
        }
    }
}

/// What a load takes out of the map while it holds the shard's lock.
pub(crate) struct View {
    payload: Arc<[u8]>,
    owner: Option<Owner>,
    revision: Revision,
    deadline: Moment,
}

impl View {
    pub(crate) fn into_loaded(self, now: Moment) -> Loaded {
        Loaded {
            record: Record {
                payload: Bytes::from_owner(self.payload),
                revision: self.revision,
                owner: self.owner,
            },
            expires_in: until(self.deadline, now),
        }
    }
}
