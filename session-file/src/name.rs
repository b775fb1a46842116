//! The names in a bucket, which is one of the 256 sub-directories.

use session_core::Key;

/// The only temporary file of a bucket. It belongs to the writer that has the lock, so the file of
/// a dead process can be recognized.
pub(crate) const TEMPORARY: &str = ".tmp";

/// The bucket of a key.
pub(crate) fn bucket_of(key: &Key) -> u8 {
    key.as_bytes()[0]
}

/// The meaning of a name in a bucket.
pub(crate) enum Name {
    Record(Key),
    Temporary,
    Foreign,
}

impl Name {
    pub(crate) fn parse(name: &str, bucket: u8) -> Self {
        if name == TEMPORARY {
            return Self::Temporary;
        }
        match parse_key(name) {
            Some(key) if bucket_of(&key) == bucket => Self::Record(key),
            _ => Self::Foreign,
        }
    }
}

/// Accepts only the form that [`Key::to_hex`] returns.
pub(crate) fn parse_key(name: &str) -> Option<Key> {
    let digits = name.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        *byte = digit(pair[0])? << 4 | digit(pair[1])?;
    }
    Some(Key::from_bytes(bytes))
}

fn digit(character: u8) -> Option<u8> {
    match character {
        b'0'..=b'9' => Some(character - b'0'),
        b'a'..=b'f' => Some(character - b'a' + 10),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hex_key_in_its_own_bucket_is_a_session() {
        let key = Key::from_bytes([0xAB; 32]);
        let name = key.to_hex();
        assert!(matches!(Name::parse(&name, 0xAB), Name::Record(k) if k == key));
        assert!(matches!(Name::parse(".tmp", 0xAB), Name::Temporary));
        for (foreign, bucket) in [
            (name.as_str(), 0xAC),
            (&name.to_uppercase(), 0xAB),
            (&name[1..], 0xAB),
            (&format!("{name}0"), 0xAB),
            ("notes.txt", 0xAB),
            ("..", 0xAB),
        ] {
            assert!(matches!(Name::parse(foreign, bucket), Name::Foreign), "{foreign}");
        }
    }
}
