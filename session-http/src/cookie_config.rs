//! The settings of the session's cookie.

#[cfg(feature = "serde")]
mod file;

use std::borrow::Cow;
use std::sync::{Arc, Once};

use session_core::{CookieName, Error, Result, SessionStore};

use crate::RequestHead;
use crate::cookie::Cookie;
use crate::per_request::PerRequest;

/// Browsers ignore a longer attribute value (RFC 6265bis, 5.6).
const MAX_ATTRIBUTE_BYTES: usize = 1024;

const DEFAULT_NAME: &str = "__Host-id";

/// The cookie's name and attributes. A combination that browsers would reject is an error when the layer is
/// built.
///
/// | setting | default |
/// |---|---|
/// | [`name`](Self::name) | `__Host-id`; with a cookie store the name that the store seals its values for |
/// | [`secure`](Self::secure) | yes |
/// | [`http_only`](Self::http_only) | yes |
/// | [`same_site`](Self::same_site) | [`SameSite::Lax`] |
/// | [`path`](Self::path) | `/` |
/// | [`domain`](Self::domain) | none: the cookie is sent only to the host that set it |
/// | [`partitioned`](Self::partitioned) | no |
/// | [`expire_on_close`](Self::expire_on_close) | no: `Max-Age` is the remaining life of the session |
/// | [`domain_for`](Self::domain_for), [`secure_for`](Self::secure_for) | none: the same for all requests |
///
/// With the feature `serde` it can be read from a configuration file. A missing setting has its default.
/// An unknown setting and a value that browsers would reject are errors.
///
/// ```
/// use session_http::{CookieConfig, SameSite};
///
/// // Sent to all subdomains, never with requests of other sites.
/// let config = CookieConfig::new()
///     .name("__Secure-id")
///     .domain("example.com")
///     .same_site(SameSite::Strict);
/// ```
#[derive(Debug, Clone)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(try_from = "file::File"))]
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
    per_request: PerRequest,
}

