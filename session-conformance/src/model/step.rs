//! The calls of a random sequence. They refer to keys and revisions relative to the state of the model, so
//! that a sequence stays meaningful if calls are removed from it.

use std::fmt;
use std::time::Duration;

use fastrand::Rng;
use session_core::MAX_TTL;

/// How many keys a sequence uses. They share long prefixes, and differ in case or in one bit.
pub(crate) const KEYS: usize = 6;

/// The number of concurrent handles of the store.
pub(crate) const HANDLES: usize = 2;

/// One call, or an event between calls.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Step {
    pub(crate) handle: usize,
    pub(crate) call: Call,
    pub(crate) compare: Compare,
}

/// The keys that are loaded and compared with the model after a call.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Compare {
    Nothing,
    /// The key of the call, with this handle.
    By(usize),
    /// All keys, with all handles.
    All,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Call {
    Create {
        key: usize,
        record: Written,
        ttl: Duration,
    },
    Update {
        key: usize,
        record: Written,
        expected: Expected,
        ttl: Option<Duration>,
    },
    Touch {
        key: usize,
        expected: Expected,
        ttl: Duration,
    },
    Destroy {
        key: usize,
        only: Option<Expected>,
    },
    Load {
        key: usize,
    },
    Gc {
        limit: usize,
    },
    Wait {
        time: Duration,
    },
    /// The handle is dropped and another one is opened.
    Reopen,
}

/// The record of a write.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Written {
    New {
        length: usize,
        pattern: u8,
        owner: Option<&'static str>,
        revision: NewRevision,
    },
    /// The record as it is stored.
    Same,
}

#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum NewRevision {
    Random(u64),
    /// The revision of the stored record with one bit flipped.
    OneBit(u32),
}

/// The revision that a call expects.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Expected {
    Current,
    /// The current one with one bit flipped.
    OneBit(u32),
    /// A revision that the key had before.
    Older(usize),
    Random(u64),
}

const OWNERS: [Option<&str>; 7] =
    [None, None, Some("alice"), Some("Alice"), Some("alice "), Some("bob"), Some("\u{e9}\0")];

/// A sequence of `length` steps.
pub(crate) fn sequence(rng: &mut Rng, length: usize) -> Vec<Step> {
    (0..length).map(|_| step(rng)).collect()
}

fn step(rng: &mut Rng) -> Step {
    let key = rng.usize(..KEYS);
    let call = match rng.u32(..100) {
        0..22 => Call::Create { key, record: written(rng), ttl: ttl(rng) },
        22..48 => {
            let ttl = rng.bool().then(|| ttl(rng));
            Call::Update { key, record: written(rng), expected: expected(rng), ttl }
        }
        48..64 => Call::Touch { key, expected: expected(rng), ttl: ttl(rng) },
        64..74 => {
            let only = rng.bool().then(|| expected(rng));
            Call::Destroy { key, only }
        }
        74..90 => Call::Load { key },
        90..95 => Call::Gc { limit: *pick(rng, &[0, 1, 2, 1_000]) },
        95..99 => Call::Wait { time: Duration::from_millis(rng.u64(1..35)) },
        _ => Call::Reopen,
    };
    let compare = match rng.u32(..8) {
        0..2 => Compare::Nothing,
        2 => Compare::All,
        _ => Compare::By(rng.usize(..HANDLES)),
    };
    Step { handle: rng.usize(..HANDLES), call, compare }
}

fn written(rng: &mut Rng) -> Written {
    if rng.u32(..12) == 0 {
        return Written::Same;
    }
    let power = if rng.u32(..8) == 0 { rng.u32(11..=17) } else { rng.u32(..=10) };
    // One length is frequent, so that several keys have equal payloads.
    let length = if rng.u32(..3) == 0 { 100 } else { (1 << power) + rng.usize(..3) - 1 };
    let revision = match rng.u32(..8) {
        0 => NewRevision::OneBit(rng.u32(..64)),
        1 => NewRevision::Random(*pick(rng, &[0, 1, u64::MAX, 1 << 63, (1 << 53) + 1])),
        _ => NewRevision::Random(rng.u64(..)),
    };
    Written::New { length, pattern: rng.u8(..2), owner: *pick(rng, &OWNERS), revision }
}

fn expected(rng: &mut Rng) -> Expected {
    match rng.u32(..10) {
        0..2 => Expected::OneBit(*pick(rng, &[0, 1, 7, 8, 31, 32, 52, 62, 63])),
        2 => Expected::Older(rng.usize(..4)),
        3 => Expected::Random(rng.u64(..)),
        _ => Expected::Current,
    }
}

fn ttl(rng: &mut Rng) -> Duration {
    match rng.u32(..20) {
        0 => Duration::ZERO,
        1..5 => Duration::from_micros(rng.u64(1..4_000)),
        5..7 => Duration::from_millis(rng.u64(22..40)),
        7 => MAX_TTL,
        8 => Duration::MAX,
        // Seconds with a fraction, because a store may lose the fraction.
        9..13 => Duration::from_millis(rng.u64(30_000..60_000)),
        _ => Duration::from_secs(rng.u64(600..7_200)),
    }
}

fn pick<'a, T>(rng: &mut Rng, choice: &'a [T]) -> &'a T {
    &choice[rng.usize(..choice.len())]
}

impl fmt::Display for Step {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let handle = ["a", "b"][self.handle];
        match &self.call {
            Call::Create { key, record, ttl } => {
                write!(f, "{handle}.create(key {key}, {record}, ttl {ttl:?})")
            }
            Call::Update { key, record, expected, ttl: Some(ttl) } => {
                write!(f, "{handle}.update(key {key}, {record}, over {expected}, ttl {ttl:?})")
            }
            Call::Update { key, record, expected, ttl: None } => {
                write!(f, "{handle}.update(key {key}, {record}, over {expected})")
            }
            Call::Touch { key, expected, ttl } => {
                write!(f, "{handle}.touch(key {key}, {expected}, ttl {ttl:?})")
            }
            Call::Destroy { key, only: Some(only) } => {
                write!(f, "{handle}.destroy(key {key}, only {only})")
            }
            Call::Destroy { key, only: None } => write!(f, "{handle}.destroy(key {key})"),
            Call::Load { key } => write!(f, "{handle}.load(key {key})"),
            Call::Gc { limit } => write!(f, "{handle}.gc({limit})"),
            Call::Wait { time } => write!(f, "wait {time:?}"),
            Call::Reopen => write!(f, "reopen {handle}"),
        }
    }
}

impl fmt::Display for Written {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self::New { length, owner, revision, .. } = self else {
            return f.write_str("the stored record");
        };
        write!(f, "{length} bytes")?;
        if let Some(owner) = owner {
            write!(f, " of {owner:?}")?;
        }
        match revision {
            NewRevision::Random(_) => Ok(()),
            NewRevision::OneBit(bit) => write!(f, " with bit {bit} of the revision flipped"),
        }
    }
}

impl fmt::Display for Expected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Current => f.write_str("the revision"),
            Self::OneBit(bit) => write!(f, "the revision with bit {bit} flipped"),
            Self::Older(_) => f.write_str("an older revision"),
            Self::Random(_) => f.write_str("another revision"),
        }
    }
}
