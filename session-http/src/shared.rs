//! What all requests of an application share.

use std::sync::Arc;

use session_core::{Result, SessionStore};

use crate::cookie::Cookie;
use crate::gc::Gc;
use crate::{CookieConfig, RequestHead, RequestHeaders, SessionHeader};

/// The store and the settings of an adapter. A clone is cheap.
#[derive(Debug, Clone)]
pub struct Shared(Arc<Inner>);

#[derive(Debug, Clone)]
struct Inner {
    store: SessionStore,
    cookie: Cookie,
    /// The settings of a cookie that depends on the request.
    per_request: Option<CookieConfig>,
    carrier: Carrier,
    gc: Gc,
    allows_cross_site: bool,
}

/// Where clients send the session id.
#[derive(Debug, Clone)]
enum Carrier {
    Cookie,
    Header(SessionHeader),
    /// In the header, and where a request has none, in the cookie.
    HeaderOrCookie(SessionHeader),
}

impl Shared {
    /// With the defaults of [`CookieConfig`], which are safe. With a cookie store, the cookie has the name
    /// that the store seals its values for.
    #[must_use]
    pub fn new(store: SessionStore) -> Self {
        let cookie = CookieConfig::default_for(&store);
        Self(Arc::new(Inner {
            store,
            cookie,
            per_request: None,
            carrier: Carrier::Cookie,
            gc: Gc::default(),
            allows_cross_site: false,
        }))
    }

    /// Sets the cookie's name and attributes.
    ///
    /// # Errors
    /// `InvalidConfig` for a combination that browsers reject. With a cookie store also for another name
    /// than that of the store, and for attributes that are longer than the room that it reserves.
    pub fn with_cookie(self, config: CookieConfig) -> Result<Self> {
        let per_request = config.is_per_request().then(|| config.clone());
        let cookie = config.build(&self.0.store)?;
        Ok(self.with(|inner| (inner.cookie, inner.per_request) = (cookie, per_request)))
    }

    /// Clients may send the session id in a header instead of the cookie. The cookies of a request that has the header
    /// are ignored, and its response sets none.
    #[must_use]
    pub fn with_header(self, header: SessionHeader) -> Self {
        self.with(|inner| inner.carrier = Carrier::HeaderOrCookie(header))
    }

    /// All clients send the session id in a header. There is no cookie.
    #[must_use]
    pub fn with_header_only(self, header: SessionHeader) -> Self {
        self.with(|inner| inner.carrier = Carrier::Header(header))
    }

    /// Sets the probability with which a request that asks for its session starts the removal of expired
    /// sessions in the background, from 0 to 1. The default is 0.02. With 0, run
    /// [`SessionStore::spawn_gc`] instead. Only one removal runs at a time, and the next one starts at least a
    /// second later. A store that removes expired
    /// records by itself never gets one.
    ///
    /// # Errors
    /// `InvalidConfig` unless the number is between 0 and 1.
    pub fn with_gc_probability(self, probability: f64) -> Result<Self> {
        let gc = Gc::new(probability)?;
        Ok(self.with(|inner| inner.gc = gc))
    }

    /// Keeps what a POST of another site writes that carries no session cookie. See [`Handle`](crate::Handle).
    #[must_use]
    pub fn with_cross_site_writes(self) -> Self {
        self.with(|inner| inner.allows_cross_site = true)
    }

    /// The store.
    #[must_use]
    pub fn store(&self) -> &SessionStore {
        &self.0.store
    }

    pub(crate) fn allows_cross_site(&self) -> bool {
        self.0.allows_cross_site
    }

    pub(crate) fn cookie(&self) -> &Cookie {
        &self.0.cookie
    }

    /// The cookie for a request with these headers, if it depends on them.
    pub(crate) fn cookie_for(&self, headers: &impl RequestHeaders) -> Option<Result<Cookie>> {
        let config = self.0.per_request.as_ref()?;
        let header = |name: &str| headers.first(name);
        Some(config.cookie_for(&RequestHead::new(&header), &self.0.store, self.0.cookie.name()))
    }

    pub(crate) fn header(&self) -> Option<&SessionHeader> {
        match &self.0.carrier {
            Carrier::Cookie => None,
            Carrier::Header(header) | Carrier::HeaderOrCookie(header) => Some(header),
        }
    }

    pub(crate) fn uses_cookies(&self) -> bool {
        !matches!(self.0.carrier, Carrier::Header(_))
    }

    pub(crate) fn maybe_start_gc(&self) {
        self.0.gc.maybe_start(&self.0.store);
    }

    fn with(self, change: impl FnOnce(&mut Inner)) -> Self {
        let mut inner = Arc::unwrap_or_clone(self.0);
        change(&mut inner);
        Self(Arc::new(inner))
    }
}
