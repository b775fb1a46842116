//! The settings of a [`SessionStore`](crate::SessionStore).

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::time::Duration;

use crate::{Error, MAX_TTL, Result};

/// Fills a buffer with cryptographically secure random bytes.
///
/// ```
/// use std::io::{self, Read as _};
/// use session_core::{Config, RandomSource};
///
/// /// The generator of this machine.
/// const HARDWARE: RandomSource = |buffer: &mut [u8]| -> io::Result<()> {
///     std::fs::File::open("/dev/hwrng")?.read_exact(buffer)
/// };
/// let config = Config::default().random_source(HARDWARE);
/// # let _ = config;
/// ```
pub type RandomSource = fn(&mut [u8]) -> io::Result<()>;

/// When a flash entry is removed.
///
/// ```
/// use session_core::{Config, FlashMode};
///
/// let config = Config::default().flash(FlashMode::NextRequest);
/// # let _ = config;
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum FlashMode {
    /// When a request has taken it (the default).
    #[default]
    UntilRead,
    /// After the next request that uses the session, whether that request read it or not.
    NextRequest,
}

/// How many sessions an account may have at once, and what happens beyond that; see
/// [`Config::owner_limit`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize), serde(rename_all = "kebab-case"))]
pub enum OwnerLimit {
    /// At most this many: a sign-in beyond it is refused with
    /// [`ErrorKind::TooManySessions`](crate::ErrorKind::TooManySessions).
    Refuse(usize),
    /// At most this many: a sign-in beyond it ends the sessions with the oldest sign-in.
    EndOldest(usize),
}

impl OwnerLimit {
    pub(crate) fn max(self) -> usize {
        match self {
            Self::Refuse(max) | Self::EndOldest(max) => max,
        }
    }
}

/// The settings of a store: lifetimes, limits and deadline. The defaults are safe for a login.
///
/// ```
/// use std::time::Duration;
/// use session_core::Config;
///
/// // A session ends after half an hour without use, and after 12 hours in any case.
/// let config = Config::default()
///     .idle_timeout(Duration::from_secs(30 * 60))
///     .lifetime(Duration::from_secs(12 * 3600));
/// # let _ = config;
/// ```
///
/// With the feature `serde` it can be deserialized, for example from a configuration file. A value
/// out of its range is an error. Durations are texts such as `"30m"` or `"12h"`:
///
/// ```toml
/// lifetime = "12h"
/// idle_timeout = "30m"
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    pub(crate) lifetime: Option<Duration>,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) renew_after: f64,
    pub(crate) tombstone_ttl: Duration,
    pub(crate) purpose: Cow<'static, str>,
    pub(crate) deadline: Duration,
    pub(crate) max_record_size: usize,
    pub(crate) flash: FlashMode,
    pub(crate) random_source: RandomSource,
    pub(crate) owner_limit: Option<OwnerLimit>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lifetime: Some(Duration::from_secs(2 * 3600)),
            idle_timeout: None,
            renew_after: 0.1,
            tombstone_ttl: Duration::from_secs(10),
            purpose: Cow::Borrowed(""),
            deadline: Duration::from_secs(5),
            max_record_size: 1 << 20,
            flash: FlashMode::UntilRead,
            random_source: |buffer| Ok(getrandom::fill(buffer)?),
            owner_limit: None,
        }
    }
}

impl Config {
    /// The longest life of a session, from its creation or its last
    /// [`sign_in`](crate::Session::sign_in), regardless of its use (default: 2 hours; at least a
    /// millisecond; `None`: only the idle timeout limits it). OWASP ASVS 5 (7.3.2) and NIST SP
    /// 800-63B-4 (2) ask for a limit that fits the risk.
    ///
    /// Without an idle timeout the store's clock alone decides. With an idle timeout, each renewal
    /// computes the age from the wall clock of the application server, so a skew between the
    /// servers' clocks shifts this limit by the same amount.
    #[must_use]
    pub fn lifetime(mut self, lifetime: impl Into<Option<Duration>>) -> Self {
        self.lifetime = lifetime.into();
        self
    }

