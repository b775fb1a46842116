//! The cookie store.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use session_core::{
    Backend, Bytes, CookieBackend, CookieName, Error, ErrorKind, Expiry, Opened, Record, Result,
    Sealed, SessionId, ttl_millis,
};

use crate::SecretKey;
use crate::envelope::{self, Times};
use crate::protection::{Protection, Refusal};
use crate::signed::Signed;
use crate::size::{self, Size};

const DEFAULT_PURPOSE: &str = "session";
const DEFAULT_LEEWAY: Duration = Duration::from_secs(1);

/// Sessions in the client's cookie, signed or encrypted.
///
/// # ⚠ An old cookie can be replayed
///
/// The server keeps no state, so **without [`with_revocation`](Self::with_revocation) a logout only
/// asks the browser to remove its cookie**. Until the value expires, a client that sends a copy of
/// it (another device, a thief, the user) is logged in again. The same holds for every older state
/// of a session: a client that sends an older cookie gets the older cart, balance or role. Keep
/// lifetimes short, store nothing in the session whose older value can be misused, or use
/// `with_revocation`, which makes logouts final.
///
/// For the same reason concurrent requests of one client are not merged: each response contains the
/// whole session, and the last `Set-Cookie` wins.
///
/// # Example
///
/// ```
/// use session_cookie::{CookieStore, SecretKey};
///
/// # fn main() -> session_core::Result<()> {
/// # let (new_key, old_key) = (SecretKey::generate()?, SecretKey::generate()?);
/// // The first key seals, and every key opens.
/// let store = CookieStore::signed("__Host-session", [new_key, old_key])?;
/// # Ok(()) }
/// ```
pub struct CookieStore {
    name: CookieName,
    purpose: String,
    /// The length and the text of the purpose and of the cookie name.
    context: Vec<u8>,
    protection: Box<dyn Protection>,
    leeway: Duration,
    attribute_reserve: usize,
    revocation: Option<Box<dyn Backend>>,
    clock: Option<Clock>,
}

type Clock = Arc<dyn Fn() -> SystemTime + Send + Sync>;

impl CookieStore {
    /// A store whose values the client can read, but not change: HMAC-SHA256.
    ///
    /// The values are valid only for the cookie of this name; the web layer must use this name. The
    /// first key seals, and every key opens. A value of an older key is sealed again with the first
    /// key at the next save. Removing a key ends all sessions that it sealed. A value that no key
    /// opens costs one HMAC per key, so keep the ring short.
    ///
    /// # Errors
    /// `InvalidConfig` if the name is not a [`CookieName`], or if the ring is empty or contains a
    /// key twice.
    pub fn signed(
        name: impl Into<Cow<'static, str>>,
        keys: impl IntoIterator<Item = SecretKey>,
    ) -> Result<Self> {
        let keys: Vec<_> = keys.into_iter().collect();
        Ok(Self::new(CookieName::new(name)?, Box::new(Signed::new(&keys)?)))
    }

    /// A store whose values the client can neither read nor change: AES-256-GCM-SIV. It opens only
    /// encrypted values: a value that is only signed is refused, even with the same keys.
    ///
    /// Otherwise as [`signed`](Self::signed). The length of a session is visible to the client.
    ///
    /// # Errors
    /// `InvalidConfig` if the name is not a [`CookieName`], or if the ring is empty or contains a
    /// key twice.
    #[cfg(feature = "encryption")]
    pub fn encrypted(
        name: impl Into<Cow<'static, str>>,
        keys: impl IntoIterator<Item = SecretKey>,
    ) -> Result<Self> {
        let keys: Vec<_> = keys.into_iter().collect();
        let protection = Box::new(crate::encrypted::Encrypted::new(&keys)?);
        Ok(Self::new(CookieName::new(name)?, protection))
    }

    fn new(name: CookieName, protection: Box<dyn Protection>) -> Self {
        Self {
            purpose: DEFAULT_PURPOSE.to_owned(),
            context: context(DEFAULT_PURPOSE, name.as_str()),
            name,
            protection,
            leeway: DEFAULT_LEEWAY,
            attribute_reserve: size::DEFAULT_RESERVE,
            revocation: None,
            clock: None,
        }
    }

    /// What the values are for (default `"session"`). A store refuses the values of any other
    /// purpose: two applications that share a key and a cookie name must use different purposes.
    #[must_use]
    pub fn with_purpose(mut self, purpose: &str) -> Self {
        purpose.clone_into(&mut self.purpose);
        self.context = context(purpose, self.name.as_str());
        self
    }

    /// By how much the clocks of the servers may differ (default 1 s): a value is accepted for so
    /// long after its expiry, and `destroy_all` ends the sessions of an account that a server
    /// whose clock is ahead by so much has issued.
    #[must_use]
    pub fn with_leeway(mut self, leeway: Duration) -> Self {
        self.leeway = leeway;
        self
    }

    /// How many of a cookie's 4096 bytes are reserved for its attributes.
    ///
    /// The default, 117, is enough for all attributes with their longest values except `Domain` and
    /// a `Path` other than `/`: add `"; Domain=".len()`, the domain's length and the path's. At
    /// least 64 bytes are reserved, for the defaults of the web layer. The web layer refuses a
    /// configuration whose attributes need more than the reserve.
    #[must_use]
    pub fn with_attribute_reserve(mut self, bytes: usize) -> Self {
        self.attribute_reserve = bytes.max(size::LEAST_RESERVE);
        self
    }

    /// Sets the backend that keeps the revocation marks of destroyed sessions until their values
    /// have expired. Logouts are then final. Each load makes one call to this backend, so sessions
    /// are as available as the backend.
    #[must_use]
    pub fn with_revocation(mut self, backend: impl Backend) -> Self {
        self.revocation = Some(Box::new(backend));
        self
    }

