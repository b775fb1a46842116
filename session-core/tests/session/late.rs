//! Requests with an id that was replaced a moment ago, and logouts with it.

use std::time::Duration;

use crate::faulty::{Fault, Faulty};
use crate::support::{cookie, increment, load, n, store, stored};
use session_core::web::{CookieChange, Found};
use session_core::{ErrorKind, Owner, Saved, Session, SessionStore};

fn alice() -> Owner {
    Owner::new("alice").unwrap()
}

/// Gives the session a new id. Returns the new cookie.
async fn rotate(store: &SessionStore, old: &str) -> String {
    let session = load(store, old).await;
    session.regenerate();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    cookie(store, &session)
}

async fn late(store: &SessionStore, cookie: &str) -> Session {
    assert!(store.load(cookie).await.unwrap().is_none(), "a tombstone is never a session");
    match store.web().load(cookie).await.unwrap() {
        Found::Rotated(session) => session,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_late_request_reads_an_empty_session_and_stores_nothing() {
    let (backend, store) = store();
    let (old, _) = stored(&store).await;
    let new = rotate(&store, &old).await;
    let session = late(&store, &old).await;
    assert!(session.is_empty() && session.is_new() && session.owner().is_none());
    backend.take_calls();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert!(!store.is_alive(&session).await.unwrap());
    let changes: [fn(&Session); 6] = [
        |session| session.insert("n", 7).unwrap(),
        increment,
        |session| session.flash().message("info", "lost"),
        |session| session.set_owner(Some(alice())),
        Session::regenerate,
        |session| session.set_lifetime(Duration::from_secs(9)).unwrap(),
    ];
    for change in changes {
        change(&session);
        for _ in 0..2 {
            let error = store.save(&session).await.unwrap_err();
            assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Gone, true));
        }
        let error = store.update(&session, "n", |n: Option<u32>| n.unwrap_or(0)).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gone);
        assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
        assert!(store.cookie_value(&session).is_none());
        session.discard_changes();
        assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    }
    assert!(backend.take_calls().is_empty(), "it is known already");
    assert_eq!((n(&store, &new).await, backend.len()), (0, 1));
}

#[tokio::test]
async fn an_expired_tombstone_loads_nothing() {
    let (backend, store) = store();
    let (old, _) = stored(&store).await;
    rotate(&store, &old).await;
    backend.expire_tombstones();
    assert!(matches!(store.web().load(&old).await.unwrap(), Found::Nothing));
}

#[tokio::test]
async fn a_late_sign_in_is_stored_under_its_own_id() {
    let (backend, store) = store();
    let (old, _) = stored(&store).await;
    let new = rotate(&store, &old).await;
    let session = late(&store, &old).await;
    session.insert("form", 1).unwrap();
    session.sign_in(alice());
    backend.take_calls();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_eq!(backend.take_calls(), ["save"]);
    let own = cookie(&store, &session);
    assert!(own != old && own != new);
    assert_eq!(load(&store, &own).await.owner(), Some(alice()));
    assert_eq!(load(&store, &own).await.keys(), ["form"]);
    assert!(matches!(store.web().cookie_change(&session), CookieChange::Set(_)));
    // It is now an ordinary session, separate from the rotated one.
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    store.destroy(&session).await.unwrap();
    assert!(store.load(&own).await.unwrap().is_none());
    assert_eq!(n(&store, &new).await, 0);
}

#[tokio::test]
async fn a_late_sign_in_whose_answer_was_lost_is_one_session() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest, Fault::SentTwice] {
        let (backend, store) = store();
        let (old, _) = stored(&store).await;
        rotate(&store, &old).await;
        let session = late(&store, &old).await;
        session.sign_in(alice());
        backend.fail(&[fault]);
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        assert_eq!((backend.len(), backend.tombstones()), (2, 1));
    }
}

/// Checks that a logout with the old id has ended the session.
async fn assert_ended(backend: &Faulty, store: &SessionStore, session: &Session) {
    assert_eq!(backend.len(), 0, "alive after a logout");
    assert!(store.web().ended(session));
    assert_eq!(store.web().cookie_change(session), CookieChange::Remove);
}