/// Which requests from other sites carry the cookie (RFC 6265bis, 5.6.7).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[cfg_attr(feature = "serde", derive(serde::Deserialize))]
#[cfg_attr(feature = "serde", serde(rename_all = "lowercase"))]
pub enum SameSite {
    /// None.
    Strict,
    /// Only navigations with a safe method: a visitor who follows a link from another site is logged in,
    /// but a form of another site is sent without the cookie.
    Lax,
    /// All. The application then needs its own protection against cross-site request forgery.
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
            per_request: PerRequest { domain: None, secure: None },
        }
    }

    /// For the development of an application over plain HTTP, in every browser: the cookie `id`, without `Secure`.
    /// Safari, unlike others, does not accept the default cookie on `http://localhost`. The layer warns once in
    /// the log, because everyone on the network could read this cookie.
    ///
    /// ```
    /// use session_http::CookieConfig;
    ///
    /// # fn layer() -> CookieConfig {
    /// if cfg!(debug_assertions) { CookieConfig::for_plain_http() } else { CookieConfig::new() }
    /// # }
    /// ```
    pub fn for_plain_http() -> Self {
        Self::new().name("id").secure(false)
    }

    /// The cookie's name, a [`CookieName`]. The prefixes `__Host-`, `__Secure-`, `__Http-` and
    /// `__Host-Http-` make browsers reject the cookie unless it has the attributes that they require.
    pub fn name(mut self, name: impl Into<Cow<'static, str>>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Whether the cookie is sent over TLS only. Browsers count `http://localhost` as secure.
    pub fn secure(mut self, secure: bool) -> Self {
        self.secure = secure;
        self
    }

    /// Whether the cookie is hidden from scripts on the page.
    pub fn http_only(mut self, http_only: bool) -> Self {
        self.http_only = http_only;
        self
    }

    /// Which requests from other sites carry the cookie.
    pub fn same_site(mut self, same_site: SameSite) -> Self {
        self.same_site = same_site;
        self
    }

    /// The path below which the cookie is sent. It does not protect the cookie: the pages of one host can
    /// access each other.
    pub fn path(mut self, path: impl Into<Cow<'static, str>>) -> Self {
        self.path = path.into();
        self
    }

    /// Sends the cookie to this domain and to all of its subdomains.
    pub fn domain(mut self, domain: impl Into<Cow<'static, str>>) -> Self {
        self.domain = Some(domain.into());
        self
    }

    /// The domain for each request, for example that of the tenant; `None` sends the cookie only to the host that set
    /// it. The name must not begin with `__Host-`. A domain that is not valid is a failure of the request.
    ///
    /// Browsers reject a domain to which the host of the request does not belong. Choose among domains that you know,
    /// and never one that other people's applications share.
    ///
    /// ```
    /// use session_http::CookieConfig;
    ///
    /// let tenants = ["acme.example", "initech.example"];
    /// let config = CookieConfig::new().name("__Secure-id").domain_for(move |request| {
    ///     let host = request.header("host")?;
    ///     let tenant = tenants.iter().find(|tenant| host == **tenant || host.ends_with(&format!(".{tenant}")))?;
    ///     Some((*tenant).to_owned())
    /// });
    /// ```
    pub fn domain_for(
        mut self,
        choose: impl Fn(&RequestHead<'_>) -> Option<String> + Send + Sync + 'static,
    ) -> Self {
        self.per_request.domain = Some(Arc::new(choose));
        self
    }

    /// Whether the cookie is sent over TLS only, for each request: for an application that is reached with TLS and
    /// without, where a proxy ends TLS. The name must have no prefix that requires `Secure`.
    ///
    /// ```
    /// use session_http::CookieConfig;
    ///
    /// // The proxy sets this header for each request, whatever the client sent.
    /// let config = CookieConfig::new()
    ///     .name("id")
    ///     .secure_for(|request| request.header("x-forwarded-proto") == Some("https"));
    /// ```
    pub fn secure_for(
        mut self,
        choose: impl Fn(&RequestHead<'_>) -> bool + Send + Sync + 'static,
    ) -> Self {
        self.per_request.secure = Some(Arc::new(choose));
        self
    }

    /// Whether an embedded page has a separate cookie for each site that embeds it (CHIPS).
    pub fn partitioned(mut self, partitioned: bool) -> Self {
        self.partitioned = partitioned;
        self
    }

    /// Whether the browser removes the cookie when it is closed. This does not change the expiry of the
    /// session on the server.
    ///
    /// A session with its own lifetime
    /// ([`set_lifetime`](session_core::Session::set_lifetime), "remember me") nevertheless has a
    /// persistent cookie; [`reset_lifetime`](session_core::Session::reset_lifetime) undoes that.
    pub fn expire_on_close(mut self, expire_on_close: bool) -> Self {
        self.expire_on_close = expire_on_close;
        self
    }

    /// The default cookie of this store. The defaults are valid with any name, and every cookie store
    /// reserves enough room for them.
    pub(crate) fn default_for(store: &SessionStore) -> Cookie {
        let default = Self::new();
        let name = store.web().cookie_name().cloned();
        default.cookie(name.unwrap_or_else(default_name))
    }

    /// Whether the cookie depends on the request.
    pub(crate) fn is_per_request(&self) -> bool {
        self.per_request.domain.is_some() || self.per_request.secure.is_some()
    }

    /// The cookie with these settings. A cookie store determines its name and the room for attributes.
    pub(crate) fn build(self, store: &SessionStore) -> Result<Cookie> {
        self.check(store.web().cookie_name(), store.web().attribute_reserve())
    }

    fn check(self, name_of_store: Option<&CookieName>, reserve: Option<usize>) -> Result<Cookie> {
        self.check_values()?;
        let name = match (name_of_store, &self.name) {
            (Some(dictated), Some(name)) if dictated.as_str() != name => {
                return Err(Error::invalid_config(format!(
                    "the cookie store seals its values for the name {:?}: configure the name of the store \
                     instead of giving {name:?} to the layer",
                    dictated.as_str()
                )));
            }
            (Some(dictated), _) => dictated.clone(),
            (None, Some(name)) => CookieName::new(name.clone())?,
            (None, None) => default_name(),
        };
        self.check_prefix(name.as_str())?;
        self.check_functions(name.as_str())?;
        if !self.secure {
            // Once in a process: actix-web makes the middleware for each of its workers.
            static WARNS: Once = Once::new();
            WARNS.call_once(|| {
                tracing::warn!(
                    "the session's cookie is sent over plain HTTP, too, where everyone on the network can read it"
                );
            });
        }
        let cookie = self.cookie(name);
        cookie.check_room(reserve)?;
        Ok(cookie)
    }

    /// The functions can't choose what browsers would reject with this name.
    fn check_functions(&self, name: &str) -> Result<()> {
        let secure = Self { secure: self.per_request.secure.is_none(), ..self.clone() };
        secure.check_values()?;
        secure.check_prefix(name)?;
        if self.per_request.domain.is_some() {
            Self { domain: Some("example.org".into()), ..self.clone() }.check_prefix(name)?;
        }
        Ok(())
    }

    /// The cookie of this name for one request.
    pub(crate) fn cookie_for(
        &self,
        request: &RequestHead<'_>,
        store: &SessionStore,
        name: &CookieName,
    ) -> Result<Cookie> {
        let mut config = Self { per_request: PerRequest::default(), ..self.clone() };
        if let Some(choose) = &self.per_request.domain {
            config.domain = choose(request).map(Cow::Owned);
        }
        if let Some(choose) = &self.per_request.secure {
            config.secure = choose(request);
        }
        config.check_values()?;
        let cookie = config.cookie(name.clone());
        cookie.check_room(store.web().attribute_reserve())?;
        Ok(cookie)
    }

    /// Checks everything that does not depend on the store.
    fn check_values(&self) -> Result<()> {
        if let Some(name) = &self.name {
            CookieName::new(name.clone())?;
            self.check_prefix(name)?;
        }
        check_path(&self.path)?;
        if let Some(domain) = &self.domain {
            check_domain(domain)?;
        }
        refuse(&[
            (
                !self.secure && self.same_site == SameSite::None,
                "browsers reject SameSite=None without Secure",
            ),
            (!self.secure && self.partitioned, "browsers reject Partitioned without Secure"),
        ])
    }

    /// The prefix of a name requires attributes (RFC 6265bis, 4.1.3).
    fn check_prefix(&self, name: &str) -> Result<()> {
        let lower = name.to_ascii_lowercase();
        let for_host = lower.starts_with("__host-");
        let for_http = lower.starts_with("__http-") || lower.starts_with("__host-http-");
        refuse(&[
            (
                !self.secure && (for_host || for_http || lower.starts_with("__secure-")),
                "the prefix of the cookie's name needs Secure: choose a name without a prefix",
            ),
            (for_host && self.path != "/", "a __Host- cookie needs Path=/: choose another name"),
            (
                for_host && self.domain.is_some(),
                "a __Host- cookie can't have a Domain: choose another name, for example with __Secure-",
            ),
            (
                for_http && !self.http_only,
                "the prefix of the cookie's name needs HttpOnly: choose another name",
            ),
        ])
    }

    fn cookie(&self, name: CookieName) -> Cookie {
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
        Cookie::new(name, attributes, self.expire_on_close)
    }
}

impl Default for CookieConfig {
    fn default() -> Self {
        Self::new()
    }
}

fn default_name() -> CookieName {
    CookieName::new(DEFAULT_NAME).expect("it is a valid cookie name")
}

/// Fails with the first rule that is broken.
fn refuse(rules: &[(bool, &'static str)]) -> Result<()> {
    match rules.iter().find(|(broken, _)| *broken) {
        Some((_, why)) => Err(Error::invalid_config(*why)),
        None => Ok(()),
    }
}

fn check_path(path: &str) -> Result<()> {
    let allowed = |byte: u8| (0x20..0x7f).contains(&byte) && byte != b';';
    if !path.starts_with('/') || !path.bytes().all(allowed) || path.ends_with(' ') {
        return Err(Error::invalid_config(format!(
            "{path:?} is not a valid cookie path: it must begin with '/', and characters outside of ASCII \
             must be percent-encoded"
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
            "{domain:?} is not a valid cookie domain: write it like example.org, and an international \
             domain in its xn-- form"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
