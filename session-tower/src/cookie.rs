//! The session's cookie as the server sets it.

use std::borrow::Cow;
use std::time::Duration;

use http::HeaderValue;
use session_core::{CookieValue, Error, ErrorKind, Result, SessionStore};

/// The longest life that browsers give a cookie (RFC 6265bis, 5.5): 400 days.
const MAX_AGE: Duration = Duration::from_secs(400 * 86_400);

/// Browsers ignore a longer attribute value (RFC 6265bis, 5.6) …
const MAX_ATTRIBUTE_BYTES: usize = 1024;

/// … and need not keep a cookie whose name, value and attributes together are longer than this.
const MAX_BYTES: usize = 4096;

/// What a session id takes of it.
const ID_CHARS: usize = 43;

/// The longest one, see [`MAX_AGE`].
const LONGEST_MAX_AGE: &str = "; Max-Age=34560000";

/// The cookie's name and attributes. What browsers would reject is refused when the layer is built.
///
/// | setting | default |
/// |---|---|
/// | [`name`](Self::name) | `__Host-id`; with a cookie store the name that its values are sealed for |
/// | [`secure`](Self::secure) | yes |
/// | [`http_only`](Self::http_only) | yes |
/// | [`same_site`](Self::same_site) | [`SameSite::Lax`] |
/// | [`path`](Self::path) | `/` |
/// | [`domain`](Self::domain) | none: the cookie goes to the host that set it, and to no other |
/// | [`partitioned`](Self::partitioned) | no |
/// | [`expire_on_close`](Self::expire_on_close) | no: `Max-Age` is the rest of the session's life |
#[derive(Debug, Clone)]
#[must_use]
pub struct CookieConfig {
    name: Option<Cow<'static, str>>,
    secure: bool,
    http_only: bool,
    same_site: SameSite,
    path: Cow<'static, str>,
    domain: Option<Cow<'static, str>>,
    partitioned: bool,
    expire_on_close: bool,
}

/// Which requests from other sites carry the cookie (RFC 6265bis, 5.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SameSite {
    /// None.
    Strict,
    /// Only navigations with a safe method, so that a link from elsewhere finds the visitor logged
    /// in and a form from elsewhere does not.
    Lax,
    /// All. The application then has to defend itself against cross-site request forgery.
    None,
}

impl CookieConfig {
    /// The defaults.
    pub const fn new() -> Self {
        Self {
            name: None,
            secure: true,
            http_only: true,
            same_site: SameSite::Lax,
            path: Cow::Borrowed("/"),
            domain: None,
            partitioned: false,
            expire_on_close: false,
        }
    }

    /// The cookie's name. The prefixes `__Host-`, `__Secure-`, `__Http-` and `__Host-Http-` make
    /// browsers refuse the cookie unless it is as protected as they say.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether the cookie travels over TLS only. Browsers count `http://localhost` as secure.
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Whether scripts on the page are kept from reading the cookie.
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Which requests from other sites carry the cookie.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// Below which path the cookie is sent. It is no protection: pages of one host reach each other.
    pub fn path(mut self, path: impl Into<Cow<'static, str>>) -> Self {
        self.path = path.into();
        self
    }

    /// Gives the cookie to this domain and to all its sub-domains.
    pub fn domain(mut self, domain: impl Into<Cow<'static, str>>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// Whether an embedded page has one cookie per site that embeds it (CHIPS).
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// Whether the browser forgets the cookie when it is closed. The session on the server lives
    /// its life all the same.
    pub fn expire_on_close(mut self, expire_on_close: bool) -> Self {
        self.expire_on_close = expire_on_close;
        self
    }

    /// Checks the settings, for a store that may dictate the name and the room for attributes.
    pub(crate) fn build(self, store: &SessionStore) -> Result<Cookie> {
        self.check(store.cookie_name(), store.attribute_reserve())
    }

    fn check(self, name_of_store: Option<&str>, reserve: Option<usize>) -> Result<Cookie> {
        let name = match (name_of_store, self.name) {
            (Some(dictated), Some(name)) if dictated != name => {
                return Err(Error::invalid_config(format!(
                    "the cookie store seals its values for the name {dictated:?}: give the name to \
                     the store, not {name:?} to the layer"
                )));
            }
            (Some(dictated), _) => dictated.to_owned(),
            (None, Some(name)) => name.into_owned(),
            (None, None) => "__Host-id".to_owned(),
        };
        check_name(&name)?;
        check_path(&self.path)?;
        if let Some(domain) = &self.domain {
            check_domain(domain)?;
        }
        let lower = name.to_ascii_lowercase();
        let for_host = lower.starts_with("__host-");
        let for_http = lower.starts_with("__http-") || lower.starts_with("__host-http-");
        let rules = [
            (
                !self.secure && (for_host || for_http || lower.starts_with("__secure-")),
                "the prefix of the cookie's name needs Secure: choose a name without one to go without",
            ),
            (for_host && self.path != "/", "a __Host- cookie has Path=/: choose another name"),
            (
                for_host && self.domain.is_some(),
                "a __Host- cookie has no Domain: choose another name, for example with __Secure-",
            ),
            (
                for_http && !self.http_only,
                "the prefix of the cookie's name needs HttpOnly: choose another name",
            ),
            (
                !self.secure && self.same_site == SameSite::None,
                "browsers reject SameSite=None without Secure",
            ),
            (!self.secure && self.partitioned, "browsers reject Partitioned without Secure"),
        ];
        if let Some((_, why)) = rules.into_iter().find(|(broken, _)| *broken) {
            return Err(Error::invalid_config(why));
        }
        let mut attributes = format!("; Path={}", self.path);
        if let Some(domain) = &self.domain {
            attributes.push_str("; Domain=");
            attributes.push_str(domain);
        }
        if self.secure {
            attributes.push_str("; Secure");
        }
        if self.http_only {
            attributes.push_str("; HttpOnly");
        }
        attributes.push_str(match self.same_site {
            SameSite::Strict => "; SameSite=Strict",
            SameSite::Lax => "; SameSite=Lax",
            SameSite::None => "; SameSite=None",
        });
        if self.partitioned {
            attributes.push_str("; Partitioned");
        }
        let max_age = if self.expire_on_close { 0 } else { LONGEST_MAX_AGE.len() };
        check_room(&name, attributes.len() + max_age, reserve)?;
        Ok(Cookie { name, attributes, expire_on_close: self.expire_on_close })
    }
}

impl Default for CookieConfig {
    fn default() -> Self {
        Self::new()
    }
}

/// A name is a token (RFC 9110, 5.6.2).
fn check_name(name: &str) -> Result<()> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    if name.is_empty() || !name.bytes().all(is_token) {
        return Err(Error::invalid_config(format!(
            "{name:?} is no name for a cookie: use letters, digits, '-' and '_'"
        )));
    }
    Ok(())
}

