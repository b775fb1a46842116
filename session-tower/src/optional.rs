//! Going on without a session.

use serde::Serialize;
use serde::de::DeserializeOwned;
use session_core::{Error, Result};

use crate::{Session, SessionFailure, SessionHandle};

/// A session that may be out of reach: for pages that are worth showing without one.
///
/// A route that asks for it instead of the session is served although the store fails. Reads then
/// find nothing and writes are refused with an error, so that nothing is lost silently.
///
/// ```
/// use session_tower::{OptionalSession, SessionFailure};
///
/// async fn page(session: OptionalSession) -> Result<String, SessionFailure> {
///     let theme: Option<String> = session.get("theme")?;
///     let note = if session.is_available() { "" } else { " (your settings are out of reach)" };
///     Ok(format!("{}{note}", theme.as_deref().unwrap_or("light")))
/// }
/// ```
#[derive(Debug, Clone)]
pub struct OptionalSession(Result<Session, SessionFailure>);

impl OptionalSession {
    /// The session of this handle's request.
    pub async fn load(handle: &SessionHandle) -> Self {
        Self(handle.session().await)
    }

    /// Whether the session could be loaded.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.0.is_ok()
    }

    /// The value of this name; `None` while the store is out of reach.
    ///
    /// # Errors
    /// As [`session_core::Session::get`].
    pub fn get<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        match &self.0 {
            Ok(session) => session.get(name),
            Err(_) => Ok(None),
        }
    }

    /// Sets a value.
    ///
    /// # Errors
    /// `Unavailable` while the store is out of reach; otherwise as
    /// [`session_core::Session::insert`].
    pub fn insert(&self, name: &str, value: impl Serialize) -> Result<()> {
        self.session()?.insert(name, value)
    }

    /// The session, for everything else.
    ///
    /// # Errors
    /// `Unavailable` while the store is out of reach; the source tells what it said.
    pub fn session(&self) -> Result<&Session> {
        self.0.as_ref().map_err(|failure| {
            Error::unavailable("this request goes on without its session: nothing can be written")
                .with_source(failure.clone())
        })
    }
}
