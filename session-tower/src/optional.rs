//! A session for routes that can do without it.

use std::ops::Deref;

use crate::SessionHandle;

/// A session that may be unavailable: for pages that can be shown without it.
///
/// A handler that takes it instead of [`Session`](crate::Session) runs even when the store fails. Reads then find
/// nothing and writes return an error, so no change is lost silently. It has the methods of
/// [`session_http::OptionalSession`].
///
/// ```
/// use session_tower::{OptionalSession, SessionFailure};
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
