//! The interface for adapters to web frameworks. Applications do not need it.
//!
//! [`SessionStore::web`] returns a [`Web`]. An adapter loads the session of a request with
//! [`Web::load`], saves it when the response is ready, and then gets from [`Web::cookie_change`]
//! what to send to the client.
//!
//! ```
//! use session_core::web::{CookieChange, Found, Web};
//! use session_core::{Result, Session, SessionStore};
//!
//! /// One request: `handler` gets the session, and the result is for the client's cookie.
//! async fn request(
//!     store: &SessionStore,
//!     cookie: Option<&str>,
//!     is_navigation: bool,
//!     handler: impl AsyncFn(Session),
//! ) -> Result<CookieChange> {
//!     let web: Web<'_> = store.web();
//!     let found = match cookie {
//!         Some(value) => web.load(value).await?,
//!         None => Found::Nothing,
//!     };
//!     let session = match found {
//!         Found::Session(session) => session,
//!         Found::Rotated(session) => {
//!             if is_navigation {
//!                 web.begin_anew(&session);
//!             }
//!             session
//!         }
//!         Found::Nothing => store.create(),
//!     };
//!     handler(session.clone()).await;
//!     store.save(&session).await?;
//!     // `Set` and `Renew` carry the value; the cookie lives for `session.expires_in()`.
//!     Ok(web.cookie_change(&session))
//! }
//! ```

pub use crate::store::{CookieChange, Found};
use crate::{CookieName, Result, Session, SessionStore};

/// The methods of a store that a web adapter uses.
#[derive(Debug, Clone, Copy)]
pub struct Web<'a>(&'a SessionStore);

impl SessionStore {
    /// The methods for adapters to web frameworks.
    #[must_use]
    pub fn web(&self) -> Web<'_> {
        Web(self)
    }
}

impl Web<'_> {
    /// As [`SessionStore::load`], but an id that was replaced a moment ago is [`Found::Rotated`].
    ///
    /// A request with such an id is late: the client sent it before it received the new id. Handle
    /// it with the empty session of [`Found::Rotated`], which can't replace the cookie that the
    /// client is about to receive. A top-level navigation is the exception: a browser sends a
    /// navigation only after the answer to the one before, so a navigation with the old id comes
    /// from a client that never received the new id. Call [`begin_anew`](Self::begin_anew) for it.
    ///
    /// # Errors
    /// As [`SessionStore::load`].
    pub async fn load(self, cookie_value: &str) -> Result<Found> {
        self.0.find(cookie_value).await
    }

    /// Turns the empty session of [`Found::Rotated`] into an ordinary new session, which can be
    /// stored. Destroying it still destroys the session with the new id, so that a sign-out with
    /// the old id works.
    pub fn begin_anew(self, session: &Session) {
        session.state(|state| state.late = false);
    }

    /// A new, empty session for a request whose session could not be read (`Corrupt`). The
    /// unreadable record is kept, and the new session gets its own id. Destroying the new session
    /// also destroys the unreadable record, so that a logout works.
    #[must_use]
    pub fn create_instead_of(self, cookie_value: &str) -> Session {
        self.0.instead_of(cookie_value)
    }

    /// What to do with the client's cookie. It covers all saves and destructions since the session
    /// was loaded or created, including those of the application.
    #[must_use]
    pub fn cookie_change(self, session: &Session) -> CookieChange {
        self.0.cookie_change(session)
    }

    /// Whether the session of the client's cookie was destroyed, even if a new session replaced it.
    /// The sessions of the client's other cookies of this name must then be destroyed, too.
    #[must_use]
    pub fn ended(self, session: &Session) -> bool {
        session.state(|state| state.client.ended && state.client.cookie.is_some())
    }

    /// Whether the session has its own lifetime ([`Session::set_lifetime`]). Its cookie must then
    /// survive the end of the browser session.
    #[must_use]
    pub fn is_persistent(self, session: &Session) -> bool {
        session.state(|state| state.base.lifetime.is_some())
    }

    /// Whether a save of the session would find nothing to do, so that it can be left out: the request only
    /// read it, and no renewal is due.
    #[must_use]
    pub fn has_nothing_to_save(self, session: &Session) -> bool {
        session.state(|state| state.has_nothing_to_save(self.0.config()))
    }

    /// Whether saving the changes of the session would give the client another cookie value: the session
    /// is new, is to get a new id, or is in the cookie itself.
    #[must_use]
    pub fn needs_another_cookie(self, session: &Session) -> bool {
        let in_cookie = self.0.cookie().is_some();
        session.state(|state| {
            state.changes.any() && (in_cookie || !state.exists() || state.changes.new_id())
        })
    }

    /// Whether this request read or changed the session. The response then depends on the cookie
    /// (`Vary: Cookie`).
    #[must_use]
    pub fn accessed(self, session: &Session) -> bool {
        session.state(|state| state.accessed)
    }

    /// Whether an id of one store is valid in the other: both use the same backend for the same
    /// [purpose](crate::Config::purpose). A cookie store separates its sessions by the cookie's name.
    #[must_use]
    pub fn shares_ids_with(self, other: &SessionStore) -> bool {
        self.0.shares_ids_with(other)
    }

    /// The cookie name that a cookie store seals its values for; `None` for a server store, which
    /// allows any name.
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
