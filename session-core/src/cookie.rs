//! The second, smaller contract: for stores that keep the session in the cookie itself.

use std::borrow::Cow;
use std::fmt;
use std::time::{Duration, SystemTime};

use crate::{Backend, Error, Record, Result, SessionId};

/// A store without a server side: it turns a session into a cookie value and back.
///
/// Both directions are pure computation. The revocation marks of destroyed sessions need a server:
/// an ordinary [`Backend`], which [`revocation`](Self::revocation) returns, keeps them. The handle
/// writes and reads them.
///
/// 1. `open(seal(x))` is x. A value that was changed, by as little as one bit, is `None`.
/// 2. The value is authenticated in constant time before anything in it is used.
/// 3. The expiry is inside the sealed value. `open` enforces it by this machine's wall clock.
/// 4. A value that was sealed for another cookie name, purpose or key is `None`.
///
/// The crate `session-cookie` implements it. A wrapper forwards all methods:
///
/// ```
/// use std::sync::atomic::{AtomicU64, Ordering};
/// use std::time::Duration;
/// use session_core::{
///     Backend, CookieBackend, CookieName, Expiry, Opened, Record, Result, Sealed, SessionId,
/// };
///
/// /// Counts the values that were refused.
/// #[derive(Debug)]
/// struct Counted<C> {
///     inner: C,
///     refused: AtomicU64,
/// }
///
/// impl<C: CookieBackend> CookieBackend for Counted<C> {
///     fn open(&self, value: &str) -> Result<Option<Opened>> {
///         let opened = self.inner.open(value)?;
///         self.refused.fetch_add(u64::from(opened.is_none()), Ordering::Relaxed);
///         Ok(opened)
///     }
///     fn seal(&self, id: &SessionId, record: &Record, expiry: Expiry) -> Result<Sealed> {
///         self.inner.seal(id, record, expiry)
///     }
///     fn name(&self) -> &'static str { self.inner.name() }
///     fn cookie_name(&self) -> &CookieName { self.inner.cookie_name() }
///     fn revocation(&self) -> Option<&dyn Backend> { self.inner.revocation() }
///     fn purpose(&self) -> &str { self.inner.purpose() }
///     fn attribute_reserve(&self) -> usize { self.inner.attribute_reserve() }
///     fn leeway(&self) -> Duration { self.inner.leeway() }
/// }
/// ```
pub trait CookieBackend: fmt::Debug + Send + Sync + 'static {
    /// A short name for errors and logs, for example `"cookie"`.
    fn name(&self) -> &'static str;

    /// The name of the cookie that values are sealed for. The web layer must use this name.
    fn cookie_name(&self) -> &CookieName;

    /// Turns a session into the value of a cookie.
    ///
    /// # Errors
    /// `TooLarge` when no browser would keep the cookie.
    fn seal(&self, id: &SessionId, record: &Record, expiry: Expiry) -> Result<Sealed>;

    /// Turns a value back into the session. `None` if it is not a value of this store or has
    /// expired; the caller can't tell the reasons apart.
    ///
    /// # Errors
    /// `Corrupt` if an authentic value can't be parsed.
    fn open(&self, value: &str) -> Result<Option<Opened>>;

    /// The backend that keeps the revocation marks of destroyed sessions until their cookies have
    /// expired. Without one, a copy of a cookie can be replayed after a logout until it expires.
    fn revocation(&self) -> Option<&dyn Backend> {
        None
    }

    /// What the values are for (default: empty). Stores of different purposes may share a revocation
    /// store: the end of all sessions of an account is for one cookie name and purpose.
    fn purpose(&self) -> &str {
        ""
    }

    /// How many bytes of attributes may follow name and value in the `Set-Cookie` header (default:
    /// any number). Browsers need not keep more than 4096 bytes of name, value and attributes (RFC
    /// 6265bis, 5.6). The web layer must not use more attributes than this. A number below 64,
    /// which the default attributes of the web layer take, counts as 64.
    fn attribute_reserve(&self) -> usize {
        usize::MAX
    }

    /// By how much the clocks of the application servers may differ (default: not at all). `open` accepts a
    /// value for so long after its expiry, and [`destroy_all`](crate::SessionStore::destroy_all)
    /// ends the sessions that a server whose clock is ahead by so much has issued.
    fn leeway(&self) -> Duration {
        Duration::ZERO
    }
}

/// The name of a cookie: a token (RFC 9110, 5.6.2) of at most 256 bytes.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct CookieName(Cow<'static, str>);

impl CookieName {
    /// The greatest length, in bytes. A longer name would leave too little room for the value.
    pub const MAX_BYTES: usize = 256;

    /// # Errors
    /// `InvalidConfig` when the name is empty, too long, or has other characters than letters, digits
    /// and ``!#$%&'*+-.^_`|~``.
    pub fn new(name: impl Into<Cow<'static, str>>) -> Result<Self> {
        let name = name.into();
        let is_token =
            |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        if name.is_empty() || !name.bytes().all(is_token) {
            return Err(Error::invalid_config(format!(
                "{name:?} is not a cookie name: use letters, digits, '-' and '_'"
            )));
        }
        if name.len() > Self::MAX_BYTES {
            return Err(Error::invalid_config("a cookie name has at most 256 bytes"));
        }
        Ok(Self(name))
    }

    /// The name.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// When a sealed value expires.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Expiry {
    /// After this time, counted from now. It is never zero, and more than
    /// [`MAX_TTL`](crate::MAX_TTL) is clamped.
    After(Duration),
    /// At this time, which an earlier [`Sealed`] or [`Opened`] contained.
    At(SystemTime),
}

/// The result of [`CookieBackend::seal`].
#[derive(Clone)]
pub struct Sealed {
    /// The value of the cookie.
    pub value: String,
    /// When it expires.
    pub expires_at: SystemTime,
}

/// The result of [`CookieBackend::open`].
#[derive(Debug, Clone)]
pub struct Opened {
    /// The session id.
    pub id: SessionId,
    /// The record.
    pub record: Record,
    /// When the value expires.
    pub expires_at: SystemTime,
    /// The value was sealed with an older key and should be sealed again, even if nothing changed.
    pub reseal: bool,
}

impl fmt::Debug for Sealed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sealed")
            .field("value_bytes", &self.value.len())
            .field("expires_at", &self.expires_at)
            .finish()
    }
}

/// The value for the client's cookie: the session id, or the sealed session. It is a secret:
/// `Debug` does not show it, and there is no `Display`.
#[derive(Clone, PartialEq, Eq)]
pub struct CookieValue(pub(crate) String);

impl CookieValue {
    /// The value. It has only characters that RFC 6265bis (4.1.1) allows in a cookie without
    /// quotes.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The value.
    #[must_use]
    pub fn into_string(self) -> String {
        self.0
    }
}

impl fmt::Debug for CookieValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CookieValue(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cookie_name_is_a_token() {
        assert_eq!(CookieName::new("__Host-id").unwrap().as_str(), "__Host-id");
        for bad in ["", "a b", "a=b", "a;b", "é", "a\0", "a,b", "\"a\""] {
            assert!(CookieName::new(bad).is_err(), "{bad:?}");
        }
        assert!(CookieName::new("n".repeat(256)).is_ok());
        assert!(CookieName::new("n".repeat(257)).is_err());
    }
}
