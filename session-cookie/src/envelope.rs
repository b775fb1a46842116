//! The sealed bytes: the times, the id and the record of a session.
//!
//! ```text
//! issued, ms since 1970    u64, big endian
//! expires, ms since 1970   u64, big endian
//! session id               32 bytes
//! revision                 u64, big endian
//! owner's length           u8, 0 without an owner
//! owner                    UTF-8
//! payload                  the rest
//! ```

use std::ops::Range;

use session_core::{Owner, Record, Revision, SessionId};

const FIXED_BYTES: usize = 8 + 8 + 32 + 8 + 1;

/// The times of a value, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Times {
    pub(crate) issued: u64,
    pub(crate) expires: u64,
}

/// A parsed envelope.
#[derive(Debug)]
pub(crate) struct Envelope {
    pub(crate) times: Times,
    pub(crate) id: SessionId,
    pub(crate) revision: Revision,
    pub(crate) owner: Option<Owner>,
    /// The range of the payload in the parsed bytes.
    pub(crate) payload: Range<usize>,
}

/// The length of the envelope of a record.
pub(crate) fn length(record: &Record) -> usize {
    FIXED_BYTES + owner_text(record).len() + record.payload.len()
}

/// Appends an envelope.
pub(crate) fn write(out: &mut Vec<u8>, times: Times, id: &SessionId, record: &Record) {
    let owner = owner_text(record);
    out.extend_from_slice(&times.issued.to_be_bytes());
    out.extend_from_slice(&times.expires.to_be_bytes());
    out.extend_from_slice(id.expose_bytes());
    out.extend_from_slice(&record.revision.to_u64().to_be_bytes());
    out.push(u8::try_from(owner.len()).expect("an owner has at most 255 bytes"));
    out.extend_from_slice(owner.as_bytes());
    out.extend_from_slice(&record.payload);
}

/// Parses an authentic envelope; `None` if it is malformed.
pub(crate) fn parse(bytes: &[u8]) -> Option<Envelope> {
    let (issued, rest) = bytes.split_first_chunk()?;
    let (expires, rest) = rest.split_first_chunk()?;
    let (id, rest) = rest.split_first_chunk()?;
    let (revision, rest) = rest.split_first_chunk()?;
    let (&owner_len, rest) = rest.split_first()?;
    let (owner, payload) = rest.split_at_checked(owner_len.into())?;
    let owner = match std::str::from_utf8(owner).ok()? {
        "" => None,
        name => Some(Owner::new(name).ok()?),
    };
    Some(Envelope {
        times: Times { issued: u64::from_be_bytes(*issued), expires: u64::from_be_bytes(*expires) },
        id: SessionId::from_bytes(*id),
        revision: Revision::from_u64(u64::from_be_bytes(*revision)),
        owner,
        payload: bytes.len() - payload.len()..bytes.len(),
    })
}

fn owner_text(record: &Record) -> &str {
    record.owner.as_ref().map_or("", Owner::as_str)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use session_core::Bytes;

    use super::*;

    proptest! {
        #[test]
        fn parsing_any_bytes_never_panics(bytes in any::<Vec<u8>>()) {
            if let Some(envelope) = parse(&bytes) {
                prop_assert!(bytes.len() >= FIXED_BYTES);
                prop_assert_eq!(envelope.payload.end, bytes.len());
            }
        }

        #[test]
        fn a_written_envelope_is_parsed(
            issued: u64, expires: u64, id: [u8; 32], revision: u64,
            owner in proptest::option::of("\\PC{1,60}"), payload: Vec<u8>,
        ) {
            let times = Times { issued, expires };
            let record = Record {
                payload: Bytes::from(payload),
                revision: Revision::from_u64(revision),
                owner: owner.map(|name| Owner::new(name).unwrap()),
            };
            let mut bytes = Vec::new();
            write(&mut bytes, times, &SessionId::from_bytes(id), &record);
            prop_assert_eq!(bytes.len(), length(&record));

            let envelope = parse(&bytes).unwrap();
            prop_assert_eq!(envelope.times, times);
            prop_assert_eq!(envelope.id.expose_bytes(), &id);
            prop_assert_eq!(envelope.revision, record.revision);
            prop_assert_eq!(envelope.owner, record.owner);
            prop_assert_eq!(&bytes[envelope.payload], &record.payload[..]);
        }
    }
}
