//! A write, ready to be sent and to be sent again, and a write whose outcome is not known.

use std::sync::Arc;
use std::time::Duration;

use crate::clock::{Instant, later};
use crate::document::Document;
use crate::{Key, Record, Revision, SessionId};

/// A write, ready to be sent and to be sent again.
pub(crate) struct Prepared {
    pub(crate) target: Target,
    pub(crate) record: Record,
    /// The new life, or `None`: the expiry stays where it is.
    pub(crate) life: Option<NewLife>,
    /// What the session is based on once this was written.
    pub(crate) document: Document,
    pub(crate) version: Version,
}

/// A life that a write gives to a session.
#[derive(Clone, Copy)]
pub(crate) struct NewLife {
    pub(crate) ttl: Duration,
    /// With the request, not with its last repetition.
    pub(crate) begins: Instant,
}

/// Where a write goes.
pub(crate) enum Target {
    /// A session that is not stored yet.
    Create(Identity),
    /// The stored session, if it still has this revision.
    Update { key: Key, expected: Revision },
    /// A new id for the stored session, if it still has the expected revision. Boxed, because it is
    /// rare and large.
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

/// How far a session had come at one moment.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Version {
    /// Which of the sessions that this handle has had: `destroy` begins another one.
    pub(crate) life: u64,
    /// The number of the latest change.
    pub(crate) change: u64,
}

/// A write that was sent, or may have been, and whose outcome is not known.
#[derive(Clone)]
pub(crate) struct Doubt {
    pub(crate) write: Arc<Prepared>,
    /// A rotation: its new record was created, and the tombstone may have been written.
    pub(crate) created: bool,
    /// The store answered with a conflict, so that it was not carried out, unless a driver had sent it
    /// twice: the record tells.
    pub(crate) conflicted: bool,
    /// Its changes were discarded meanwhile: if it was not carried out, it is not sent again.
    pub(crate) discarded: bool,
}

/// A save that waits in a queue for others of the same session.
#[derive(Clone, Copy)]
pub(crate) struct Ticket {
    pub(crate) key: Key,
    pub(crate) number: u64,
}

impl Prepared {
    /// The life that is left to give, for a write that is sent now.
    pub(crate) fn ttl_now(&self) -> Option<Duration> {
        let NewLife { ttl, begins } = self.life?;
        Some(ttl.saturating_sub(begins.elapsed()).max(Duration::from_millis(1)))
    }

    /// When the session expires, if this write changes it.
    pub(super) fn expires_at(&self) -> Option<Instant> {
        self.life.map(|life| later(life.begins, life.ttl))
    }

    /// The id that this write gives to the session.
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