/// There must be room for an id beside them, or for what a cookie store seals.
fn check_room(name: &str, attributes: usize, reserve: Option<usize>) -> Result<()> {
    if let Some(reserve) = reserve.filter(|reserve| attributes > *reserve) {
        return Err(Error::invalid_config(format!(
            "the cookie's attributes take {attributes} bytes and the cookie store keeps {reserve} free \
             for them: give it with_attribute_reserve({attributes})"
        )));
    }
    if name.len() + "=".len() + ID_CHARS + attributes > MAX_BYTES {
        return Err(Error::invalid_config(
            "the cookie's name and attributes are so long that browsers would reject the cookie",
        ));
    }
    Ok(())
}

fn check_path(path: &str) -> Result<()> {
    let allowed = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b';';
    if !path.starts_with('/') || !path.bytes().all(allowed) || path.ends_with(' ') {
        return Err(Error::invalid_config(format!(
            "{path:?} is no path for a cookie: it begins with '/', and other than ASCII is \
             percent-encoded"
        )));
    }
    if path.len() > MAX_ATTRIBUTE_BYTES {
        return Err(Error::invalid_config("browsers ignore a Path of more than 1024 bytes"));
    }
    Ok(())
}

/// Labels of letters, digits and hyphens; a leading dot is harmless (RFC 6265bis, 5.6.3).
fn check_domain(domain: &str) -> Result<()> {
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && label.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
    };
    let labels = domain.strip_prefix('.').unwrap_or(domain);
    if domain.len() > 254 || !labels.split('.').all(is_label) {
        return Err(Error::invalid_config(format!(
            "{domain:?} is no domain for a cookie: write it like example.org, international ones in \
             their xn-- form"
        )));
    }
    Ok(())
}

/// A checked [`CookieConfig`].
#[derive(Debug, Clone)]
pub(crate) struct Cookie {
    name: String,
    /// Everything but `Max-Age`, from the first semicolon on.
    attributes: String,
    expire_on_close: bool,
}

impl Cookie {
    pub(crate) fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn expires_on_close(&self) -> bool {
        self.expire_on_close
    }

    /// The Set-Cookie that gives the client this value for as long as the session lives.
    pub(crate) fn set(&self, value: &CookieValue, life: Option<Duration>) -> Result<HeaderValue> {
        let mut text = format!("{}={}{}", self.name, value.as_str(), self.attributes);
        if let Some(life) = life.filter(|_| !self.expire_on_close) {
            text.push_str(&format!("; Max-Age={}", max_age(life)));
        }
        if text.len() > MAX_BYTES {
            return Err(Error::new(
                ErrorKind::TooLarge,
                "browsers need not keep a cookie of more than 4096 bytes: keep less in the session",
            ));
        }
        secret_header(&text)
    }

    /// The Set-Cookie that removes it.
    pub(crate) fn remove(&self) -> Result<HeaderValue> {
        secret_header(&format!("{}={}; Max-Age=0", self.name, self.attributes))
    }
}

/// Whole seconds, rounded up and at least one: a Max-Age of 0 would remove the cookie, also of a
/// session that a cookie store's leeway keeps alive, and a cookie that outlives its session for a
/// moment does no harm.
fn max_age(life: Duration) -> u64 {
    let life = life.clamp(Duration::from_secs(1), MAX_AGE);
    life.as_secs() + u64::from(life.subsec_nanos() > 0)
}

