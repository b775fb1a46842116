//! The session's cookie as the server sets it.

use std::time::Duration;

use session_core::{CookieName, CookieValue, Error, ErrorKind, Result};

/// The longest life that browsers give a cookie (RFC 6265bis, 5.5): 400 days.
const MAX_AGE: Duration = Duration::from_secs(400 * 86_400);

/// Browsers need not keep a cookie whose name, value and attributes together are longer than this
/// (RFC 6265bis, 5.6).
const MAX_BYTES: usize = 4096;

/// The length of a session id.
pub(crate) const ID_CHARS: usize = 43;

/// The longest `Max-Age` attribute, see [`MAX_AGE`].
const LONGEST_MAX_AGE: &str = "; Max-Age=34560000";

/// The name and attributes that the layer writes into `Set-Cookie`.
#[derive(Debug, Clone)]
pub(crate) struct Cookie {
    name: CookieName,
    /// Everything but `Max-Age`, from the first semicolon on.
    attributes: String,
    expire_on_close: bool,
}

impl Cookie {
    pub(crate) fn new(name: CookieName, attributes: String, expire_on_close: bool) -> Self {
        Self { name, attributes, expire_on_close }
    }

    pub(crate) fn name(&self) -> &CookieName {
        &self.name
    }

    pub(crate) fn expires_on_close(&self) -> bool {
        self.expire_on_close
    }

    /// Checks that the cookie is not too long: with a session id, or with a value of a cookie store, which
    /// reserves `reserve` bytes for the attributes.
    pub(crate) fn check_room(&self, reserve: Option<usize>) -> Result<()> {
        let attributes = self.attributes.len() + LONGEST_MAX_AGE.len();
        if let Some(reserve) = reserve.filter(|reserve| attributes > *reserve) {
            return Err(Error::invalid_config(format!(
                "the cookie's attributes need {attributes} bytes, but the cookie store reserves {reserve} \
                 for them: configure it using with_attribute_reserve({attributes})"
            )));
        }
        if self.name.as_str().len() + "=".len() + ID_CHARS + attributes > MAX_BYTES {
            return Err(Error::invalid_config(
                "the cookie's name and attributes are too long: browsers would reject the cookie",
            ));
        }
        Ok(())
    }

    /// The `Set-Cookie` that gives the client this value, for the time `life` or, if it is `None`, until
    /// the browser is closed.
    pub(crate) fn set(&self, value: &CookieValue, life: Option<Duration>) -> Result<String> {
        let mut text = format!("{}={}{}", self.name.as_str(), value.as_str(), self.attributes);
        if let Some(life) = life {
            text.push_str(&format!("; Max-Age={}", max_age(life)));
        }
        if text.len() > MAX_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "the cookie has more than 4096 bytes, which browsers may reject: keep less in the session",
            ));
        }
        header(text)
    }

    /// The `Set-Cookie` that removes the cookie.
    pub(crate) fn remove(&self) -> Result<String> {
        header(format!("{}={}; Max-Age=0", self.name.as_str(), self.attributes))
    }
}

/// Whole seconds, rounded up and at least one. A `Max-Age` of 0 would remove the cookie, although the
/// leeway of a cookie store may keep the session alive. A cookie that outlives its session for a moment
/// does no harm.
fn max_age(life: Duration) -> u64 {
    let life = life.clamp(Duration::from_secs(1), MAX_AGE);
    life.as_secs() + u64::from(life.subsec_nanos() > 0)
}

/// Fails for what no header can hold.
pub(crate) fn header(text: String) -> Result<String> {
    if text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) {
        return Ok(text);
    }
    Err(Error::new(
        ErrorKind::Other,
        "the store returned a cookie value with characters that a header can't have",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cookie() -> Cookie {
        Cookie::new(CookieName::new("__Host-id").unwrap(), "; Path=/; Secure".into(), false)
    }

    #[test]
    fn max_age_is_rounded_up_and_never_beyond_what_browsers_keep() {
        assert_eq!(max_age(Duration::ZERO), 1);
        assert_eq!(max_age(Duration::from_millis(1)), 1);
        assert_eq!(max_age(Duration::from_secs(7200)), 7200);
        assert_eq!(max_age(Duration::from_millis(7_200_001)), 7201);
        assert_eq!(max_age(Duration::MAX), 34_560_000);
        assert_eq!(format!("; Max-Age={}", max_age(Duration::MAX)), LONGEST_MAX_AGE);
    }

    #[test]
    fn removal_names_the_same_cookie() {
        assert_eq!(cookie().remove().unwrap(), "__Host-id=; Path=/; Secure; Max-Age=0");
    }
}
