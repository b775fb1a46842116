//! One store for the whole process, for applications that do not want to pass a handle around.
//!
//! The `start_session(…)` of each backend crate builds a store and makes it the process's store.
//!
//! ```
//! use session_core::{Backend, Config, SessionStore, global};
//!
//! /// Before the first request.
//! fn start(backend: impl Backend) -> session_core::Result<()> {
//!     global::cache_store(SessionStore::new(backend).with_config(Config::default())?);
//!     Ok(())
//! }
//!
//! /// In any request.
//! async fn sign_out(cookie: &str) -> session_core::Result<()> {
//!     if let Some(session) = global::load(cookie).await? {
//!         global::destroy(&session).await?;
//!     }
//!     Ok(())
//! }
//! ```

use std::sync::{PoisonError, RwLock};

use crate::{CookieValue, Error, Result, Saved, Session, SessionStore};

static STORE: RwLock<Option<SessionStore>> = RwLock::new(None);

/// Makes a store the process's store and replaces an earlier one. Sessions are not moved.
pub fn cache_store(store: SessionStore) {
    *STORE.write().unwrap_or_else(PoisonError::into_inner) = Some(store);
}

/// The process's store.
///
/// # Errors
/// `InvalidConfig` if there is none.
pub fn store() -> Result<SessionStore> {
    let store = STORE.read().unwrap_or_else(PoisonError::into_inner).clone();
    store.ok_or_else(|| {
        Error::invalid_config(
            "there is no global session store: call start_session of a backend crate, or \
             session_core::global::cache_store, before the first request",
        )
    })
}

/// [`SessionStore::load`] of the process's store.
///
/// # Errors
/// As that method, and `InvalidConfig` if there is no store.
pub async fn load(cookie_value: &str) -> Result<Option<Session>> {
    store()?.load(cookie_value).await
}

/// [`SessionStore::save`] of the process's store.
///
/// # Errors
/// As that method, and `InvalidConfig` if there is no store.
pub async fn save(session: &Session) -> Result<Saved> {
    store()?.save(session).await
}

/// [`SessionStore::destroy`] of the process's store.
///
/// # Errors
/// As that method, and `InvalidConfig` if there is no store.
pub async fn destroy(session: &Session) -> Result<()> {
    store()?.destroy(session).await
}

/// [`SessionStore::gc`] of the process's store.
///
/// # Errors
/// As that method, and `InvalidConfig` if there is no store.
pub async fn gc() -> Result<u64> {
    store()?.gc().await
}

/// [`SessionStore::cookie_value`] of the process's store.
///
/// # Errors
/// `InvalidConfig` if there is no store.
pub fn cookie_value(session: &Session) -> Result<Option<CookieValue>> {
    Ok(store()?.cookie_value(session))
}
