//! The session of a request, as a type of this crate: extractors are implemented for it.

use std::fmt;
use std::ops::Deref;

/// The request's session: a [`session_core::Session`] that knows its store. With axum it is an
/// extractor.
///
/// It has the methods of [`session_http::Session`] (`save`, `update_and_save`, `is_alive`,
/// `account_sessions`, `destroy_others`, `destroy_all`) and those of [`session_core::Session`] (`get`, `insert`,
/// `update`, `sign_in`, `destroy` and more).
///
/// ```
/// use session_tower::{Session, SessionFailure};
///
/// async fn visits(session: Session) -> Result<String, SessionFailure> {
///     let visits = session.update_and_save("visits", |n: Option<u64>| n.unwrap_or(0) + 1).await?;
///     Ok(format!("visit number {visits}"))
/// }
///
/// /// "Your devices"
/// async fn devices(session: Session) -> Result<String, SessionFailure> {
///     let mut text = String::new();
///     for device in session.account_sessions().await? {
///         let here = if device.is(&session) { " (this one)" } else { "" };
///         text += &format!("{}{here}\n", device.label().unwrap_or("unknown"));
///     }
///     Ok(text)
/// }
/// ```
///
/// [`SessionLayer`](crate::SessionLayer) saves it after the handler has returned its response. Clones
/// refer to the same session and can be moved to other tasks; a task that outlives the response calls
/// [`save`](session_http::Session::save).
///
/// While the store is unavailable the handler does not run; the client gets 503 and keeps its cookie.
/// [`OptionalSession`](crate::OptionalSession) is for routes that can do without the session.
#[derive(Clone)]
pub struct Session(pub(crate) session_http::Session);

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
