//! For adapters to web frameworks: what they need beyond what applications use.
//!
//! [`SessionStore::web`] leads here. An adapter loads the session of a request with [`Web::load`],
//! saves it when the response is there, and asks [`Web::cookie_change`] what the client must be told.

pub use crate::store::{CookieChange, Found};
use crate::{CookieName, Result, Session, SessionStore};

/// What a web adapter asks a store.
#[derive(Debug, Clone, Copy)]
pub struct Web<'a>(&'a SessionStore);

impl SessionStore {
    /// For adapters to web frameworks.
    #[must_use]
    pub fn web(&self) -> Web<'_> {
        Web(self)
    }
}

impl Web<'_> {
    /// [`SessionStore::load`] that also tells when the id was replaced a moment ago.
    ///
    /// A request with such an id is late: it was sent before the client learned of the new id. It goes
    /// on with the empty session of [`Found::Rotated`], so that it can't replace the cookie that the
    /// client is about to get. A top-level navigation is the exception: navigations follow each other,
    /// so one that carries the old id comes from a client that never got the new one. It goes on with
    /// [`begin_anew`](Self::begin_anew).
    ///
    /// # Errors
    /// As [`SessionStore::load`].
    pub async fn load(self, cookie_value: &str) -> Result<Found> {
        self.0.find(cookie_value).await
    }

    /// Makes the empty session of [`Found::Rotated`] one that is stored like any new one. Destroying it
    /// still ends the session that has the new id, so that a sign-out with the old id works.
    pub fn begin_anew(self, session: &Session) {
        session.state(|state| state.late = false);
    }

    /// A new, empty session in place of one that could not be read (`Corrupt`). The unreadable record
    /// is kept, and what is put into this session gets an id of its own; but destroying this one
    /// destroys the other, too, so that a logout works.
    #[must_use]
    pub fn create_instead_of(self, cookie_value: &str) -> Session {
        self.0.instead_of(cookie_value)
    }

    /// What the client must be told, from all that became of the session since it was loaded or
    /// created: the application may have saved or destroyed it itself.
    #[must_use]
    pub fn cookie_change(self, session: &Session) -> CookieChange {
        self.0.cookie_change(session)
    }

    /// Whether the session that the client's cookie named was destroyed, whatever took its place. The
    /// sessions of the client's other cookies of this name must end, too.
    #[must_use]
    pub fn ended(self, session: &Session) -> bool {
        session.state(|state| state.client.ended && state.client.cookie.is_some())
    }

    /// Whether the session has a lifetime of its own
    /// ([`Session::set_lifetime`]), so that its cookie must survive the browser.
    #[must_use]
    pub fn is_persistent(self, session: &Session) -> bool {
        session.state(|state| state.base.lifetime.is_some())
    }

    /// Whether this request used the session: what it answers depends on the cookie then
    /// (`Vary: Cookie`). Every method that shows or changes the session counts.
    #[must_use]
    pub fn accessed(self, session: &Session) -> bool {
        session.state(|state| state.accessed)
    }

    /// The cookie name that a cookie store seals its values for; `None` where any will do.
    #[must_use]
    pub fn cookie_name(&self) -> Option<&CookieName> {
        Some(self.0.cookie()?.0)
    }

    /// How many bytes of attributes the cookie of a cookie store may have, at least 64; `None` for a
    /// server store.
    #[must_use]
    pub fn attribute_reserve(self) -> Option<usize> {
        Some(self.0.cookie()?.1)
    }
}
