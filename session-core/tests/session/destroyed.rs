//! A session is destroyed during a call of its save.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::faulty::{Fault, Faulty};
use crate::support::{cause_conflict, cookie, increment, load, store, stored, with_config};
use session_core::{Config, ErrorKind, Saved, Session, SessionStore};

/// The application destroys the session during a call of the save, and then uses a new one.
fn log_out_and_continue(session: &Session) -> impl Future<Output = ()> + Send + 'static {
    let session = session.clone();
    async move {
        session.destroy();
        session.insert("fresh", 1).unwrap();
    }
}

/// After a session was destroyed during its save: only the new session is stored, under a new id,
/// and the old id loads nothing.
async fn assert_only_fresh(
    backend: &Faulty,
    store: &SessionStore,
    session: &Session,
    old_cookie: &str,
) {
    assert_eq!(session.keys(), ["fresh"]);
    assert!(!session.changed());
    let new_cookie = cookie(store, session);
    assert_ne!(new_cookie, old_cookie);
    assert_eq!(load(store, &new_cookie).await.keys(), ["fresh"]);
    assert!(store.load(old_cookie).await.unwrap().is_none());
    assert_eq!(backend.len(), 1);
}

#[tokio::test]
async fn a_destroy_during_a_write_keeps_later_changes() {
    let (backend, store) = store();
    let (old_cookie, session) = stored(&store).await;
    increment(&session);
    backend.after("save", 1, log_out_and_continue(&session));
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_only_fresh(&backend, &store, &session, &old_cookie).await;
}

#[tokio::test]
async fn a_destroy_during_a_rotation_leaves_neither_the_old_id_nor_the_new_one() {
    for nth in [1, 2] {
        let (backend, store) = store();
        let (old_cookie, session) = stored(&store).await;
        session.regenerate();
        backend.after("save", nth, log_out_and_continue(&session));
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        assert_only_fresh(&backend, &store, &session, &old_cookie).await;
    }
}

#[tokio::test]
async fn a_destroy_during_a_touch_keeps_later_changes() {
    let (backend, store) = with_config(Config::default().idle_timeout(Duration::from_secs(60)));
    let (old_cookie, session) = stored(&store).await;
    session.extend();
    tokio::time::sleep(Duration::from_millis(5)).await;
    backend.after("touch", 1, log_out_and_continue(&session));
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_only_fresh(&backend, &store, &session, &old_cookie).await;
}

#[tokio::test]
async fn a_destroy_during_a_rebase_moves_no_value_into_the_new_session() {
    let (backend, store) = store();
    let (old_cookie, session) = stored(&store).await;
    increment(&session);
    cause_conflict(&store, &old_cookie).await;
    backend.after("load", 1, log_out_and_continue(&session));
    store.save(&session).await.unwrap();
    assert_only_fresh(&backend, &store, &session, &old_cookie).await;
}

#[tokio::test]
async fn a_destroy_during_a_rebase_without_later_changes_leaves_no_session() {
    let (backend, store) = store();
    let (old_cookie, session) = stored(&store).await;
    increment(&session);
    cause_conflict(&store, &old_cookie).await;
    let same = session.clone();
    backend.after("load", 1, async move { same.destroy() });
    store.save(&session).await.unwrap();
    assert!(store.cookie_value(&session).is_none());
    assert!(session.is_empty());
    // The application saves the session after the destruction.
    store.save(&session).await.unwrap();
    assert!(store.load(&old_cookie).await.unwrap().is_none());
    assert_eq!(backend.len(), 0);
}

#[tokio::test]
async fn a_destroy_after_a_create_in_doubt_leaves_nothing_in_the_store() {
    let (backend, store) = store();
    let session = store.create();
    increment(&session);
    backend.fail(&[Fault::LoseAnswer]);
    backend.failing_loads.store(1, Ordering::SeqCst);
    store.save(&session).await.unwrap_err();
    assert_eq!(backend.len(), 1);
    store.destroy(&session).await.unwrap();
    assert_eq!(backend.len(), 0);
}

#[tokio::test]
async fn a_logout_between_the_steps_of_a_rotation_wins() {
    let (backend, store) = store();
    let (old_cookie, session) = stored(&store).await;
    let elsewhere = load(&store, &old_cookie).await;
    session.regenerate();
    let same_store = store.clone();
    backend.after("save", 1, async move { same_store.destroy(&elsewhere).await.unwrap() });
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Gone);
    assert!(store.cookie_value(&session).is_none());
    assert_eq!(backend.len(), 0);
}

#[tokio::test]
async fn a_session_that_replaces_one_destroyed_during_a_rebase_is_issued() {
    let (backend, store) = store();
    let (old_cookie, session) = stored(&store).await;
    increment(&session);
    cause_conflict(&store, &old_cookie).await;
    backend.after("load", 1, log_out_and_continue(&session));
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
}

#[tokio::test]
async fn a_destroy_during_a_rebase_is_carried_out_by_that_save() {
    let (backend, store) = store();
    let (old_cookie, session) = stored(&store).await;
    increment(&session);
    cause_conflict(&store, &old_cookie).await;
    let same = session.clone();
    backend.after("load", 1, async move { same.destroy() });
    assert_eq!(store.save(&session).await.unwrap(), Saved::Removed);
    assert_eq!(backend.len(), 0);
}
