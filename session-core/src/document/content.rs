//! The two kinds of payload: a session and a tombstone.

use bytes::Bytes;

use super::parsed::Document;
use super::tombstone::Tombstone;
use crate::Result;

/// A decoded payload.
pub(crate) enum Content {
    Session(Document),
    /// The session has another id now.
    Tombstone(Tombstone),
}

impl Content {
    #[inline]
    pub(crate) fn decode(payload: Bytes) -> Result<Self> {
        Ok(match Tombstone::decode(&payload)? {
            Some(tombstone) => Self::Tombstone(tombstone),
            None => Self::Session(Document::decode(payload)?),
        })
    }
}