    /// How long a session lives without use (default: `None`, no such limit; at least a
    /// millisecond; OWASP ASVS 5, 7.3.1). Each use renews the session, within its
    /// [`lifetime`](Self::lifetime).
    #[must_use]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Self {
        self.idle_timeout = timeout.into();
        self
    }

    /// The part of the idle timeout, from 0 to less than 1, that has to pass before a session is
    /// renewed again (default: 0.1). A session in constant use costs one `touch` in each such
    /// interval.
    #[must_use]
    pub fn renew_after(mut self, part: f64) -> Self {
        self.renew_after = part;
        self
    }

    /// For how long after a rotation a request with the old id counts as late, see
    /// [`Session::regenerate`](crate::Session::regenerate) (default: 10 seconds). It is never less
    /// than the [`deadline`](Self::deadline).
    #[must_use]
    pub fn tombstone_ttl(mut self, ttl: Duration) -> Self {
        self.tombstone_ttl = ttl;
        self
    }

    /// What the sessions are for, for example `"admin"` (default: empty). The purpose is hashed
    /// into the key, so an id of one purpose loads nothing with another purpose on the same
    /// backend. Two layers on one backend need two purposes. A change of the purpose ends all
    /// sessions.
    ///
    /// A cookie store has its own purpose, which is part of what it seals. It does not accept this
    /// setting.
    #[must_use]
    pub fn purpose(mut self, purpose: impl Into<Cow<'static, str>>) -> Self {
        self.purpose = purpose.into();
        self
    }

    /// The time limit of one operation on the store, retries included; beyond it the operation is
    /// `Unavailable` (default: 5 seconds). One attempt to write gets half of the remaining time, so
    /// that enough time is left to find out its outcome.
    #[must_use]
    pub fn deadline(mut self, deadline: Duration) -> Self {
        self.deadline = deadline;
        self
    }

    /// The greatest size of an encoded session, in bytes (default: 1 MiB). Beyond it a save is
    /// `TooLarge` and writes nothing.
    #[must_use]
    pub fn max_record_size(mut self, bytes: usize) -> Self {
        self.max_record_size = bytes;
        self
    }

    /// When a flash entry is removed (default: when a request has taken it).
    #[must_use]
    pub fn flash(mut self, mode: FlashMode) -> Self {
        self.flash = mode;
        self
    }

    /// The source of session ids (default: the operating system). It must be cryptographically
    /// secure. The setting is for machines with their own random source, and for tests. If the
    /// source fails, a new session can't be stored: there is no fallback.
    #[must_use]
    pub fn random_source(mut self, source: RandomSource) -> Self {
        self.random_source = source;
        self
    }

    /// How many sessions an account may have at once (default: `None`, any number; at least 1).
    ///
    /// With any number of parallel sign-ins, on any number of nodes with the same limit, at most that many
    /// sessions of the account are alive once all of the sign-ins have returned. It counts whenever a session gets an
    /// owner: by [`sign_in`](crate::Session::sign_in) or [`set_owner`](crate::Session::set_owner).
    ///
    /// After its write, the save reads the account's sessions and orders them by the time of their
    /// sign-in, by the clocks of the application servers. The order is the same on each node. It ends
    /// what is beyond the limit: the oldest with [`OwnerLimit::EndOldest`], the latest with
    /// [`OwnerLimit::Refuse`].
    ///
    /// - `Refuse` also reads the sessions before the write. Where the account has its number of
    ///   sessions already, the save is `TooManySessions`, nothing is written, and the changes wait for
    ///   the next save: end another session and save again, or
    ///   [discard](crate::Session::discard_changes) them. Only where sign-ins run at the same moment, one can
    ///   lose after its write: it is `TooManySessions`, too, and its session has ended. Its save may
    ///   also have succeeded a moment before that.
    /// - With `EndOldest`, a sign-in that others overtake at the same moment is `Gone`.
    /// - A session that gets a new id at that moment may count twice. So may one whose sign-in crashed
    ///   or failed after its write, until the next sign-in (`EndOldest`) or its expiry (`Refuse`).
    /// - Sessions that were there before the limit was set or lowered remain until the next sign-in.
    /// - It costs one read of the index and one load for each session of the account at each sign-in,
    ///   twice that with `Refuse`, and two calls for each session that ends. Other saves and loads cost nothing more.
    ///
    /// It needs a store that can find the sessions of an account ([`OwnerIndex`](crate::OwnerIndex));
    /// [`with_config`](crate::SessionStore::with_config) refuses it on another one. It does not count
    /// the [`records`](crate::SessionStore::records) of other libraries.
    ///
    /// ```
    /// use session_core::{Config, OwnerLimit};
    ///
    /// let config = Config::default().owner_limit(OwnerLimit::EndOldest(5));
    /// # let _ = config;
    /// ```
    #[must_use]
    pub fn owner_limit(mut self, limit: impl Into<Option<OwnerLimit>>) -> Self {
        self.owner_limit = limit.into();
        self
    }

    /// Checks the ranges of all settings.
    pub(crate) fn validate(mut self) -> Result<Self> {
        let invalid = |what: &'static str| Err(Error::invalid_config(what));
        let is_too_short = |time: Option<Duration>| time.is_some_and(|time| time.as_millis() == 0);
        if is_too_short(self.lifetime) {
            return invalid("lifetime must be at least a millisecond, or None");
        }
        if is_too_short(self.idle_timeout) {
            return invalid("idle_timeout must be at least a millisecond, or None");
        }
        if self.lifetime.is_none() && self.idle_timeout.is_none() {
            return invalid("set lifetime or idle_timeout: sessions would live forever");
        }
        if !(0.0..1.0).contains(&self.renew_after) {
            return invalid("renew_after is a part of the idle timeout: from 0 to less than 1");
        }
        if self.deadline.is_zero() {
            return invalid("deadline must not be zero: no store could answer in time");
        }
        if !(256..=1 << 30).contains(&self.max_record_size) {
            return invalid("max_record_size must be from 256 bytes to 1 GiB");
        }
        if self.owner_limit.is_some_and(|limit| limit.max() == 0) {
            return invalid("owner_limit must be at least 1: no account could sign in");
        }
        self.lifetime = self.lifetime.map(|lifetime| lifetime.min(MAX_TTL));
        self.idle_timeout = self.idle_timeout.map(|timeout| timeout.min(MAX_TTL));
        self.deadline = self.deadline.min(Duration::from_secs(86_400));
        self.tombstone_ttl = self.tombstone_ttl.clamp(self.deadline, Duration::from_secs(86_400));
        Ok(self)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("lifetime", &self.lifetime)
            .field("idle_timeout", &self.idle_timeout)
            .field("renew_after", &self.renew_after)
            .field("tombstone_ttl", &self.tombstone_ttl)
            .field("purpose", &self.purpose)
            .field("deadline", &self.deadline)
            .field("max_record_size", &self.max_record_size)
            .field("flash", &self.flash)
            .field("owner_limit", &self.owner_limit)
            .finish_non_exhaustive()
    }
}

