//! HMAC-SHA256: the client can read its session, but not change it.

use hmac::{Hmac, KeyInit as _, Mac as _};
use session_core::Result;
use sha2::Sha256;

use crate::SecretKey;
use crate::protection::{Authentic, HEADER_BYTES, Protection, Refusal, Ring};

const VERSION: u8 = 1;
const TAG_BYTES: usize = 32;

/// Each key is an HMAC state that has already processed the key, which saves two blocks of SHA-256
/// for each value.
pub(crate) struct Signed(Ring<Hmac<Sha256>>);

impl Signed {
    pub(crate) fn new(keys: &[SecretKey]) -> Result<Self> {
        let label = "session-cookie 1 HMAC-SHA256";
        Ring::new(VERSION, label, keys, |key| {
            Hmac::new_from_slice(key).expect("HMAC takes keys of any length")
        })
        .map(Self)
    }
}

impl Protection for Signed {
    fn name(&self) -> &'static str {
        "HMAC-SHA256"
    }

    fn keys(&self) -> usize {
        self.0.len()
    }

    fn overhead(&self) -> usize {
        HEADER_BYTES + TAG_BYTES
    }

    fn begin(&self, sealed: &mut Vec<u8>) -> Result<()> {
        self.0.write_header(sealed);
        Ok(())
    }

    fn finish(&self, context: &[u8], sealed: &mut Vec<u8>) {
        let tag = mac(self.0.first(), context, sealed).finalize();
        sealed.extend_from_slice(&tag.into_bytes());
    }

    fn authenticate(&self, context: &[u8], sealed: &mut [u8]) -> Result<Authentic, Refusal> {
        if sealed.len() < self.overhead() {
            return Err(Refusal::TooShort);
        }
        let end = sealed.len() - TAG_BYTES;
        let key = self.0.find(sealed, |key, sealed| {
            let (message, tag) = sealed.split_at(end);
            mac(key, context, message).verify_slice(tag).is_ok() // in constant time
        })?;
        Ok(Authentic { envelope: HEADER_BYTES..end, key })
    }
}

/// The context contains its own length, so no two pairs of context and message have the same bytes.
fn mac(key: &Hmac<Sha256>, context: &[u8], message: &[u8]) -> Hmac<Sha256> {
    key.clone().chain_update(context).chain_update(message)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An authentic value with another version or key identifier. Only this crate can make it.
    fn sealed_with_header(signed: &Signed, change: impl Fn(&mut [u8])) -> Vec<u8> {
        let mut sealed = Vec::new();
        signed.begin(&mut sealed).unwrap();
        change(&mut sealed);
        sealed.extend_from_slice(b"envelope");
        signed.finish(b"context", &mut sealed);
        sealed
    }

    #[test]
    fn version_and_key_identifier_count_even_under_a_valid_mac() {
        let keys = [SecretKey::generate().unwrap(), SecretKey::generate().unwrap()];
        let signed = Signed::new(&keys).unwrap();
        let open = |change: &dyn Fn(&mut [u8])| {
            let mut sealed = sealed_with_header(&signed, change);
            signed.authenticate(b"context", &mut sealed).map(|authentic| authentic.key)
        };
        assert_eq!(open(&|_| {}), Ok(0));
        assert_eq!(open(&|header| header[0] = 2), Err(Refusal::OtherVersion));
        assert_eq!(open(&|header| header[1] ^= 1), Err(Refusal::UnknownKey));
        let second = signed.0.id_of(1);
        assert_eq!(
            open(&|header| header[1..].copy_from_slice(&second)),
            Err(Refusal::UnknownKey),
            "the identifier of another key of the ring"
        );
    }
}
