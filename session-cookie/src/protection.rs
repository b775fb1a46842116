//! The common part of the two algorithms.
//!
//! ```text
//! version          1 byte    1 signed, 2 encrypted: it identifies one algorithm
//! key identifier   4 bytes   which key of the ring; public
//! …                          what the algorithm needs, and the envelope
//! tag              16 or 32 bytes
//! ```
//!
//! The store determines the algorithm, and every key of the ring is tried: the version and the key
//! identifier in a value from a client select nothing. They are compared only after the tag has
//! authenticated them. Otherwise they are only used for the reason in the log.

use std::fmt;
use std::ops::Range;

use session_core::{Error, Result};

use crate::SecretKey;

/// The length of the version byte and the key identifier.
pub(crate) const HEADER_BYTES: usize = 1 + size_of::<KeyId>();

/// Identifies a key and reveals nothing about it.
pub(crate) type KeyId = [u8; 4];

/// One algorithm with its key ring. The first key seals, every key opens.
pub(crate) trait Protection: Send + Sync {
    /// Its name in `Debug`.
    fn name(&self) -> &'static str;

    /// The number of keys in the ring.
    fn keys(&self) -> usize;

    /// The number of bytes that it adds to an envelope.
    fn overhead(&self) -> usize;

    /// Appends the bytes before the envelope.
    fn begin(&self, sealed: &mut Vec<u8>) -> Result<()>;

    /// Protects the bytes of [`begin`](Self::begin) and the envelope, bound to the context.
    fn finish(&self, context: &[u8], sealed: &mut Vec<u8>);

    /// Verifies, in constant time for each key, that a key of the ring sealed these bytes for the
    /// context.
    fn authenticate(&self, context: &[u8], sealed: &mut [u8]) -> Result<Authentic, Refusal>;
}

/// The result of [`Protection::authenticate`].
pub(crate) struct Authentic {
    /// The envelope in plain text.
    pub(crate) envelope: Range<usize>,
    /// The index of its key in the ring.
    pub(crate) key: usize,
}

/// The reason why a value was refused. It is only written to the log.
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

/// The keys, set up for use, and their identifiers.
pub(crate) struct Ring<K> {
    version: u8,
    keys: Vec<(KeyId, K)>,
}

impl<K> Ring<K> {
    /// Derives the keys of one algorithm from its label, so that no key is used for two algorithms.
    ///
    /// # Errors
    /// `InvalidConfig` if the ring is empty or contains a key twice.
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
        // The header is authentic from here on.
        if sealed[0] != self.version {
            return Err(Refusal::OtherVersion);
        }
        if sealed[1..HEADER_BYTES] != self.keys[index].0 {
            return Err(Refusal::UnknownKey);
        }
        Ok(index)
    }

    /// The reason for the log, from the header of a value that no key opens.
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
