//! The session of a request.

use std::fmt;
use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;
use session_core::{Result, SessionStore};

/// The request's session: a [`session_core::Session`] that knows its store. With axum it is an
/// extractor.
///
/// ```
/// use session_tower::{Session, SessionFailure};
///
/// async fn visits(session: Session) -> Result<String, SessionFailure> {
///     let visits = session.update_and_save("visits", |n: Option<u64>| n.unwrap_or(0) + 1).await?;
///     Ok(format!("visit number {visits}"))
/// }
/// ```
///
/// [`SessionLayer`](crate::SessionLayer) saves it when the handler has returned its response. Clones are
/// the same session and can be moved to other tasks; a task that outlives the response calls
/// [`save`](Self::save).
///
/// While the store is out of reach the route is not entered and the client gets 503, its cookie
/// untouched. [`OptionalSession`](crate::OptionalSession) is for routes that can go on without.
#[derive(Clone)]
pub struct Session {
    session: session_core::Session,
    store: SessionStore,
}

impl Session {
    pub(crate) fn new(session: session_core::Session, store: SessionStore) -> Self {
        Self { session, store }
    }

    /// Saves the session now: for tasks that outlive the response, and for handlers that must know
    /// that it is stored before they go on. What was saved is kept, whatever the response is.
    ///
    /// The layer sets the cookie when the handler returns. After the response was sent nothing can,
    /// so a task must not give the session a new id then.
    ///
    /// # Errors
    /// As [`SessionStore::save`]; `Gone` after a logout.
    pub async fn save(&self) -> Result<()> {
        self.store.save(&self.session).await?;
        Ok(())
    }

    /// Changes a value, saves the session and returns the value **that was written**: N parallel
    /// requests that increment get N different numbers. For limits and counters that decide something.
    ///
    /// Like [`save`](Self::save), it is kept whatever the response is. A cookie store can't merge
    /// parallel requests, so there the numbers are not unique.
    ///
    /// # Errors
    /// As [`SessionStore::update`].
    pub async fn update_and_save<T, F>(&self, name: &str, f: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(Option<T>) -> T + Send + Sync + 'static,
    {
        self.store.update(&self.session, name, f).await
    }

    /// Whether the session is still alive: for tasks that must end with it, for example a websocket's.
    /// One call of the store.
    ///
    /// # Errors
    /// As [`SessionStore::is_alive`].
    pub async fn is_alive(&self) -> Result<bool> {
        self.store.is_alive(&self.session).await
    }
}

impl Deref for Session {
    type Target = session_core::Session;

    fn deref(&self) -> &Self::Target {
        &self.session
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.session.fmt(f)
    }
}
