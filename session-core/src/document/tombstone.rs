//! The record that a rotation leaves under the old key.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

use crate::{Error, Key, Result, Revision};

const HEAD: &[u8] = b"{\"v\":1,\"rotated\":";

/// Tells a request with the old id that the session has a new one.
///
/// ```json
/// {"v":1,"rotated":{"at":1790000000000,"key":"64 digits","replaced":"16 digits"}}
/// ```
///
/// It is never loaded as a session. It contains the new key, a digest, so that a sign-out with the
/// old id ends the session.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Tombstone {
    /// Unix time in milliseconds, by the clock of the application server that wrote it.
    pub(crate) at: u64,
    /// The new key of the session.
    pub(crate) key: Key,
    /// The revision that the rotation replaced. The write of that revision was carried out, and its
    /// changes are part of the session under the new key.
    pub(crate) replaced: Revision,
}

#[derive(Serialize, Deserialize)]
struct Wire<'a> {
    v: u64,
    #[serde(borrow)]
    rotated: Rotated<'a>,
}

#[derive(Serialize, Deserialize)]
struct Rotated<'a> {
    at: u64,
    key: &'a str,
    replaced: &'a str,
}

impl Tombstone {
    pub(crate) fn encode(&self) -> Bytes {
        let (key, replaced) = (self.key.to_hex(), format!("{:016x}", self.replaced.to_u64()));
        let rotated = Rotated { at: self.at, key: &key, replaced: &replaced };
        let json = serde_json::to_vec(&Wire { v: 1, rotated });
        json.expect("strings and numbers can be written to memory").into()
    }

    /// `None` for any other payload.
    #[inline]
    pub(super) fn decode(payload: &[u8]) -> Result<Option<Self>> {
        if !payload.starts_with(HEAD) {
            return Ok(None);
        }
        Self::parse(payload).map(Some)
    }

    #[cold]
    fn parse(payload: &[u8]) -> Result<Self> {
        let malformed = || Error::corrupt("the record is not a readable tombstone");
        let Wire { rotated: Rotated { at, key, replaced }, .. } =
            serde_json::from_slice(payload).map_err(|_| malformed())?;
        let key = Key::from_hex(key).ok_or_else(malformed)?;
        let replaced = u64::from_str_radix(replaced, 16).map_err(|_| malformed())?;
        Ok(Self { at, key, replaced: Revision::from_u64(replaced) })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trips_and_differs_from_a_document() {
        for replaced in [0, 1, u64::MAX] {
            let replaced = Revision::from_u64(replaced);
            let key = Key::from_bytes(std::array::from_fn(|i| u8::try_from(i * 8).unwrap()));
            let tombstone = Tombstone { at: 1_790_000_000_000, key, replaced };
            assert_eq!(Tombstone::decode(&tombstone.encode()).unwrap(), Some(tombstone));
        }
        assert_eq!(Tombstone::decode(b"{\"v\":1,\"created\":5,\"data\":{}}").unwrap(), None);
        assert!(Tombstone::decode(b"{\"v\":1,\"rotated\":{}}").is_err());
    }
}
