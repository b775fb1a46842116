//! The settings of a [`SessionStore`](crate::SessionStore).

use std::fmt;
use std::io;
use std::time::Duration;

use crate::{Error, FlashMode, MAX_TTL, Result};

/// Fills a buffer with cryptographically secure random bytes.
pub type RandomSource = fn(&mut [u8]) -> io::Result<()>;

/// How sessions live and how the store is used. The defaults are safe for a login:
///
/// ```
/// use std::time::Duration;
/// use session_core::Config;
///
/// let config = Config::default()
///     .lifetime(Duration::from_secs(30 * 60))
///     .sliding(true)
///     .absolute_lifetime(Duration::from_secs(12 * 3600));
/// # let _ = config;
/// ```
#[derive(Clone)]
#[non_exhaustive]
pub struct Config {
    pub(crate) lifetime: Duration,
    pub(crate) sliding: bool,
    pub(crate) renew_after: f64,
    pub(crate) absolute_lifetime: Option<Duration>,
    pub(crate) deadline: Duration,
    pub(crate) max_record_size: usize,
    pub(crate) flash: FlashMode,
    pub(crate) random_source: RandomSource,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            lifetime: Duration::from_secs(2 * 3600),
            sliding: false,
            renew_after: 0.1,
            absolute_lifetime: None,
            deadline: Duration::from_secs(5),
            max_record_size: 1 << 20,
            flash: FlashMode::UntilRead,
            random_source: |buffer| Ok(getrandom::fill(buffer)?),
        }
    }
}

impl Config {
    /// How long a session lives from its creation, or with [`sliding`](Self::sliding) from its last
    /// use (default: 2 hours; at least a millisecond). OWASP ASVS 5 (7.3) and NIST SP 800-63B-4 (2)
    /// ask for a limit that fits the risk.
    #[must_use]
    pub fn lifetime(mut self, lifetime: Duration) -> Self {
        self.lifetime = lifetime;
        self
    }

    /// Whether using a session renews its life (default: no).
    #[must_use]
    pub fn sliding(mut self, sliding: bool) -> Self {
        self.sliding = sliding;
        self
    }

    /// The part of the lifetime, from 0 to less than 1, that has to pass before a sliding session is renewed
    /// again (default: 0.1). A session that is used all the time costs one `touch` per such window.
    #[must_use]
    pub fn renew_after(mut self, part: f64) -> Self {
        self.renew_after = part;
        self
    }

    /// The age that no renewal can push a session past (default: none). The age is taken from the
    /// application servers' wall clocks, so a skew between them shifts this limit by as much; the
    /// deadline itself is always kept by the store's one clock.
    #[must_use]
    pub fn absolute_lifetime(mut self, limit: impl Into<Option<Duration>>) -> Self {
        self.absolute_lifetime = limit.into();
        self
    }

    /// How long one operation on the store may take, retries included, until it is `Unavailable`
    /// (default: 5 seconds). One attempt to write gets half of what is left, so that enough time
    /// remains to find out what became of it.
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

    /// When a flash entry is over (default: when it was read).
    #[must_use]
    pub fn flash(mut self, mode: FlashMode) -> Self {
        self.flash = mode;
        self
    }

    /// Where session ids come from (default: the operating system). It must be cryptographically
    /// secure; it is settable for machines with a source of their own, and for tests. When it fails,
    /// a session can't be stored: there is no fallback.
    #[must_use]
    pub fn random_source(mut self, source: RandomSource) -> Self {
        self.random_source = source;
        self
    }

    pub(crate) fn validate(mut self) -> Result<Self> {
        let invalid = |what: &'static str| Err(Error::invalid_config(what));
        if self.lifetime.as_millis() == 0 {
            return invalid("lifetime must be at least a millisecond");
        }
        if self.absolute_lifetime.is_some_and(|limit| limit.as_millis() == 0) {
            return invalid("absolute_lifetime must be at least a millisecond, or None");
        }
        if !(0.0..1.0).contains(&self.renew_after) {
            return invalid("renew_after is a part of the lifetime: from 0 to less than 1");
        }
        if self.deadline.is_zero() {
            return invalid("deadline must not be zero: no store could answer in time");
        }
        if !(256..=1 << 30).contains(&self.max_record_size) {
            return invalid("max_record_size must be from 256 bytes to 1 GiB");
        }
        self.lifetime = self.lifetime.min(MAX_TTL);
        self.deadline = self.deadline.min(Duration::from_secs(86_400));
        Ok(self)
    }
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("lifetime", &self.lifetime)
            .field("sliding", &self.sliding)
            .field("renew_after", &self.renew_after)
            .field("absolute_lifetime", &self.absolute_lifetime)
            .field("deadline", &self.deadline)
            .field("max_record_size", &self.max_record_size)
            .field("flash", &self.flash)
            .finish_non_exhaustive()
    }
}