    /// Reads the time from `clock` instead of the system, for tests.
    #[must_use]
    pub fn with_clock(mut self, clock: impl Fn() -> SystemTime + Send + Sync + 'static) -> Self {
        self.clock = Some(Arc::new(clock));
        self
    }

    fn try_open(&self, value: &str, now: u64) -> Result<Result<Opened, Refusal>> {
        if value.len() > size::LIMIT {
            return Ok(Err(Refusal::TooLong));
        }
        // Strict: without padding, other alphabets or unused bits that are set.
        let Ok(mut bytes) = URL_SAFE_NO_PAD.decode(value) else {
            return Ok(Err(Refusal::NotBase64));
        };
        let authentic = match self.protection.authenticate(&self.context, &mut bytes) {
            Ok(authentic) => authentic,
            Err(refusal) => return Ok(Err(refusal)),
        };

        let start = authentic.envelope.start;
        let not_understood = || Error::corrupt("an authentic cookie value can't be parsed");
        let envelope = envelope::parse(&bytes[authentic.envelope]).ok_or_else(not_understood)?;
        let leeway = u64::try_from(self.leeway.as_millis()).unwrap_or(u64::MAX);
        if now >= envelope.times.expires.saturating_add(leeway) {
            return Ok(Err(Refusal::Expired));
        }
        let expires_at = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_millis(envelope.times.expires))
            .ok_or_else(not_understood)?;
        let payload = start + envelope.payload.start..start + envelope.payload.end;
        Ok(Ok(Opened {
            id: envelope.id,
            record: Record {
                payload: Bytes::from(bytes).slice(payload), // no copy
                revision: envelope.revision,
                owner: envelope.owner,
            },
            expires_at,
            reseal: authentic.key != 0,
        }))
    }

    fn check_size(&self, sealed_bytes: usize, payload: &[u8]) -> Result<()> {
        let size = Size {
            name: self.name.as_str().len(),
            value: sealed_bytes.saturating_mul(4).div_ceil(3),
            attributes: self.attribute_reserve,
        };
        if size.total() > size::LIMIT {
            return Err(size.too_large(payload));
        }
        Ok(())
    }

    /// Milliseconds since 1970.
    fn now(&self) -> Result<u64> {
        let now = self.clock.as_ref().map_or_else(SystemTime::now, |clock| clock());
        millis(now).ok_or_else(|| {
            Error::new(
                ErrorKind::Other,
                "the clock of this machine is wrong: it shows a time before 1970",
            )
        })
    }
}

impl CookieBackend for CookieStore {
    fn name(&self) -> &'static str {
        "cookie"
    }

    fn cookie_name(&self) -> &CookieName {
        &self.name
    }

    /// # Errors
    /// `TooLarge` if name, value and attributes exceed 4096 bytes; the message names the largest
    /// values. `InvalidValue` for a lifetime of zero. `Other` if the random source fails.
    fn seal(&self, id: &SessionId, record: &Record, expiry: Expiry) -> Result<Sealed> {
        let issued = self.now()?;
        let expires = match expiry {
            Expiry::After(ttl) => issued.saturating_add(ttl_millis(ttl)?),
            Expiry::At(time) => millis(time)
                .ok_or_else(|| Error::invalid_value("a session can't expire before 1970"))?,
        };
        let expires_at = SystemTime::UNIX_EPOCH
            .checked_add(Duration::from_millis(expires))
            .ok_or_else(|| Error::invalid_value("a session can't expire this late"))?;

        let length = self.protection.overhead() + envelope::length(record);
        self.check_size(length, &record.payload)?;
        let mut sealed = Vec::with_capacity(length);
        self.protection.begin(&mut sealed)?;
        envelope::write(&mut sealed, Times { issued, expires }, id, record);
        self.protection.finish(&self.context, &mut sealed);
        Ok(Sealed { value: URL_SAFE_NO_PAD.encode(sealed), expires_at })
    }

    /// # Errors
    /// `Corrupt` if an authentic value can't be parsed.
    fn open(&self, value: &str) -> Result<Option<Opened>> {
        match self.try_open(value, self.now()?)? {
            Ok(opened) => Ok(Some(opened)),
            Err(refusal) => {
                let reason = refusal.reason();
                tracing::debug!(
                    cookie = self.name.as_str(),
                    reason,
                    "a session cookie was refused"
                );
                Ok(None)
            }
        }
    }

    fn revocation(&self) -> Option<&dyn Backend> {
        self.revocation.as_deref()
    }

    fn purpose(&self) -> &str {
        &self.purpose
    }

    fn attribute_reserve(&self) -> usize {
        self.attribute_reserve
    }

    fn leeway(&self) -> Duration {
        self.leeway
    }
}

impl fmt::Debug for CookieStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CookieStore")
            .field("name", &self.name.as_str())
            .field("protection", &self.protection.name())
            .field("keys", &self.protection.keys())
            .field("leeway", &self.leeway)
            .field("attribute_reserve", &self.attribute_reserve)
            .field("revocation", &self.revocation)
            .finish_non_exhaustive()
    }
}

/// The context that every value is bound to. With their lengths, no other purpose and name have the
/// same bytes.
fn context(purpose: &str, name: &str) -> Vec<u8> {
    let mut context = Vec::with_capacity(8 + 8 + purpose.len() + name.len());
    for part in [purpose, name] {
        context.extend_from_slice(&(part.len() as u64).to_be_bytes());
        context.extend_from_slice(part.as_bytes());
    }
    context
}

fn millis(time: SystemTime) -> Option<u64> {
    let since = time.duration_since(SystemTime::UNIX_EPOCH).ok()?;
    u64::try_from(since.as_millis()).ok()
}
