//! One store for the whole process, for applications that want no handle to pass around.
//!
//! Each backend crate's `start_session(…)` builds a store and puts it here.

use std::sync::{PoisonError, RwLock};

use crate::{CookieValue, Error, Result, Saved, Session, SessionStore};

static STORE: RwLock<Option<SessionStore>> = RwLock::new(None);

/// Makes a store the process's store, in place of an earlier one. Sessions of the earlier one are
/// not moved.
pub fn cache_store(store: SessionStore) {
    *STORE.write().unwrap_or_else(PoisonError::into_inner) = Some(store);
}

/// The process's store.
///
/// # Errors
/// `InvalidConfig` when there is none.
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
/// As there, and `InvalidConfig` when there is no store.
pub async fn load(cookie_value: &str) -> Result<Option<Session>> {
    store()?.load(cookie_value).await
}

/// [`SessionStore::save`] of the process's store.
///
/// # Errors
/// As there, and `InvalidConfig` when there is no store.
pub async fn save(session: &Session) -> Result<Saved> {
    store()?.save(session).await
}

/// [`SessionStore::destroy`] of the process's store.
///
/// # Errors
/// As there, and `InvalidConfig` when there is no store.
pub async fn destroy(session: &Session) -> Result<()> {
    store()?.destroy(session).await
}

/// [`SessionStore::gc`] of the process's store.
///
/// # Errors
/// As there, and `InvalidConfig` when there is no store.
pub async fn gc() -> Result<u64> {
    store()?.gc().await
}

/// [`SessionStore::cookie_value`] of the process's store.
///
/// # Errors
/// `InvalidConfig` when there is no store.
pub fn cookie_value(session: &Session) -> Result<Option<CookieValue>> {
    Ok(store()?.cookie_value(session))
}