/// Marked as sensitive, so that neither a `Debug` of the headers nor HTTP/2 compression shows it.
fn secret_header(text: &str) -> Result<HeaderValue> {
    let mut header = HeaderValue::from_str(text).map_err(|_| {
        Error::new(
            ErrorKind::Other,
            "the store gave a cookie value that does not fit into a header",
        )
    })?;
    header.set_sensitive(true);
    Ok(header)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn attributes(config: CookieConfig) -> String {
        config.check(None, None).unwrap().attributes
    }

    fn refusal(config: CookieConfig) -> String {
        let error = config.check(None, None).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        error.to_string()
    }

    #[test]
    fn defaults_are_the_safest_that_work() {
        let cookie = CookieConfig::new().check(None, None).unwrap();
        assert_eq!(cookie.name(), "__Host-id");
        assert_eq!(cookie.attributes, "; Path=/; Secure; HttpOnly; SameSite=Lax");
    }

    #[test]
    fn every_attribute_is_configurable() {
        let all = CookieConfig::new()
            .name("__Secure-app")
            .http_only(false)
            .same_site(SameSite::None)
            .path("/app")
            .domain("example.org")
            .partitioned(true);
        assert_eq!(
            attributes(all),
            "; Path=/app; Domain=example.org; Secure; SameSite=None; Partitioned"
        );
        let bare = CookieConfig::new().name("sid").secure(false).same_site(SameSite::Strict);
        assert_eq!(attributes(bare), "; Path=/; HttpOnly; SameSite=Strict");
    }

    #[test]
    fn what_browsers_reject_is_refused() {
        let plain = || CookieConfig::new().name("sid");
        for name in ["__Host-id", "__Secure-id", "__Http-id", "__HOST-id", "__secure-id"] {
            assert!(refusal(CookieConfig::new().name(name).secure(false)).contains("Secure"));
        }
        assert!(refusal(CookieConfig::new().path("/app")).contains("Path=/"));
        assert!(refusal(CookieConfig::new().domain("example.org")).contains("Domain"));
        for name in ["__Http-id", "__Host-Http-id"] {
            assert!(refusal(CookieConfig::new().name(name).http_only(false)).contains("HttpOnly"));
        }
        assert!(refusal(plain().secure(false).same_site(SameSite::None)).contains("SameSite"));
        assert!(refusal(plain().secure(false).partitioned(true)).contains("Partitioned"));
        for name in ["", "a b", "a=b", "a;b", "é", "a\0", "a,b", "\"a\""] {
            refusal(CookieConfig::new().name(name));
        }
        refusal(CookieConfig::new().name("n".repeat(MAX_BYTES)));
        for path in ["", "app", "/a;b", "/a\nb", "/é", "/ "] {
            refusal(plain().path(path));
        }
        refusal(plain().path(format!("/{}", "p".repeat(MAX_ATTRIBUTE_BYTES))));
        for domain in ["", ".", "example.org.", "exa mple.org", "bücher.de", "a;b", "..a"] {
            refusal(plain().domain(domain));
        }
    }

    #[test]
    fn a_cookie_store_dictates_the_name() {
        let cookie = CookieConfig::new().check(Some("__Host-sealed"), None).unwrap();
        assert_eq!(cookie.name(), "__Host-sealed");
        assert!(
            CookieConfig::new().name("__Host-sealed").check(Some("__Host-sealed"), None).is_ok()
        );
        assert!(CookieConfig::new().name("other").check(Some("__Host-sealed"), None).is_err());
        assert!(CookieConfig::new().path("/app").check(Some("__Host-sealed"), None).is_err());
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
    fn attributes_that_a_cookie_store_keeps_no_room_for_are_refused() {
        let config = |path: usize| CookieConfig::new().path(format!("/{}", "p".repeat(path)));
        let refusal = config(300).check(Some("__Secure-s"), Some(117)).unwrap_err();
        assert_eq!(refusal.kind(), ErrorKind::InvalidConfig);
        let needed = "; Path=/; Secure; HttpOnly; SameSite=Lax".len() + 300 + LONGEST_MAX_AGE.len();
        assert!(refusal.message().contains(&format!("with_attribute_reserve({needed})")));
        assert!(config(300).check(Some("__Secure-s"), Some(needed)).is_ok());
        assert!(config(300).check(Some("__Secure-s"), Some(needed - 1)).is_err());
        // The defaults fit into the least that a cookie store keeps.
        assert!(CookieConfig::new().check(Some("__Host-s"), Some(64)).is_ok());
    }

    #[test]
    fn removal_names_the_same_cookie() {
        let cookie = CookieConfig::new().check(None, None).unwrap();
        let header = cookie.remove().unwrap();
        assert_eq!(
            header.to_str().unwrap(),
            "__Host-id=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0"
        );
        assert_eq!(format!("{header:?}"), "Sensitive");
    }
}