#[tokio::test]
async fn a_logout_with_the_old_id_ends_the_session_under_its_new_id() {
    for rotations in 1..=3 {
        let (backend, store) = store();
        let (old, session) = stored(&store).await;
        let mut newest = old.clone();
        for _ in 0..rotations {
            newest = rotate(&store, &newest).await;
        }
        // One request was loaded before the rotations, the other one after them.
        let session = if rotations % 2 == 0 { session } else { late(&store, &old).await };
        store.destroy(&session).await.unwrap();
        assert_ended(&backend, &store, &session).await;
        assert!(store.load(&newest).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_late_logout_ends_the_session_however_long_its_request_takes() {
    let (backend, store) = store();
    let (old, session) = stored(&store).await;
    let newer = rotate(&store, &old).await;
    let late = late(&store, &old).await;
    // This request learns of the rotation from its save.
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Gone);
    backend.expire_tombstones();
    rotate(&store, &newer).await;
    for session in [late, session] {
        store.destroy(&session).await.unwrap();
        assert_ended(&backend, &store, &session).await;
    }
}

#[tokio::test]
async fn the_creating_request_ends_a_session_that_another_request_rotated() {
    let (backend, store) = store();
    let session = store.create();
    increment(&session);
    store.save(&session).await.unwrap();
    rotate(&store, &cookie(&store, &session)).await;
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Gone);
    store.destroy(&session).await.unwrap();
    assert_eq!(backend.len(), 0, "alive after a logout");
}

#[tokio::test]
async fn a_logout_that_meets_a_rotation_at_any_moment_wins() {
    for (when, nth) in [("before", 1), ("after", 1), ("before", 2), ("after", 2)] {
        let (backend, store) = store();
        let (old, session) = stored(&store).await;
        let elsewhere = load(&store, &old).await;
        session.sign_in(alice());
        let same_store = store.clone();
        let logout = async move { same_store.destroy(&elsewhere).await.unwrap() };
        match when {
            "before" => backend.before("save", nth, logout),
            _ => backend.after("save", nth, logout),
        }
        let saved = store.save(&session).await;
        // After its last write the rotation can't notice the logout.
        assert_eq!(saved.is_ok(), (when, nth) == ("after", 2), "{when} {nth}");
        assert_eq!(backend.len(), 0, "{when} {nth}");
        if let Some(value) = store.cookie_value(&session) {
            assert!(store.load(value.as_str()).await.unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn a_rotation_that_meets_a_logout_at_any_moment_is_followed() {
    for (call, nth) in [("destroy", 1), ("load", 1), ("destroy", 2)] {
        let (backend, store) = store();
        let (old, session) = stored(&store).await;
        // The first `destroy` does not match, so that there is a load and a second one.
        let elsewhere = load(&store, &old).await;
        increment(&elsewhere);
        store.save(&elsewhere).await.unwrap();
        let (same_store, same_cookie) = (store.clone(), old.clone());
        backend.before(call, nth, async move {
            rotate(&same_store, &same_cookie).await;
        });
        store.destroy(&session).await.unwrap();
        assert_ended(&backend, &store, &session).await;
    }
}

#[tokio::test]
async fn a_logout_with_repeated_conflicts_removes_no_tombstone() {
    let (backend, store) = store();
    let (old, session) = stored(&store).await;
    for nth in 1..=9 {
        let (same_store, same_cookie) = (store.clone(), old.clone());
        backend.before("destroy", nth, async move {
            let session = load(&same_store, &same_cookie).await;
            increment(&session);
            if nth == 9 {
                session.regenerate();
            }
            same_store.save(&session).await.unwrap();
        });
    }
    store.destroy(&session).await.unwrap();
    assert_ended(&backend, &store, &session).await;
}

#[tokio::test]
async fn a_destroy_by_a_clone_at_any_call_of_a_save_is_carried_out() {
    let changes: [fn(&Session); 3] =
        [increment, Session::regenerate, |session| session.sign_in(alice())];
    for change in changes {
        for (nth, faults) in [
            (1, &[Fault::None][..]),
            (1, &[Fault::Refuse, Fault::Refuse]),
            (1, &[Fault::LoseAnswer]),
            (1, &[Fault::LoseRequest]),
            (1, &[Fault::SentTwice]),
            (2, &[]),
            (2, &[Fault::None, Fault::Refuse, Fault::Refuse]),
            (2, &[Fault::None, Fault::LoseAnswer]),
            (2, &[Fault::None, Fault::LoseRequest]),
            (3, &[Fault::None, Fault::Refuse]),
        ] {
            let (backend, store) = store();
            let (_, session) = stored(&store).await;
            change(&session);
            let same = session.clone();
            backend.before("save", nth, async move { same.destroy() });
            backend.fail(faults);
            backend.take_calls();
            let saved = store.save(&session).await;
            let calls = backend.take_calls();
            if calls.iter().filter(|call| **call == "save").count() < nth {
                continue; // the save ends before that call
            }
            assert_eq!(saved.unwrap(), Saved::Removed, "{faults:?} {calls:?}");
            assert_ended(&backend, &store, &session).await;
        }
    }
}

#[tokio::test]
async fn the_cookie_is_kept_while_its_session_lives_after_a_rotation_in_doubt_and_a_partial_destroy()
 {
    let (backend, store) = store();
    let (old, session) = stored(&store).await;
    session.regenerate();
    backend.fail(&[Fault::None, Fault::LoseRequest]);
    backend.failing_loads.store(1, std::sync::atomic::Ordering::SeqCst);
    store.save(&session).await.unwrap_err();
    // The old id is destroyed first. While it is alive, the cookie is not removed.
    backend.fail(&[Fault::LoseRequest]);
    backend.take_calls();
    store.destroy(&session).await.unwrap_err();
    assert_eq!(backend.take_calls(), ["destroy"]);
    assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
    assert!(!store.web().ended(&session));
    assert_eq!(n(&store, &old).await, 0);
    store.destroy(&session).await.unwrap();
    assert_ended(&backend, &store, &session).await;
}

#[tokio::test]
async fn is_alive_is_false_after_logouts_and_rotations() {
    let (_, store) = store();
    let (old, session) = stored(&store).await;
    assert!(store.is_alive(&session).await.unwrap());
    let other = load(&store, &old).await;
    other.regenerate();
    store.save(&other).await.unwrap();
    assert!(!store.is_alive(&session).await.unwrap());
    assert!(store.is_alive(&other).await.unwrap());
    let elsewhere = load(&store, &cookie(&store, &other)).await;
    store.destroy(&elsewhere).await.unwrap();
    assert!(!store.is_alive(&other).await.unwrap());
    let new = store.create();
    increment(&new);
    assert!(!store.is_alive(&new).await.unwrap(), "not stored yet");
}