/// The serialized form.
#[cfg(feature = "serde")]
mod file {
    use std::time::Duration;

    use serde::{Deserialize, Deserializer, de};

    use super::{Config, FlashMode, OwnerLimit};

    #[derive(Deserialize)]
    #[serde(deny_unknown_fields)]
    struct File {
        #[serde(default, with = "humantime_serde::option")]
        lifetime: Option<Duration>,
        #[serde(default, with = "humantime_serde::option")]
        idle_timeout: Option<Duration>,
        renew_after: Option<f64>,
        #[serde(default, with = "humantime_serde::option")]
        tombstone_ttl: Option<Duration>,
        purpose: Option<String>,
        #[serde(default, with = "humantime_serde::option")]
        deadline: Option<Duration>,
        max_record_size: Option<usize>,
        flash: Option<FlashMode>,
        owner_limit: Option<OwnerLimit>,
    }

    /// A missing setting has its default. So with an `idle_timeout` and no `lifetime`, the default
    /// lifetime applies, too.
    impl<'de> Deserialize<'de> for Config {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
            let file = File::deserialize(deserializer)?;
            let default = Self::default();
            Self {
                lifetime: file.lifetime.or(default.lifetime),
                idle_timeout: file.idle_timeout.or(default.idle_timeout),
                renew_after: file.renew_after.unwrap_or(default.renew_after),
                tombstone_ttl: file.tombstone_ttl.unwrap_or(default.tombstone_ttl),
                purpose: file.purpose.map_or(default.purpose, Into::into),
                deadline: file.deadline.unwrap_or(default.deadline),
                max_record_size: file.max_record_size.unwrap_or(default.max_record_size),
                flash: file.flash.unwrap_or(default.flash),
                random_source: default.random_source,
                owner_limit: file.owner_limit.or(default.owner_limit),
            }
            .validate()
            .map_err(de::Error::custom)
        }
    }

    #[cfg(test)]
    mod tests {
        use super::*;

        #[test]
        fn a_file_sets_the_named_settings_and_invalid_ones_are_errors() {
            let json = r#"{"lifetime":"12h","idle_timeout":"30m","flash":"next-request",
                "owner_limit":{"end-oldest":5}}"#;
            let config: Config = serde_json::from_str(json).unwrap();
            assert_eq!(config.lifetime, Some(Duration::from_secs(12 * 3600)));
            assert_eq!(config.idle_timeout, Some(Duration::from_secs(1800)));
            assert_eq!(config.flash, FlashMode::NextRequest);
            assert_eq!(config.owner_limit, Some(OwnerLimit::EndOldest(5)));
            assert_eq!(config.deadline, Config::default().deadline);
            for bad in [
                r#"{"lifetime":"0s"}"#,
                r#"{"lifetme":"2h"}"#,
                r#"{"lifetime":2}"#,
                r#"{"owner_limit":{"refuse":0}}"#,
            ] {
                assert!(serde_json::from_str::<Config>(bad).is_err(), "{bad}");
            }
        }
    }
}
