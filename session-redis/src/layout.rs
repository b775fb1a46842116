//! How a record lies in Redis.

use redis::Value;
use session_core::{Bytes, Key, Owner, Record, Revision, ttl_millis};

use crate::failure::Failure;

/// What every value begins with; another layout would get another mark.
const MARK: &str = "s1:";
/// The mark and the revision's 16 digits. The scripts compare that much.
pub(crate) const HEAD_BYTES: usize = MARK.len() + 16;

/// The key's name: the prefix and 64 hexadecimal digits.
pub(crate) fn name(prefix: &str, key: &Key) -> String {
    let hex = key.to_hex();
    let mut name = String::with_capacity(prefix.len() + hex.len());
    name.push_str(prefix);
    name.push_str(&hex);
    name
}

/// The first bytes of a value that has this revision.
pub(crate) fn head(revision: Revision) -> String {
    format!("{MARK}{:016x}", revision.to_u64())
}

/// `s1:REVISION:LENGTH:OWNER`, a line feed, and the payload.
pub(crate) fn encode(record: &Record) -> Vec<u8> {
    let owner = record.owner.as_ref().map_or("", Owner::as_str);
    let head = format!("{}:{}:{owner}\n", head(record.revision), owner.len());
    let mut value = Vec::with_capacity(head.len() + record.payload.len());
    value.extend_from_slice(head.as_bytes());
    value.extend_from_slice(&record.payload);
    value
}

/// Takes a value apart; the payload stays where it is.
pub(crate) fn decode(value: Vec<u8>) -> Option<Record> {
    let (revision, owner) = (value.get(..HEAD_BYTES)?, value.get(HEAD_BYTES..)?);
    let revision = std::str::from_utf8(revision.strip_prefix(MARK.as_bytes())?).ok()?;
    let revision = parse_hex(revision)?;
    let owner = owner.strip_prefix(b":")?;
    let digits = owner.iter().position(|&byte| byte == b':').filter(|digits| *digits <= 3)?;
    let length: usize = std::str::from_utf8(&owner[..digits]).ok()?.parse().ok()?;
    let owner_at = HEAD_BYTES + 1 + digits + 1;
    let payload_at = owner_at + length + 1;
    if *value.get(payload_at - 1)? != b'\n' {
        return None;
    }
    let owner = match length {
        0 => None,
        _ => {
            let owner = std::str::from_utf8(&value[owner_at..owner_at + length]).ok()?;
            Some(Owner::new(owner).ok()?)
        }
    };
    let payload = Bytes::from(value).slice(payload_at..);
    Some(Record { payload, revision: Revision::from_u64(revision), owner })
}

/// Exactly the digits that [`head`] writes.
fn parse_hex(digits: &str) -> Option<u64> {
    let canonical = |digit: u8| matches!(digit, b'0'..=b'9' | b'a'..=b'f');
    digits.bytes().all(canonical).then(|| u64::from_str_radix(digits, 16).ok())?
}

/// A life in the milliseconds that `PX` and `PEXPIRE` take.
///
/// One less than asked for: Redis keeps a key through the whole millisecond of its deadline, but a
/// session is dead at its deadline. [`life`] gives the millisecond back.
pub(crate) fn expiry(ttl: std::time::Duration) -> session_core::Result<u64> {
    Ok(ttl_millis(ttl)?.saturating_sub(1).max(1))
}

/// What is left of a life, from the reply to `PTTL`; `None` when the key is not there.
pub(crate) fn life(reply: &Value) -> Result<Option<std::time::Duration>, Failure> {
    match reply {
        Value::Int(-2) => Ok(None),
        Value::Int(millis) => match u64::try_from(*millis) {
            Ok(millis) => Ok(Some(std::time::Duration::from_millis(millis + 1))),
            Err(_) => {
                Err(Failure::corrupt("a session key has no expiry: another program wrote it"))
            }
        },
        other => Err(Failure::of_reply(other)),
    }
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

    #[test]
    fn the_layout_is_what_the_documentation_shows() {
        let value = encode(&record(b"{\"v\":1}", 0xc0ffee, Some("alice")));
        assert_eq!(value, b"s1:0000000000c0ffee:5:alice\n{\"v\":1}");
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
            b"s1:0000000000c0ffee:4:\xff\xff\xff\xff\n",
            b"s1:0000000000c0ffee:99999999999999999999:\n",
        ] {
            assert_eq!(decode(foreign.to_vec()), None, "{foreign:?}");
        }
    }

    #[test]
    fn life_and_expiry_cancel_each_other() {
        use std::time::Duration;
        let ttl = Duration::from_millis(1000);
        let reply = Value::Int(i64::try_from(expiry(ttl).unwrap()).unwrap());
        assert_eq!(life(&reply).unwrap(), Some(ttl));
        assert_eq!(expiry(Duration::from_millis(1)).unwrap(), 1);
        assert!(life(&Value::Int(-1)).is_err());
    }
}
