//! A session for routes that can do without it.

use serde::Serialize;
use serde::de::DeserializeOwned;
use session_core::{Error, Result};

use crate::{Failure, Handle, Session};

/// A session that may be unavailable: for pages that can be shown without it. Reads then find nothing and
/// writes return an error, so no change is lost silently.
#[derive(Debug, Clone)]
pub struct OptionalSession(Result<Session, Failure>);

impl OptionalSession {
    /// Loads the session of this handle's request.
    pub async fn load(handle: &Handle) -> Self {
        Self(handle.session().await)
    }

    /// Whether the session could be loaded.
    #[must_use]
    pub fn is_available(&self) -> bool {
        self.0.is_ok()
    }

    /// The value of this name; `None` while the store is unavailable.
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
    /// `Unavailable` while the store is unavailable; otherwise as
    /// [`session_core::Session::insert`].
    pub fn insert(&self, name: &str, value: impl Serialize) -> Result<()> {
        self.session()?.insert(name, value)
    }

    /// The session, for all other methods.
    ///
    /// # Errors
    /// `Unavailable` while the store is unavailable; the source is the error of the load.
    pub fn session(&self) -> Result<&Session> {
        self.0.as_ref().map_err(|failure| {
            Error::unavailable(
                "the session of this request could not be loaded: nothing can be written",
            )
            .with_source(failure.clone())
        })
    }
}
