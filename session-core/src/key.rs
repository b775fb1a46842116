//! The key under which a store keeps a session.

use std::fmt;
use std::hash::{Hash, Hasher};

use sha2::{Digest, Sha256};

/// The SHA-256 of a session id, and of the [purpose](crate::Config::purpose) if there is one.
///
/// Stores see keys only. So nothing in a store, its log or its dump can be used as a cookie, and a
/// client can't choose the bytes of a key. All 32 bytes are significant: two keys that differ in
/// any byte are two sessions.
///
/// ```
/// use session_core::Key;
///
/// let key = Key::from_bytes([0xAB; 32]);
/// assert_eq!(key.to_hex(), "ab".repeat(32));
/// assert_eq!(Key::from_hex(&key.to_hex()), Some(key));
/// ```
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Key([u8; 32]);

impl Key {
    /// The digest of an id for one purpose. An id has a fixed length, so no other pair of id and
    /// purpose has the same bytes.
    pub(crate) fn digest(id: &[u8; 32], purpose: &str) -> Self {
        let digest = match purpose {
            "" => Sha256::digest(id),
            purpose => Sha256::new().chain_update(id).chain_update(purpose).finalize(),
        };
        Self(digest.into())
    }

    /// The prefix that is hashed before the ids of another library's sessions. It is as long as an
    /// id of this library, and no id begins with it, so the keys of both differ.
    pub(crate) fn foreign_prefix(library: &str, purpose: &str) -> [u8; 32] {
        let parts = ["foreign session id", "\0", library, "\0", purpose];
        parts.into_iter().fold(Sha256::new(), Sha256::chain_update).finalize().into()
    }

    pub(crate) fn foreign(prefix: &[u8; 32], id: &[u8]) -> Self {
        Self(Sha256::new().chain_update(prefix).chain_update(id).finalize().into())
    }

    /// The key of an owner's mark in the revocation store of a cookie. A cookie name has no zero byte.
    pub(crate) fn owner_mark(cookie: &str, purpose: &str, owner: &Self) -> Self {
        let cookie = Sha256::new().chain_update("owner mark\0").chain_update(cookie);
        let owner = cookie.chain_update("\0").chain_update(owner.0);
        Self(owner.chain_update(purpose).finalize().into())
    }

    /// The digest of an owner.
    pub(crate) fn owner(name: &str) -> Self {
        Self(Sha256::new().chain_update("session owner\0").chain_update(name).finalize().into())
    }

    /// The key of these bytes, for tests and for tools that read a store.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// 64 lower-case hexadecimal digits, for stores whose keys are text.
    #[must_use]
    pub fn to_hex(&self) -> String {
        const DIGITS: &[u8; 16] = b"0123456789abcdef";
        self.0
            .iter()
            .flat_map(|byte| [byte >> 4, byte & 15])
            .map(|digit| char::from(DIGITS[usize::from(digit)]))
            .collect()
    }

    /// The key of 64 hexadecimal digits; `None` for any other text.
    #[must_use]
    pub fn from_hex(text: &str) -> Option<Self> {
        let (pairs, rest) = text.as_bytes().as_chunks::<2>();
        let mut bytes = [0; 32];
        if pairs.len() != bytes.len() || !rest.is_empty() {
            return None;
        }
        for (byte, pair) in bytes.iter_mut().zip(pairs) {
            let digit = |digit: u8| char::from(digit).to_digit(16);
            *byte = u8::try_from(digit(pair[0])? << 4 | digit(pair[1])?).ok()?;
        }
        Some(Self(bytes))
    }

    /// A name for the key, which tells nothing about it.
    pub(crate) fn reference(&self) -> String {
        let digest =
            Sha256::new().chain_update("session reference").chain_update(self.0).finalize();
        Self(digest.into()).to_hex()[..32].to_owned()
    }

    /// The first eight bytes as a number. It is uniformly distributed, for choosing a shard.
    #[must_use]
    pub fn prefix(&self) -> u64 {
        let [a, b, c, d, e, f, g, h, ..] = self.0;
        u64::from_be_bytes([a, b, c, d, e, f, g, h])
    }
}

/// Eight bytes of a cryptographic digest are as good a hash as all 32.
impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write_u64(self.prefix());
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Key(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hex_is_64_lower_case_digits() {
        let key = Key::from_bytes(std::array::from_fn(|i| u8::try_from(i * 8).unwrap()));
        assert!(key.to_hex().starts_with("0008101820"));
        assert_eq!(key.to_hex().len(), 64);
        assert_eq!(Key::from_hex(&key.to_hex()), Some(key));
        assert_eq!(Key::from_hex("00"), None);
        assert_eq!(Key::from_hex(&"g".repeat(64)), None);
    }
}
