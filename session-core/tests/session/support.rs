//! Stores and sessions that the tests of a server side store share.

use std::sync::Arc;
use std::time::Duration;

use crate::faulty::Faulty;
use session_core::{Config, Saved, Session, SessionStore};

/// A deadline that is short enough for a test.
pub(crate) fn config() -> Config {
    Config::default().deadline(Duration::from_millis(400))
}

pub(crate) fn store() -> (Arc<Faulty>, SessionStore) {
    with_config(config())
}

pub(crate) fn with_config(config: Config) -> (Arc<Faulty>, SessionStore) {
    let backend = Arc::new(Faulty::default());
    let store = SessionStore::new(Arc::clone(&backend)).with_config(config).unwrap();
    (backend, store)
}

/// A session that counts from 0 under "n", and its cookie.
pub(crate) async fn stored(store: &SessionStore) -> (String, Session) {
    let session = store.create();
    session.insert("n", 0).unwrap();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    let cookie = cookie(store, &session);
    let session = load(store, &cookie).await;
    (cookie, session)
}

pub(crate) fn cookie(store: &SessionStore, session: &Session) -> String {
    store.cookie_value(session).expect("the session is stored").into_string()
}

pub(crate) async fn load(store: &SessionStore, cookie: &str) -> Session {
    store.load(cookie).await.unwrap().expect("the session is there")
}

pub(crate) fn increment(session: &Session) {
    session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
}

/// The stored value "n".
pub(crate) async fn n(store: &SessionStore, cookie: &str) -> u32 {
    load(store, cookie).await.get("n").unwrap().unwrap()
}

/// Another request of the same client.
pub(crate) async fn request(store: &SessionStore, cookie: &str, work: impl FnOnce(&Session)) {
    let session = load(store, cookie).await;
    work(&session);
    store.save(&session).await.unwrap();
}

/// Saves the session in another request, so that a session that was loaded before conflicts.
pub(crate) async fn cause_conflict(store: &SessionStore, cookie: &str) {
    request(store, cookie, increment).await;
}
