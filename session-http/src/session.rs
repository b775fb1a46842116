//! The session of a request.

use std::fmt;
use std::ops::Deref;

use serde::Serialize;
use serde::de::DeserializeOwned;
use session_core::{OwnedSession, Result, SessionStore};

/// The request's session: a [`session_core::Session`] that knows its store. Clones refer to the same session
/// and can be moved to other tasks; a task that outlives the response calls [`save`](Self::save).
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
    /// that it is stored before they continue. The saved changes are kept even if the response is an
    /// error.
    ///
    /// The adapter sets the cookie when the handler returns. The cookie can't be set after the response
    /// was sent, so a task that outlives the response must not give the session a new id.
    ///
    /// # Errors
    /// As [`SessionStore::save`]; `Gone` after a logout.
    pub async fn save(&self) -> Result<()> {
        self.store.save(&self.session).await?;
        Ok(())
    }

    /// Changes a value, saves the session and returns the value **that was written**: N parallel
    /// requests that increment a counter get N different numbers. Use it for limits and for counters
    /// whose value matters.
    ///
    /// As with [`save`](Self::save), the change is kept even if the response is an error. A cookie store
    /// can't merge parallel requests, so there the numbers are not unique.
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

    /// Whether the session is still alive: for tasks that must end with it, for example websockets.
    /// Costs one call to the store.
    ///
    /// # Errors
    /// As [`SessionStore::is_alive`].
    pub async fn is_alive(&self) -> Result<bool> {
        self.store.is_alive(&self.session).await
    }

    /// The live sessions of the account that is signed in, the oldest sign-in first; none without an owner.
    /// [`OwnedSession::is`] tells which one is this one.
    ///
    /// # Errors
    /// As [`SessionStore::sessions_of`].
    pub async fn account_sessions(&self) -> Result<Vec<OwnedSession>> {
        match self.owner() {
            Some(owner) => self.store.sessions_of(&owner).await,
            None => Ok(Vec::new()),
        }
    }

    /// Ends all other sessions of the account that is signed in, and returns how many. Call it after a change
    /// of the password, and [`save`](Self::save) first if the account has signed in during this request.
    ///
    /// # Errors
    /// As [`SessionStore::destroy_others`].
    pub async fn destroy_others(&self) -> Result<u64> {
        self.store.destroy_others(&self.session).await
    }

    /// Ends all sessions of the account that is signed in, this one included, and returns how many others.
    /// Without an owner, it ends this one.
    ///
    /// # Errors
    /// As [`SessionStore::destroy_all`].
    pub async fn destroy_all(&self) -> Result<u64> {
        let owner = self.owner();
        self.store.destroy(&self.session).await?;
        match owner {
            Some(owner) => self.store.destroy_all(&owner).await,
            None => Ok(0),
        }
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
