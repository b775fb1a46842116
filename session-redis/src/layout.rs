//! How a record is stored in Redis.

use std::io::{self, Write};

use session_core::{Bytes, Key, Owner, Record, Revision};

/// What every value begins with; another layout would get another mark.
const MARK: &[u8] = b"s1:";
/// The mark, the revision's 16 digits and a colon. The scripts compare these bytes.
const HEAD_BYTES: usize = MARK.len() + 16 + 1;
const DIGITS: &[u8; 16] = b"0123456789abcdef";

/// The key's name: the prefix and 64 hexadecimal digits.
pub(crate) fn name(prefix: &str, key: &Key) -> Vec<u8> {
    let bytes = key.as_bytes();
    let mut name = Vec::with_capacity(prefix.len() + 2 * bytes.len());
    name.extend_from_slice(prefix.as_bytes());
    for byte in bytes {
        let digits = [byte >> 4, byte & 15].map(|digit| DIGITS[usize::from(digit)]);
        name.extend_from_slice(&digits);
    }
    name
}

/// The first bytes of a value that has this revision.
pub(crate) type Head = [u8; HEAD_BYTES];

pub(crate) fn head(revision: Revision) -> Head {
    let mut head = [b':'; HEAD_BYTES];
    head[..MARK.len()].copy_from_slice(MARK);
    let mut rest = revision.to_u64();
    for digit in head[MARK.len()..HEAD_BYTES - 1].iter_mut().rev() {
        *digit = DIGITS[(rest & 15) as usize];
        rest >>= 4;
    }
    head
}

/// Writes `s1:REVISION:LENGTH:OWNER`, a line feed and the payload.
pub(crate) fn write(out: &mut impl Write, record: &Record) -> io::Result<()> {
    let owner = record.owner.as_ref().map_or("", Owner::as_str);
    out.write_all(&head(record.revision))?;
    writeln!(out, "{}:{owner}", owner.len())?;
    out.write_all(&record.payload)
}

/// The length of what [`write`] writes, or a few bytes more.
pub(crate) fn length(record: &Record) -> usize {
    let owner = record.owner.as_ref().map_or(0, |owner| owner.as_str().len());
    HEAD_BYTES + 3 + 1 + owner + 1 + record.payload.len()
}

/// Takes a value apart; the payload is not copied.
pub(crate) fn decode(value: Vec<u8>) -> Option<Record> {
    let (found, rest) = value.split_at_checked(HEAD_BYTES)?;
    let digits = str::from_utf8(&found[MARK.len()..HEAD_BYTES - 1]).ok()?;
    let revision = Revision::from_u64(u64::from_str_radix(digits, 16).ok()?);
    // Some other texts are numbers, too.
    if found != head(revision) {
        return None;
    }
    let digits = rest.iter().take(4).position(|byte| !byte.is_ascii_digit())?;
    if rest[digits] != b':' {
        return None;
    }
    let length: usize = str::from_utf8(&rest[..digits]).ok()?.parse().ok()?;
    let owner_at = HEAD_BYTES + digits + 1;
    let payload_at = owner_at + length + 1;
    if *value.get(payload_at - 1)? != b'\n' {
        return None;
    }
    let owner = match length {
        0 => None,
        _ => {
            let owner = str::from_utf8(&value[owner_at..owner_at + length]).ok()?;
            Some(Owner::new(owner).ok()?)
        }
    };
    let payload = Bytes::from(value).slice(payload_at..);
    Some(Record { payload, revision, owner })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(payload: &'static [u8], revision: u64, owner: Option<&str>) -> Record {
        Record {
            payload: Bytes::from_static(payload),
            revision: Revision::from_u64(revision),
            owner: owner.map(|name| Owner::new(name).unwrap()),
        }
    }

    fn encode(record: &Record) -> Vec<u8> {
        let mut value = Vec::new();
        write(&mut value, record).unwrap();
        assert!((value.len()..value.len() + 3).contains(&length(record)));
        value
    }

    #[test]
    fn the_layout_is_what_the_documentation_shows() {
        let value = encode(&record(b"{\"v\":1}", 0xc0ffee, Some("alice")));
        assert_eq!(value, b"s1:0000000000c0ffee:5:alice\n{\"v\":1}");
        let name = name("session:", &Key::from_bytes([0x1e; 32]));
        assert_eq!(name, format!("session:{}", "1e".repeat(32)).into_bytes());
    }

    #[test]
    fn every_record_comes_back() {
        let longest = "é".repeat(127);
        for owner in [None, Some("a:b\nc"), Some(longest.as_str())] {
            for payload in [&b""[..], b"\n:\0\xff", b"s1:"] {
                for revision in [0, 1, u64::MAX] {
                    let record = record(payload, revision, owner);
                    assert_eq!(decode(encode(&record)), Some(record));
                }
            }
        }
    }

    #[test]
    fn foreign_and_truncated_values_are_no_records() {
        let whole = encode(&record(b"", 7, Some("alice")));
        for length in 0..whole.len() {
            assert_eq!(decode(whole[..length].to_vec()), None, "{length} bytes");
        }
        for foreign in [
            &b"hello"[..],
            b"s2:0000000000c0ffee:0:\n",
            b"s1:0000000000C0FFEE:0:\n",
            b"s1:+000000000c0ffee:0:\n",
            b"s1:0000000000c0ffee::\n",
            b"s1:0000000000c0ffee:+0:\n",
            b"s1:0000000000c0ffee:4:\xff\xff\xff\xff\n",
            b"s1:0000000000c0ffee:99999999999999999999:\n",
            // The layout of development versions.
            b"s1:0000000000c0ffee:001763721309000:0:\n",
        ] {
            assert_eq!(decode(foreign.to_vec()), None, "{foreign:?}");
        }
    }
}
