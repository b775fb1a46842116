//! The session of a request, as types of this crate: extractors are implemented for them.

use std::fmt;
use std::ops::Deref;

use session_http::Handle;

use crate::SessionFailure;

/// The request's session: a [`session_core::Session`] that knows its store. It is an extractor.
///
/// It has the methods of [`session_http::Session`] (`save`, `update_and_save`, `is_alive`,
/// `account_sessions`, `destroy_others`, `destroy_all`) and those of [`session_core::Session`] (`get`, `insert`,
/// `update`, `sign_in`, `destroy` and more).
///
/// ```
/// use session_actix::{Session, SessionFailure};
///
/// async fn visits(session: Session) -> Result<String, SessionFailure> {
///     let visits = session.update_and_save("visits", |n: Option<u64>| n.unwrap_or(0) + 1).await?;
///     Ok(format!("visit number {visits}"))
/// }
/// ```
///
/// [`SessionMiddleware`](crate::SessionMiddleware) saves it after the handler has returned its response. Clones
/// refer to the same session and can be moved to other tasks; a task that outlives the response calls
/// [`save`](session_http::Session::save).
///
/// While the store is unavailable the handler does not run; the client gets 503 and keeps its cookie.
/// [`OptionalSession`] is for routes that can do without the session.
#[derive(Clone)]
pub struct Session(session_http::Session);

#[cfg(feature = "testing")]
impl Session {
    pub(crate) fn of(session: session_http::Session) -> Self {
        Self(session)
    }
}

impl Deref for Session {
    type Target = session_http::Session;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A session that may be unavailable: for pages that can be shown without it.
///
/// A handler that takes it instead of [`Session`] runs even when the store fails. Reads then find nothing and
/// writes return an error, so no change is lost silently. It has the methods of
/// [`session_http::OptionalSession`].
///
/// ```
/// use session_actix::{OptionalSession, SessionFailure};
///
/// async fn page(session: OptionalSession) -> Result<String, SessionFailure> {
///     let theme: Option<String> = session.get("theme")?;
///     let note = if session.is_available() { "" } else { " (your settings are unavailable)" };
///     Ok(format!("{}{note}", theme.as_deref().unwrap_or("light")))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct OptionalSession(session_http::OptionalSession);

impl OptionalSession {
    /// Loads the session of this handle's request.
    pub async fn load(handle: &SessionHandle) -> Self {
        Self(session_http::OptionalSession::load(&handle.0).await)
    }
}

impl Deref for OptionalSession {
    type Target = session_http::OptionalSession;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

/// Loads the session of one request, for middlewares: it is in the extensions of each request. Handlers use the
/// extractors.
///
/// Clones give the same session.
#[derive(Clone)]
pub struct SessionHandle(pub(crate) Handle);

impl SessionHandle {
    /// The request's session: the client's live session, or a new one if the client has none. Only the first call
    /// loads from the store, and only if the request has a cookie.
    ///
    /// # Errors
    /// The error of the store; every call of this request returns the same one. An outage never looks
    /// like an empty session. A corrupt record is not an error: it is logged and kept, and the request
    /// gets a new session.
    ///
    /// # Cancellation
    /// A dropped call has no effect; the next one loads the session.
    pub async fn session(&self) -> Result<Session, SessionFailure> {
        Ok(Session(self.0.session().await?))
    }

    /// The handle of the middleware with this cookie name: this one, or one around it.
    #[must_use]
    pub fn named(&self, cookie: &str) -> Option<Self> {
        self.0.named(cookie).cloned().map(Self)
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
