//! A prepared write, which can be sent several times, and a write in doubt.

use std::sync::Arc;
use std::time::Duration;

use super::watch::Watched;
use crate::clock::{Instant, later};
use crate::document::Document;
use crate::{Key, Record, Revision, SessionId};

/// A write that can be sent several times.
pub(crate) struct Prepared {
    pub(crate) target: Target,
    pub(crate) record: Record,
    /// The new life; `None` leaves the expiry unchanged.
    pub(crate) life: Option<NewLife>,
    /// The base of the session after this write.
    pub(crate) document: Document,
    pub(crate) version: Version,
    pub(crate) watched: Watched,
}

/// The life that a write gives to a session.
#[derive(Clone, Copy)]
pub(crate) struct NewLife {
    pub(crate) ttl: Duration,
    /// When the save began. Sending the write again does not change it.
    pub(crate) begins: Instant,
}

/// The record that a write creates or replaces.
pub(crate) enum Target {
    /// A session that is not stored yet.
    Create(Identity),
    /// The stored session, if it still has this revision.
    Update { key: Key, expected: Revision },
    /// A rotation of the stored session, if it still has the expected revision. Boxed, because it
    /// is rare and large.
    Rotate(Box<Rotation>),
}

/// A new id for a stored session.
pub(crate) struct Rotation {
    pub(crate) old: Key,
    pub(crate) expected: Revision,
    /// When the old record expires.
    pub(crate) expires: Instant,
    pub(crate) new: Identity,
    pub(crate) tombstone: Record,
}

/// An id and its key.
#[derive(Clone)]
pub(crate) struct Identity {
    pub(crate) id: SessionId,
    pub(crate) key: Key,
}

/// The state of a session handle at one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    /// A handle has several sessions one after another: each `destroy` begins another one.
    pub(crate) life: u64,
    /// The number of the latest change.
    pub(crate) change: u64,
}

/// A write in doubt: it may have been sent, and its outcome is not known.
#[derive(Clone)]
pub(crate) struct Doubt {
    pub(crate) write: Arc<Prepared>,
    /// For a rotation: the new record was created, and the tombstone may have been written.
    pub(crate) created: bool,
    /// The store answered with a conflict. The write was not carried out, unless a driver sent it
    /// twice; the revision of the record shows which.
    pub(crate) conflicted: bool,
    /// The changes were discarded meanwhile: if the write was not carried out, it is not sent
    /// again.
    pub(crate) discarded: bool,
}

/// A save that waits in a queue for others of the same session.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) key: Key,
    pub(crate) number: u64,
}

impl Prepared {
    /// The ttl for a write that is sent now.
    pub(crate) fn ttl_now(&self) -> Option<Duration> {
        let NewLife { ttl, begins } = self.life?;
        Some(ttl.saturating_sub(begins.elapsed()).max(Duration::from_millis(1)))
    }

    /// The new expiry, if this write changes it.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        self.life.map(|life| later(life.begins, life.ttl))
    }

    /// The new id that this write gives to the session.
    pub(crate) fn new_identity(&self) -> Option<&Identity> {
        match &self.target {
            Target::Create(new) => Some(new),
            Target::Rotate(rotation) => Some(&rotation.new),
            Target::Update { .. } => None,
        }
    }

    /// The key of the record that this write replaces.
    pub(crate) fn stored_key(&self) -> Option<Key> {
        match &self.target {
            Target::Create(_) => None,
            Target::Update { key, .. } => Some(*key),
            Target::Rotate(rotation) => Some(rotation.old),
        }
    }
}

impl From<Arc<Prepared>> for Doubt {
    fn from(write: Arc<Prepared>) -> Self {
        Self { write, created: false, conflicted: false, discarded: false }
    }
}
