//! How a record lies in Redis.

use std::io::{self, Write};

use redis::Value;
use session_core::{Bytes, Key, Owner, Record, Revision};

use crate::failure::Failure;

/// What every value begins with; another layout would get another mark.
const MARK: &[u8] = b"s1:";
/// The mark, the revision's 16 digits and a colon. The script compares that much.
const HEAD_BYTES: usize = MARK.len() + 16 + 1;
/// The deadline's digits after it: milliseconds since 1970, for 30,000 years.
const DEADLINE_BYTES: usize = 15;
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

/// The beginning of a value up to its deadline, at which this is a guess.
pub(crate) type LongHead = [u8; HEAD_BYTES + DEADLINE_BYTES];

pub(crate) fn long_head(revision: Revision, deadline: u64) -> LongHead {
    let mut long = [0; HEAD_BYTES + DEADLINE_BYTES];
    long[..HEAD_BYTES].copy_from_slice(&head(revision));
    long[HEAD_BYTES..].copy_from_slice(&decimal(deadline));
    long
}

/// Writes `s1:REVISION:DEADLINE:LENGTH:OWNER`, a line feed and the payload. The deadline is a guess; the
/// server, which knows it, corrects it.
pub(crate) fn write(out: &mut impl Write, record: &Record, deadline: u64) -> io::Result<()> {
    let owner = record.owner.as_ref().map_or("", Owner::as_str);
    out.write_all(&long_head(record.revision, deadline))?;
    writeln!(out, ":{}:{owner}", owner.len())?;
    out.write_all(&record.payload)
}

/// So many bytes.
pub(crate) fn length(record: &Record) -> usize {
    let owner = record.owner.as_ref().map_or(0, |owner| owner.as_str().len());
    let digits = owner.checked_ilog10().unwrap_or(0) as usize + 1;
    HEAD_BYTES + DEADLINE_BYTES + 1 + digits + 1 + owner + 1 + record.payload.len()
}

fn decimal(mut number: u64) -> [u8; DEADLINE_BYTES] {
    let mut digits = [b'0'; DEADLINE_BYTES];
    for digit in digits.iter_mut().rev() {
        *digit = DIGITS[(number % 10) as usize];
        number /= 10;
    }
    digits
}

/// A record and its deadline, in milliseconds of the server's clock.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Decoded {
    pub(crate) record: Record,
    pub(crate) deadline: u64,
}

/// Takes a value apart; the payload stays where it is.
pub(crate) fn decode(value: Vec<u8>) -> Option<Decoded> {
    let (head, rest) = value.split_at_checked(HEAD_BYTES)?;
    let (deadline, owner) = rest.split_at_checked(DEADLINE_BYTES)?;
    let revision = parse_hex(head.strip_prefix(MARK)?.strip_suffix(b":")?)?;
    let deadline = parse_decimal(deadline)?;
    let owner = owner.strip_prefix(b":")?;
    let digits = owner.iter().position(|&byte| byte == b':').filter(|digits| *digits <= 3)?;
    let length = usize::try_from(parse_decimal(&owner[..digits])?).ok()?;
    let owner_at = HEAD_BYTES + DEADLINE_BYTES + 1 + digits + 1;
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
    let record = Record { payload, revision: Revision::from_u64(revision), owner };
    Some(Decoded { record, deadline })
}

/// Exactly the digits that [`head`] writes; at most 16.
fn parse_hex(digits: &[u8]) -> Option<u64> {
    let value = |digit: u8| match digit {
        b'0'..=b'9' => Some(u64::from(digit - b'0')),
        b'a'..=b'f' => Some(u64::from(digit - b'a') + 10),
        _ => None,
    };
    digits.iter().try_fold(0, |number, &digit| Some(number << 4 | value(digit)?))
}

/// Some digits and nothing else; at most 15.
fn parse_decimal(digits: &[u8]) -> Option<u64> {
    let value = |digit: u8| digit.is_ascii_digit().then(|| u64::from(digit - b'0'));
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0, |number, &digit| Some(number * 10 + value(digit)?))
}

/// The server's clock in milliseconds, from the reply to `TIME`.
pub(crate) fn now(reply: &Value) -> Result<u64, Failure> {
    let number = |part: &Value| match part {
        Value::BulkString(digits) if digits.len() <= 15 => parse_decimal(digits),
        _ => None,
    };
    match reply {
        Value::Array(parts) => match &parts[..] {
            [seconds, micros] => match (number(seconds), number(micros)) {
                (Some(seconds), Some(micros)) => Ok(seconds * 1000 + micros / 1000),
                _ => Err(Failure::of_reply(reply)),
            },
            _ => Err(Failure::of_reply(reply)),
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

    fn encode(record: &Record, deadline: u64) -> Vec<u8> {
        let mut value = Vec::new();
        write(&mut value, record, deadline).unwrap();
        assert_eq!(value.len(), length(record));
        value
    }

    #[test]
    fn the_layout_is_what_the_documentation_shows() {
        let value = encode(&record(b"{\"v\":1}", 0xc0ffee, Some("alice")), 1_763_721_309_000);
        assert_eq!(value, b"s1:0000000000c0ffee:001763721309000:5:alice\n{\"v\":1}");
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
                    for deadline in [1, 999_999_999_999_999] {
                        let decoded = decode(encode(&record, deadline));
                        assert_eq!(decoded, Some(Decoded { record: record.clone(), deadline }));
                    }
                }
            }
        }
    }

    #[test]
    fn foreign_and_truncated_values_are_no_records() {
        let whole = encode(&record(b"", 7, Some("alice")), 7);
        for length in 0..whole.len() {
            assert_eq!(decode(whole[..length].to_vec()), None, "{length} bytes");
        }
        for foreign in [
            &b"hello"[..],
            b"s2:0000000000c0ffee:001763721309000:0:\n",
            b"s1:0000000000C0FFEE:001763721309000:0:\n",
            b"s1:+000000000c0ffee:001763721309000:0:\n",
            b"s1:0000000000c0ffee:+01763721309000:0:\n",
            b"s1:0000000000c0ffee:1763721309000:0:\n",
            b"s1:0000000000c0ffee:001763721309000::\n",
            b"s1:0000000000c0ffee:001763721309000:4:\xff\xff\xff\xff\n",
            b"s1:0000000000c0ffee:001763721309000:99999999999999999999:\n",
        ] {
            assert_eq!(decode(foreign.to_vec()), None, "{foreign:?}");
        }
    }

    #[test]
    fn the_clock_is_read() {
        let part = |digits: &str| Value::BulkString(digits.as_bytes().to_vec());
        let time = |seconds, micros| now(&Value::Array(vec![part(seconds), part(micros)]));
        assert_eq!(time("1763721309", "999999").unwrap(), 1_763_721_309_999);
        assert_eq!(time("1763721309", "5").unwrap(), 1_763_721_309_000);
        assert!(time("x", "5").is_err());
        assert!(now(&Value::Nil).is_err());
    }
}
