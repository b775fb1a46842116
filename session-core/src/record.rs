//! The records of a store, and the writes.

use std::cell::RefCell;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;

use crate::{Error, ErrorKind, Result};

/// The longest ttl that a store has to support: 10,000 years of 365 days. A longer ttl is clamped
/// to it.
pub const MAX_TTL: Duration = Duration::from_secs(10_000 * 365 * 86_400);

/// One session as a store keeps it.
///
/// The struct is exhaustive on purpose: a backend that destructures it and omits a field does not
/// compile.
#[derive(Clone, PartialEq, Eq)]
pub struct Record {
    /// The encoded session. It is opaque to the store: any bytes, from none to 1 MiB and more.
    pub payload: Bytes,
    /// Chosen by the writer; the store only compares it.
    pub revision: Revision,
    /// The owner, if the application set one.
    pub owner: Option<Owner>,
}

impl fmt::Debug for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Record")
            .field("payload_bytes", &self.payload.len())
            .field("revision", &self.revision)
            .field("owner", &self.owner)
            .finish()
    }
}

/// A live record and its remaining ttl.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Loaded {
    /// The record.
    pub record: Record,
    /// The time until it expires by the store's own clock, to the millisecond; never zero.
    pub expires_in: Duration,
}

/// A random 64-bit value that the writer of a record chose.
///
/// It is not a counter. A writer whose acknowledgement was lost loads the record: if it has the
/// writer's own revision, the write was carried out.
///
/// ```
/// use session_core::Revision;
///
/// let revision = Revision::random()?;
/// // A database without unsigned numbers stores the same 64 bits.
/// assert_eq!(Revision::from_i64(revision.to_i64()), revision);
/// # Ok::<(), session_core::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Revision(u64);

impl Revision {
    /// A new revision for one write. Revisions are not secret; they only have to differ.
    ///
    /// # Errors
    /// `Other` when the operating system has no random bytes; nothing was written.
    pub fn random() -> Result<Self> {
        #[cfg(feature = "simulation")]
        if let Some(number) = crate::simulation::revision() {
            return Ok(Self(number));
        }
        thread_local! {
            // A generator for each thread avoids a system call for each write.
            static RANDOM: RefCell<Option<fastrand::Rng>> = const { RefCell::new(None) };
        }
        RANDOM.with_borrow_mut(|random| {
            let random = match random {
                Some(random) => random,
                None => {
                    random.insert(fastrand::Rng::with_seed(getrandom::u64().map_err(|error| {
                        Error::new(ErrorKind::Other, "the random source failed")
                            .as_refusal()
                            .with_source(error)
                    })?))
                }
            };
            Ok(Self(random.u64(..)))
        })
    }

    /// The revision of this number. All 2⁶⁴ values are valid.
    #[must_use]
    pub const fn from_u64(number: u64) -> Self {
        Self(number)
    }

    /// The number.
    #[must_use]
    pub const fn to_u64(self) -> u64 {
        self.0
    }

    /// The same 64 bits as a signed number, for databases that have no unsigned one.
    #[must_use]
    pub const fn to_i64(self) -> i64 {
        self.0.cast_signed()
    }

    /// The revision of these 64 bits.
    #[must_use]
    pub const fn from_i64(number: i64) -> Self {
        Self(number.cast_unsigned())
    }
}

/// The owner of a session: the application's name for an account. 1 to 255 bytes of UTF-8, compared
/// byte by byte. It is personal data, so `Debug` does not show it.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Owner(Box<str>);

impl Owner {
    /// The greatest length, in bytes.
    pub const MAX_BYTES: usize = 255;

    /// # Errors
    /// `InvalidValue` when the name is empty or longer than 255 bytes.
    pub fn new(name: impl Into<Box<str>>) -> Result<Self> {
        let name = name.into();
        if name.is_empty() || name.len() > Self::MAX_BYTES {
            return Err(Error::invalid_value("an owner has 1 to 255 bytes"));
        }
        Ok(Self(name))
    }

    /// A digest of the name, for stores that name something by the owner and whose names may be logged.
    /// It does not hide a name that can be guessed.
    #[must_use]
    pub fn digest(&self) -> crate::Key {
        crate::Key::owner(&self.0)
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Owner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Owner(..)")
    }
}

/// How [`Backend::save`](crate::Backend::save) writes. There is no unconditional write, because it
/// would revive a session that was destroyed meanwhile.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Write {
    /// Creates a record if there is no live record under the key. An expired record counts as
    /// absent.
    Create {
        /// The new record's life; zero is refused, see [`ttl_millis`].
        ttl: Duration,
    },
    /// Replaces the live record if it has the expected revision.
    Update(Update),
}

/// A compare-and-swap.
///
/// ```
/// use session_core::{Backend, Error, Key, Record, Result, Revision, Update, Write};
///
/// /// Replaces a payload, and leaves the expiry as it is.
/// async fn replace(backend: &dyn Backend, key: &Key, payload: Vec<u8>) -> Result<()> {
///     let loaded = backend.load(key).await?.ok_or_else(Error::gone)?.record;
///     let update = Update { expected: loaded.revision, ttl: None };
///     let record = Record { payload: payload.into(), revision: Revision::random()?, owner: loaded.owner };
///     backend.save(key, &record, Write::Update(update)).await
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Update {
    /// The revision that the writer loaded.
    pub expected: Revision,
    /// The new life, from now; `None` leaves the expiry unchanged.
    pub ttl: Option<Duration>,
}

/// Converts a ttl to whole milliseconds for a store: a fraction of a millisecond is rounded up, and
/// a ttl above [`MAX_TTL`] is clamped to it.
///
/// # Errors
/// `InvalidValue` for zero: such a record would be expired from the start.
///
/// ```
/// use std::time::Duration;
/// use session_core::{MAX_TTL, ttl_millis};
///
/// assert_eq!(ttl_millis(Duration::from_micros(1500))?, 2);
/// assert_eq!(ttl_millis(Duration::MAX)?, ttl_millis(MAX_TTL)?);
/// assert!(ttl_millis(Duration::ZERO).is_err());
/// # Ok::<(), session_core::Error>(())
/// ```
pub fn ttl_millis(ttl: Duration) -> Result<u64> {
    if ttl.is_zero() {
        return Err(Error::invalid_value("the ttl of a session must be at least one millisecond"));
    }
    let nanos = ttl.min(MAX_TTL).as_nanos();
    Ok(u64::try_from(nanos.div_ceil(1_000_000)).expect("MAX_TTL has far less than 2^64 ms"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ttl_is_rounded_up_clamped_and_never_zero() {
        assert!(ttl_millis(Duration::ZERO).is_err());
        assert_eq!(ttl_millis(Duration::from_nanos(1)).unwrap(), 1);
        assert_eq!(ttl_millis(Duration::from_micros(1001)).unwrap(), 2);
        assert_eq!(ttl_millis(Duration::MAX).unwrap(), 10_000 * 365 * 86_400_000);
    }

    #[test]
    fn owner_has_1_to_255_bytes_and_a_redacted_debug() {
        assert!(Owner::new("").is_err());
        assert!(Owner::new("é".repeat(128)).is_err());
        assert_eq!(format!("{:?}", Owner::new("é".repeat(127)).unwrap()), "Owner(..)");
    }

    #[test]
    fn revision_keeps_all_64_bits() {
        for number in [0, 1, u64::MAX, 1 << 63] {
            let revision = Revision::from_u64(number);
            assert_eq!(Revision::from_i64(revision.to_i64()), revision);
        }
    }
}
