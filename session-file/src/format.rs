//! The format of a session's file.
//!
//! | bytes | content (numbers are little-endian) |
//! |---|---|
//! | 0..7 | `session` |
//! | 7 | version of the format: 1 |
//! | 8..16 | expiry, milliseconds since 1970 |
//! | 16..20 | CRC-32 of the key and bytes 8..16 |
//! | 20..24 | CRC-32 of the key and bytes 24..48 |
//! | 24..32 | revision |
//! | 32..40 | length of the payload |
//! | 40..44 | CRC-32 of the body |
//! | 44 | length of the owner; 0: none |
//! | 45..48 | zero |
//! | 48.. | the body: owner, then payload |
//!
//! The expiry has its own checksum: a touch overwrites only these twelve bytes, in place. A reader
//! takes no lock, so it may read them half written, which the checksum detects. The checksums cover
//! the key, so that a file under the name of another session is not a record.

use crc32fast::Hasher;
use session_core::{Bytes, Key, Owner, Record, Revision};

/// The length of the header.
pub(crate) const HEADER: usize = 48;
/// The offset of the bytes that a touch overwrites.
pub(crate) const EXPIRY_OFFSET: u64 = 8;

const MAGIC: &[u8; 8] = b"session\x01";

/// The fields of the header.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Header {
    /// Milliseconds since 1970.
    pub(crate) expires_at: u64,
    pub(crate) revision: Revision,
    payload_len: u64,
    body_check: u32,
    owner_len: u8,
}

/// The reason why bytes are not a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Invalid {
    /// The expiry does not match its checksum. Without the lock, a touch may be in progress; with
    /// the lock, the file is damaged.
    Expiry,
    /// Any other reason, as a message.
    Damaged(&'static str),
}

impl Invalid {
    pub(crate) fn words(self) -> &'static str {
        match self {
            Self::Expiry => "its expiry is damaged",
            Self::Damaged(words) => words,
        }
    }
}

/// The content of a file.
pub(crate) fn encode(key: &Key, record: &Record, expires_at: u64) -> Vec<u8> {
    let owner = record.owner.as_ref().map_or("", Owner::as_str).as_bytes();
    let mut file = Vec::with_capacity(HEADER + owner.len() + record.payload.len());
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&expiry_field(key, expires_at));
    file.extend_from_slice(&[0; 4]);
    file.extend_from_slice(&record.revision.to_u64().to_le_bytes());
    file.extend_from_slice(&(record.payload.len() as u64).to_le_bytes());
    file.extend_from_slice(&check(&[owner, &record.payload]).to_le_bytes());
    file.push(u8::try_from(owner.len()).expect("an owner has at most 255 bytes"));
    file.extend_from_slice(&[0; 3]);
    let header_check = check(&[key.as_bytes(), &file[24..HEADER]]);
    file[20..24].copy_from_slice(&header_check.to_le_bytes());
    file.extend_from_slice(owner);
    file.extend_from_slice(&record.payload);
    file
}

/// The bytes that give a record this expiry.
pub(crate) fn expiry_field(key: &Key, expires_at: u64) -> [u8; 12] {
    let mut field = [0; 12];
    let (number, its_check) = field.split_at_mut(8);
    number.copy_from_slice(&expires_at.to_le_bytes());
    its_check.copy_from_slice(&check(&[key.as_bytes(), number]).to_le_bytes());
    field
}

/// Reads the header of the file of this key.
pub(crate) fn parse_header(key: &Key, file: &[u8]) -> Result<Header, Invalid> {
    if file.is_empty() {
        return Err(Invalid::Damaged("it is empty"));
    }
    let Some(header) = file.first_chunk::<HEADER>() else {
        return Err(Invalid::Damaged("it is shorter than a header"));
    };
    if header[..8] != MAGIC[..] {
        return Err(Invalid::Damaged("it is of another kind or version"));
    }
    if u32_at(header, 20) != check(&[key.as_bytes(), &header[24..]]) || header[45..] != [0; 3] {
        return Err(Invalid::Damaged("its header is damaged or of another session"));
    }
    if u32_at(header, 16) != check(&[key.as_bytes(), &header[8..16]]) {
        return Err(Invalid::Expiry);
    }
    Ok(Header {
        expires_at: u64_at(header, 8),
        revision: Revision::from_u64(u64_at(header, 24)),
        payload_len: u64_at(header, 32),
        body_check: u32_at(header, 40),
        owner_len: header[44],
    })
}

