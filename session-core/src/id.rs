//! The session id: what the client holds.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;

use crate::Key;

const BYTES: usize = 32;
const CHARS: usize = 43;

/// 256 bits from the operating system's random source: the secret in the client's cookie.
///
/// OWASP ASVS 5 (7.2.3) asks for 128 bits, NIST SP 800-63B-4 (5.1) for 64. In text it is 43
/// characters of unpadded base64url (RFC 4648, section 5). It has no `Display` and a redacted
/// `Debug`, so that it does not reach a log by accident. It has no `PartialEq`: compare [`Key`]s
/// instead, because the time of that comparison reveals nothing about the id.
///
/// ```
/// use session_core::SessionId;
///
/// let id = SessionId::from_bytes([7; 32]); // from a cryptographic random source
/// let cookie = id.expose();
/// let read = SessionId::parse(&cookie).expect("it is the text of an id");
/// assert_eq!(read.key(), id.key());
/// assert_ne!(read.key_for("admin"), id.key());
/// assert_eq!(format!("{id:?}"), "SessionId(..)");
/// ```
#[derive(Clone)]
pub struct SessionId([u8; BYTES]);

impl SessionId {
    /// Reads the text form. Each id has exactly one text form. Anything else (padding, blanks,
    /// another length, other characters, spare bits set) is `None`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        if text.len() != CHARS {
            return None;
        }
        let mut bytes = [0; BYTES];
        // The engine refuses padding and trailing bits that are not zero.
        let written = URL_SAFE_NO_PAD.decode_slice_unchecked(text, &mut bytes);
        (written == Ok(BYTES)).then_some(Self(bytes))
    }

    /// The id of these bytes, which must come from a cryptographic random source. It is for cookie
    /// stores, which read the id back from a sealed value.
    #[must_use]
    pub fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes. They are the secret itself. They are for cookie stores, which seal them.
    #[must_use]
    pub fn expose_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The 43 characters that the client gets. They are the secret itself.
    #[must_use]
    pub fn expose(&self) -> String {
        URL_SAFE_NO_PAD.encode(self.0)
    }

    /// The key of the session in a store without a purpose: the SHA-256 of the 32 bytes.
    #[must_use]
    pub fn key(&self) -> Key {
        self.key_for("")
    }

    /// The key of the session in a store with this [purpose](crate::Config::purpose): the SHA-256 of
    /// the 32 bytes and the purpose.
    #[must_use]
    pub fn key_for(&self, purpose: &str) -> Key {
        Key::digest(&self.0, purpose)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SessionId(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_round_trips() {
        let bytes = std::array::from_fn(|i| u8::try_from(i * 7).unwrap());
        let id = SessionId::from_bytes(bytes);
        assert_eq!(id.expose_bytes(), &bytes);
        let text = id.expose();
        assert_eq!(text.len(), 43);
        assert_eq!(SessionId::parse(&text).unwrap().key(), id.key());
        assert_eq!(id.key_for(""), id.key());
        assert_ne!(id.key_for("admin"), id.key());
    }

    #[test]
    fn only_the_canonical_spelling_is_an_id() {
        let good = SessionId::from_bytes([0xA5; 32]).expose();
        let spare_bits = format!("{}{}", &good[..42], 'V'); // the last character carries 4 bits
        let others = [
            String::new(),
            format!("{good}="),
            format!("{good}A"),
            format!(" {}", &good[1..]),
            format!("{}\0", &good[..42]),
            format!("+{}", &good[1..]),
            format!("/{}", &good[1..]),
            good[..42].to_owned(),
            "é".repeat(21) + "a",
            spare_bits,
        ];
        for other in others {
            assert!(SessionId::parse(&other).is_none(), "{other:?}");
        }
    }

    #[test]
    fn debug_is_redacted() {
        assert_eq!(format!("{:?}", SessionId::from_bytes([7; 32])), "SessionId(..)");
    }
}
