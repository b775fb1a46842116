//! Writes whose outcome a later save finds out.

use std::sync::atomic::Ordering;
use std::time::Duration;

use session_core::{ErrorKind, Saved, Session, SessionStore};

use crate::faulty::{Fault, Faulty};
use crate::support::{cookie, increment, load, n, request, store, stored};

/// A save of `session` whose answer was lost, and whose outcome could not be found out.
async fn save_in_doubt(backend: &Faulty, store: &SessionStore, session: &Session, fault: Fault) {
    backend.fail(&[fault]);
    backend.failing_loads.store(1, Ordering::SeqCst);
    let error = store.save(session).await.unwrap_err();
    assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Unavailable, false));
}

/// Gives the session a new id. Returns the new cookie.
async fn rotate(store: &SessionStore, old: &str) -> String {
    let session = load(store, old).await;
    session.regenerate();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    cookie(store, &session)
}

#[tokio::test]
async fn a_write_that_lives_on_under_another_id_is_never_gone() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        let (backend, store) = store();
        let (old, session) = stored(&store).await;
        increment(&session);
        save_in_doubt(&backend, &store, &session, fault).await;
        let new = rotate(&store, &old).await;
        // Nothing shows any more whether the write was carried out before the rotation.
        backend.expire_tombstones();
        let error = store.save(&session).await.unwrap_err();
        assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Unavailable, false));
        let written = u32::from(fault == Fault::LoseAnswer);
        assert_eq!(n(&store, &new).await, written);
        // It was reported once. The handle knows that its session is gone.
        assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
        assert!(!store.is_alive(&session).await.unwrap());
        increment(&session);
        let error = store.save(&session).await.unwrap_err();
        assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Gone, true));
        assert_eq!(n(&store, &new).await, written);
    }
}

#[tokio::test]
async fn a_write_in_doubt_of_a_session_that_was_destroyed_is_reported_once() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    save_in_doubt(&backend, &store, &session, Fault::LoseAnswer).await;
    request(&store, &cookie, Session::destroy).await;
    let error = store.save(&session).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Gone);
    assert!(store.load(&cookie).await.unwrap().is_none());
}

/// The write of one save contains the changes of several requests. A change that one of them made
/// while the outcome was unknown must be computed from all of them.
#[tokio::test]
async fn a_change_after_a_common_write_in_doubt_keeps_the_changes_of_others() {
    let (backend, store) = store();
    let (cookie, leader) = stored(&store).await;
    let follower = load(&store, &cookie).await;
    increment(&leader);
    increment(&follower);
    // The save of the leader is refused, because another request was faster.
    request(&store, &cookie, increment).await;
    let (same_store, waiting) = (store.clone(), follower.clone());
    backend.before("load", 1, async move {
        tokio::spawn(async move { same_store.save(&waiting).await });
        tokio::time::sleep(Duration::from_millis(20)).await;
    });
    // The refused write is answered; the answer to the common write is lost, as all loads then are.
    backend.fail(&[Fault::None, Fault::LoseAnswer]);
    let same_backend = std::sync::Arc::clone(&backend);
    backend.after(
        "save",
        2,
        async move { same_backend.failing_loads.store(100, Ordering::SeqCst) },
    );
    store.save(&leader).await.unwrap_err();
    increment(&leader);
    tokio::time::sleep(Duration::from_millis(20)).await;
    backend.failing_loads.store(0, Ordering::SeqCst);
    // The follower has no change of its own left, so its save only finds out the outcome.
    for session in [&follower, &leader] {
        store.save(session).await.unwrap();
    }
    assert_eq!(n(&store, &cookie).await, 4, "each change is there, once");
}

#[tokio::test]
async fn a_rotation_that_failed_is_not_completed_without_its_new_record() {
    let (backend, store) = store();
    let (_, session) = stored(&store).await;
    session.regenerate();
    // The tombstone is refused, and the future is dropped after the new record was removed.
    backend.fail(&[Fault::None, Fault::Refuse, Fault::Refuse]);
    backend.after("destroy", 1, std::future::pending());
    let dropped = tokio::time::timeout(Duration::from_millis(100), store.save(&session)).await;
    assert!(dropped.is_err(), "it hangs");
    assert_eq!(backend.len(), 1);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    let new = cookie(&store, &session);
    assert_eq!((n(&store, &new).await, backend.len()), (0, 1));
}

#[tokio::test]
async fn the_handle_that_created_a_session_can_end_it() {
    let (backend, store) = store();
    for fault in [Fault::None, Fault::LoseAnswer] {
        let session = store.create();
        increment(&session);
        backend.fail(&[fault]);
        store.save(&session).await.unwrap();
        let cookie = cookie(&store, &session);
        session.destroy();
        assert_eq!(store.save(&session).await.unwrap(), Saved::Removed);
        assert!(store.load(&cookie).await.unwrap().is_none());
        assert_eq!(backend.len(), 0);
    }
    // Also if its create is in doubt.
    let session = store.create();
    increment(&session);
    save_in_doubt(&backend, &store, &session, Fault::LoseAnswer).await;
    assert_eq!(backend.len(), 1);
    session.destroy();
    store.save(&session).await.unwrap();
    assert_eq!(backend.len(), 0);
}