impl Header {
    /// The length that the file must have.
    pub(crate) fn file_len(&self) -> u64 {
        (HEADER as u64 + u64::from(self.owner_len)).saturating_add(self.payload_len)
    }

    /// The owner, from the first bytes of the file. They are not checked: a damaged name leads to no
    /// entry of the owner index.
    pub(crate) fn owner(&self, file: &[u8]) -> Option<Owner> {
        let name = file.get(HEADER..HEADER + usize::from(self.owner_len))?;
        parse_owner(name).filter(|_| self.owner_len > 0)
    }

    /// Reads the record from the content of the file.
    pub(crate) fn parse_record(&self, file: Vec<u8>) -> Result<Record, Invalid> {
        match (file.len() as u64).cmp(&self.file_len()) {
            std::cmp::Ordering::Less => return Err(Invalid::Damaged("it is truncated")),
            std::cmp::Ordering::Greater => return Err(Invalid::Damaged("it has grown")),
            std::cmp::Ordering::Equal => {}
        }
        if check(&[&file[HEADER..]]) != self.body_check {
            return Err(Invalid::Damaged("its content is damaged"));
        }
        let file = Bytes::from(file);
        let payload_at = HEADER + usize::from(self.owner_len);
        let owner = match &file[HEADER..payload_at] {
            [] => None,
            name => Some(parse_owner(name).ok_or(Invalid::Damaged("its owner is not UTF-8"))?),
        };
        Ok(Record { payload: file.slice(payload_at..), revision: self.revision, owner })
    }
}

fn parse_owner(name: &[u8]) -> Option<Owner> {
    Owner::new(std::str::from_utf8(name).ok()?).ok()
}

fn check(parts: &[&[u8]]) -> u32 {
    let mut hasher = Hasher::new();
    for part in parts {
        hasher.update(part);
    }
    hasher.finalize()
}

fn u32_at(header: &[u8; HEADER], at: usize) -> u32 {
    let bytes = header[at..].first_chunk().expect("inside the header");
    u32::from_le_bytes(*bytes)
}

fn u64_at(header: &[u8; HEADER], at: usize) -> u64 {
    let bytes = header[at..].first_chunk().expect("inside the header");
    u64::from_le_bytes(*bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key() -> Key {
        Key::from_bytes([0xAB; 32])
    }

    fn sample(owner: Option<&str>, payload: &'static [u8]) -> Record {
        Record {
            payload: Bytes::from_static(payload),
            revision: Revision::from_u64(u64::MAX - 1),
            owner: owner.map(|name| Owner::new(name).unwrap()),
        }
    }

    fn parse(key: &Key, file: &[u8]) -> Result<(u64, Record), Invalid> {
        let header = parse_header(key, file)?;
        Ok((header.expires_at, header.parse_record(file.to_vec())?))
    }

    #[test]
    fn an_encoded_file_is_read() {
        for record in [sample(None, b""), sample(None, b"\0{}\xFF"), sample(Some("ann"), b"{}")] {
            let file = encode(&key(), &record, 77);
            assert_eq!(parse(&key(), &file), Ok((77, record)));
        }
    }

    #[test]
    fn a_new_expiry_is_twelve_bytes_in_place() {
        let record = sample(Some("ann"), b"{}");
        let mut file = encode(&key(), &record, 77);
        file[8..20].copy_from_slice(&expiry_field(&key(), 99));
        assert_eq!(parse(&key(), &file), Ok((99, record)));
        file[8..16].copy_from_slice(&77_u64.to_le_bytes());
        assert_eq!(parse(&key(), &file), Err(Invalid::Expiry));
    }

    #[test]
    fn every_changed_bit_and_every_other_length_is_detected() {
        let file = encode(&key(), &sample(Some("ann"), b"{\"a\":1}"), 77);
        for at in 0..file.len() {
            for bit in 0..8 {
                let mut damaged = file.clone();
                damaged[at] ^= 1 << bit;
                assert!(parse(&key(), &damaged).is_err(), "bit {bit} of byte {at}");
            }
            assert!(parse(&key(), &file[..at]).is_err(), "{at} bytes");
        }
        assert!(parse(&key(), &[&file[..], b"x"].concat()).is_err());
    }

    #[test]
    fn a_file_under_another_name_is_not_a_record() {
        let file = encode(&key(), &sample(None, b"{}"), 77);
        assert!(parse(&Key::from_bytes([0xAC; 32]), &file).is_err());
    }
}
