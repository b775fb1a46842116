//! The contents of a store according to the contract.

use std::time::{Duration, Instant};

use session_core::{Bytes, MAX_TTL, Owner, Record, Revision};

use super::step::{Expected, NewRevision, Written};
use crate::case::SLACK;

/// The state of one key.
#[derive(Debug, Default)]
pub(super) struct Slot {
    /// The last record that was written, live or not.
    pub(super) record: Option<Record>,
    /// It expires between these moments: the store's clock was read between call and answer.
    expires: Option<(Instant, Instant)>,
    /// It was destroyed, or was seen to have expired. No call may return it again.
    ended: bool,
    /// No call saw that it ended, so gc must remove it after its expiry.
    pub(super) untouched: bool,
    /// The handle that wrote or renewed it last.
    pub(super) writer: usize,
    older: Vec<Revision>,
}

/// Whether there is a live record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Live {
    Yes,
    No,
    /// It expires about now, so both are possible.
    Maybe,
}

impl Slot {
    /// Whether there is a live record for a call between these moments.
    pub(super) fn live(&self, began: Instant, ended: Instant) -> Live {
        match self.expires {
            Some((first, last)) if !self.ended => {
                if ended + SLACK < first {
                    Live::Yes
                } else if began > last + SLACK {
                    Live::No
                } else {
                    Live::Maybe
                }
            }
            _ => Live::No,
        }
    }

    /// The shortest and the longest remaining life for a load between these moments.
    pub(super) fn left(&self, began: Instant, ended: Instant) -> (Duration, Duration) {
        let Some((first, last)) = self.expires else {
            return (Duration::ZERO, Duration::ZERO);
        };
        let at_least = first.saturating_duration_since(ended).saturating_sub(SLACK);
        (at_least, last.saturating_duration_since(began) + SLACK)
    }

    pub(super) fn was_written(
        &mut self,
        record: Record,
        ttl: Option<Duration>,
        began: Instant,
        ended: Instant,
    ) {
        if let Some(old) = self.record.replace(record) {
            self.older.push(old.revision);
        }
        (self.ended, self.untouched) = (false, true);
        if let Some(ttl) = ttl {
            self.was_renewed(ttl, began, ended);
        }
    }

    pub(super) fn was_renewed(&mut self, ttl: Duration, began: Instant, ended: Instant) {
        let ttl = ttl.min(MAX_TTL);
        // A store counts whole milliseconds.
        self.expires = Some((began + ttl, ended + ttl + Duration::from_millis(1)));
    }

    /// A renewal may or may not have been carried out.
    pub(super) fn may_be_renewed(&mut self, ttl: Duration, began: Instant, ended: Instant) {
        let before = self.expires;
        self.was_renewed(ttl, began, ended);
        if let (Some((first, last)), Some((other_first, other_last))) = (before, self.expires) {
            self.expires = Some((first.min(other_first), last.max(other_last)));
        }
    }

    /// The store may have removed an expired record.
    pub(super) fn was_ended(&mut self) {
        (self.ended, self.untouched) = (true, false);
    }

    /// Changes with each write and each renewal.
    pub(super) fn stamp(&self) -> (Option<Revision>, Option<(Instant, Instant)>) {
        (self.record.as_ref().map(|record| record.revision), self.expires)
    }

    /// The latest moment at which it expires, if it was not removed.
    pub(super) fn last_moment(&self) -> Option<Instant> {
        self.expires.map(|(_, last)| last)
    }

    /// Whether it has certainly expired and was not destroyed.
    pub(super) fn has_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|(_, last)| now > last + SLACK)
    }

    /// Whether it may have expired.
    pub(super) fn may_have_expired(&self, now: Instant) -> bool {
        self.expires.is_some_and(|(first, _)| now + SLACK >= first)
    }

    /// The store holds no data of it.
    pub(super) fn was_removed(&mut self) {
        self.ended = true;
        self.expires = None;
        self.untouched = false;
    }

    pub(super) fn revision(&self, expected: Expected) -> Revision {
        let current = self.record.as_ref().map_or(0, |record| record.revision.to_u64());
        Revision::from_u64(match expected {
            Expected::Current => current,
            Expected::OneBit(bit) => current ^ (1 << bit),
            Expected::Older(n) => match self.older.len().checked_sub(n + 1) {
                Some(at) => self.older[at].to_u64(),
                None => !current,
            },
            Expected::Random(number) => number,
        })
    }

    pub(super) fn to_write(&self, written: &Written) -> Record {
        match (written, &self.record) {
            (Written::Same, Some(record)) => record.clone(),
            (Written::Same, None) => Record {
                payload: Bytes::from_static(b"the first"),
                revision: Revision::from_u64(1),
                owner: None,
            },
            (Written::New { length, pattern, owner, revision }, _) => {
                let revision = match *revision {
                    NewRevision::Random(number) => Revision::from_u64(number),
                    NewRevision::OneBit(bit) => self.revision(Expected::OneBit(bit)),
                };
                let bytes =
                    (0..*length).map(|n| (n ^ (n / 7)).to_le_bytes()[0] ^ pattern.wrapping_mul(85));
                let owner = owner.map(|name| Owner::new(name).expect("owners have 1 to 255 bytes"));
                Record { payload: bytes.collect(), revision, owner }
            }
        }
    }
}
