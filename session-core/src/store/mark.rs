//! The marks in a revocation store.

use std::time::Duration;

use crate::Loaded;
use crate::clock::unix_millis;
use crate::document::{Content, Tombstone};

/// The rotation that created this mark; `None` for the mark of a logout.
pub(super) fn rotation_of(mark: &Loaded) -> Option<Tombstone> {
    match Content::decode(mark.record.payload.clone()) {
        Ok(Content::Tombstone(rotation)) => Some(rotation),
        _ => None,
    }
}

/// How long ago a rotation was, by the clocks of the application servers.
pub(super) fn age_of(rotation: &Tombstone) -> Duration {
    Duration::from_millis(unix_millis().saturating_sub(rotation.at))
}
