//! What the two algorithms have in common.
//!
//! ```text
//! version          1 byte    1 signed, 2 encrypted: it stands for exactly one algorithm
//! key identifier   4 bytes   which key of the ring; public
//! …                          what the algorithm needs, and the envelope
//! tag              16 or 32 bytes
//! ```
//!
//! The store, not the value, says which algorithm is used, and every key of the ring is tried: the
//! version and the key identifier that a client sends choose nothing. They are compared once the tag
//! has proven them authentic, and beyond that they only tell a log why a value was refused.

use std::fmt;
use std::ops::Range;

use session_core::{Error, Result};

use crate::SecretKey;

/// The version byte and the key identifier.
pub(crate) const HEADER_BYTES: usize = 1 + size_of::<KeyId>();

/// Names a key without telling anything about it.
pub(crate) type KeyId = [u8; 4];

/// One algorithm with its key ring. The first key seals, every key opens.
pub(crate) trait Protection: Send + Sync {
    /// Its name in `Debug`.
    fn name(&self) -> &'static str;

    /// How many keys are in the ring.
    fn keys(&self) -> usize;

    /// How many bytes it adds to an envelope.
    fn overhead(&self) -> usize;

    /// Appends what stands before the envelope.
    fn begin(&self, sealed: &mut Vec<u8>) -> Result<()>;

    /// Protects what [`begin`](Self::begin) and the envelope have become, bound to the context.
    fn finish(&self, context: &[u8], sealed: &mut Vec<u8>);

    /// Finds out, in constant time for each key, whether a key of the ring sealed this for the
    /// context.
    fn authenticate(&self, context: &[u8], sealed: &mut [u8]) -> Result<Authentic, Refusal>;
}

/// What [`Protection::authenticate`] found.
pub(crate) struct Authentic {
    /// The envelope, in clear.
    pub(crate) envelope: Range<usize>,
    /// Which key sealed it: an index into the ring.
    pub(crate) key: usize,
}

/// Why a value was not opened. Nobody but the log of the application learns it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refusal {
    TooLong,
    NotBase64,
    TooShort,
    NotAuthentic,
    OtherVersion,
    UnknownKey,
    Expired,
}

impl Refusal {
    /// The reason, for the log.
    pub(crate) fn reason(self) -> &'static str {
        match self {
            Self::TooLong => "longer than any cookie",
            Self::NotBase64 => "not canonical base64url",
            Self::TooShort => "too short",
            Self::NotAuthentic => "not authentic: changed, or sealed for another cookie or purpose",
            Self::OtherVersion => "not authentic: of another version or algorithm",
            Self::UnknownKey => "not authentic: sealed with a key that is not in the ring",
            Self::Expired => "expired",
        }
    }
}

/// The keys, each ready for use, and their identifiers.
pub(crate) struct Ring<K> {
    version: u8,
    keys: Vec<(KeyId, K)>,
}

impl<K> Ring<K> {
    /// Derives the keys of one algorithm, which its label names, so that no key is ever used in two.
    ///
    /// # Errors
    /// `InvalidConfig` when there is no key, or one twice.
    pub(crate) fn new(
        version: u8,
        label: &str,
        keys: &[SecretKey],
        prepare: impl Fn(&[u8; 32]) -> K,
    ) -> Result<Self> {
        let mut ring = Self { version, keys: Vec::with_capacity(keys.len()) };
        for key in keys {
            let id = *key
                .derive("session-cookie key identifier")
                .first_chunk()
                .expect("32 bytes begin with 4");
            if ring.keys.iter().any(|(other, _)| *other == id) {
                return Err(Error::invalid_config("a key is in the key ring twice"));
            }
            ring.keys.push((id, prepare(&key.derive(label))));
        }
        if ring.keys.is_empty() {
            return Err(Error::invalid_config(format!(
                "the key ring is empty; {}",
                SecretKey::ADVICE
            )));
        }
        Ok(ring)
    }

    pub(crate) fn len(&self) -> usize {
        self.keys.len()
    }

    /// The key that seals.
    pub(crate) fn first(&self) -> &K {
        &self.keys[0].1
    }

    #[cfg(test)]
    pub(crate) fn id_of(&self, index: usize) -> KeyId {
        self.keys[index].0
    }

    /// Appends the header of a value that the first key seals.
    pub(crate) fn write_header(&self, sealed: &mut Vec<u8>) {
        sealed.push(self.version);
        sealed.extend_from_slice(&self.keys[0].0);
    }

    /// The index of the key for which `verify` holds.
    pub(crate) fn find(
        &self,
        sealed: &mut [u8],
        mut verify: impl FnMut(&K, &mut [u8]) -> bool,
    ) -> Result<usize, Refusal> {
        let found = self.keys.iter().position(|(_, key)| verify(key, sealed));
        let Some(index) = found else {
            return Err(self.diagnose(sealed));
        };
        // Now it is known that a key of this ring wrote these bytes.
        if sealed[0] != self.version {
            return Err(Refusal::OtherVersion);
        }
        if sealed[1..HEADER_BYTES] != self.keys[index].0 {
            return Err(Refusal::UnknownKey);
        }
        Ok(index)
    }

    /// What a value that no key opens claims to be. It is refused anyway; this is for the log.
    fn diagnose(&self, sealed: &[u8]) -> Refusal {
        if sealed[0] != self.version {
            Refusal::OtherVersion
        } else if self.keys.iter().all(|(id, _)| sealed[1..HEADER_BYTES] != *id) {
            Refusal::UnknownKey
        } else {
            Refusal::NotAuthentic
        }
    }
}

impl<K> fmt::Debug for Ring<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ring")
            .field("version", &self.version)
            .field("keys", &self.keys.len())
            .finish()
    }
}
