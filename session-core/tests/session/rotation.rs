//! A rotation consists of two writes, the new record and the tombstone. The tests interfere between
//! and around them.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::faulty::Fault;
use crate::support::{config, cookie, increment, load, n, request, store, stored, with_config};
use session_core::web::CookieChange;
use session_core::{Config, ErrorKind, Owner, Saved, Session, SessionId, SessionStore};

fn alice() -> Owner {
    Owner::new("alice").unwrap()
}

/// Another request gives the session a new id. Returns the new cookie.
async fn rotate(store: &SessionStore, old: &str) -> String {
    let session = load(store, old).await;
    session.regenerate();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    cookie(store, &session)
}

fn key(cookie: &str) -> session_core::Key {
    SessionId::parse(cookie).unwrap().key()
}

#[tokio::test]
async fn the_tombstone_contains_the_new_key_and_the_replaced_revision_and_no_id() {
    let (backend, store) = store();
    let (old, session) = stored(&store).await;
    session.set_owner(Some(alice()));
    store.save(&session).await.unwrap();
    let (before, _) = backend.record(&key(&old)).unwrap();
    let new = rotate(&store, &old).await;
    let (tombstone, _) = backend.record(&key(&old)).unwrap();
    let payload: serde_json::Value = serde_json::from_slice(&tombstone.payload).unwrap();
    assert!(payload["rotated"]["at"].as_u64().unwrap() > 1_700_000_000_000);
    assert_eq!(payload["v"], 1);
    assert_eq!(payload["rotated"]["key"], key(&new).to_hex());
    let replaced = format!("{:016x}", before.revision.to_u64());
    assert_eq!(payload["rotated"]["replaced"], replaced);
    assert_eq!(payload["rotated"].as_object().unwrap().len(), 3);
    // The index of owners leads to the new id while the old one is known.
    assert_eq!(tombstone.owner, Some(alice()));
    assert_ne!(tombstone.revision, before.revision);
    assert_eq!(backend.record(&key(&new)).unwrap().0.owner, Some(alice()));
}

#[tokio::test]
async fn the_tombstone_lasts_as_configured_and_not_longer_than_the_session() {
    let (second, minute, hour) =
        (Duration::from_secs(1), Duration::from_secs(60), Duration::from_secs(3600));
    for (config, ttl) in [
        (Config::default(), 10 * second),
        (Config::default().tombstone_ttl(minute), minute),
        // Never less than the deadline, because a save of the replaced record may take that long.
        (Config::default().tombstone_ttl(Duration::ZERO), 5 * second),
        (Config::default().tombstone_ttl(second).deadline(minute), minute),
        (Config::default().lifetime(3 * second), 3 * second),
        (Config::default().lifetime(hour).idle_timeout(4 * second), 4 * second),
    ] {
        let (backend, store) = with_config(config);
        let (old, session) = stored(&store).await;
        let end = Instant::now() + session.expires_in().unwrap();
        let before = Instant::now();
        session.sign_in(alice());
        store.save(&session).await.unwrap();
        let (_, expires) = backend.record(&key(&old)).unwrap();
        assert!(expires >= (before + ttl).min(end) - Duration::from_millis(1), "{ttl:?}");
        assert!(expires <= (Instant::now() + ttl).min(end + Duration::from_millis(1)), "{ttl:?}");
    }
}

#[tokio::test]
async fn the_tombstone_of_a_session_that_was_destroyed_meanwhile_has_the_usual_ttl() {
    let (backend, store) = with_config(Config::default());
    let (old, session) = stored(&store).await;
    let elsewhere = load(&store, &old).await;
    session.sign_in(alice());
    let same = session.clone();
    backend.after("save", 1, async move { same.destroy() });
    // The destruction by this save hangs, but another logout is carried out.
    backend.before("destroy", 1, std::future::pending());
    let save = tokio::time::timeout(Duration::from_millis(50), store.save(&session));
    save.await.unwrap_err();
    assert_eq!((backend.len(), backend.tombstones()), (1, 1));
    store.destroy(&elsewhere).await.unwrap();
    assert_eq!(backend.len(), 0, "alive after a logout with the old id");
}

#[tokio::test]
async fn a_tombstone_that_arrives_after_its_rotation_was_discarded_ends_no_session() {
    let (backend, store) = store();
    let (old, session) = stored(&store).await;
    session.regenerate();
    backend.fail(&[Fault::None, Fault::Late]);
    backend.failing_loads.store(1, Ordering::SeqCst);
    store.save(&session).await.unwrap_err();
    session.discard_changes();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert!(!backend.arrive(), "the session moved to an unused id");
    assert_eq!((n(&store, &old).await, backend.len()), (0, 1));
    session.insert("n", 1).unwrap();
    backend.take_calls();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(backend.take_calls(), ["save"]);
}

#[tokio::test]
async fn another_requests_rotation_before_the_first_write_makes_the_save_late() {
    type Change = fn(&Session);
    let changes: [(&str, Change); 3] =
        [("save", increment), ("save", Session::regenerate), ("touch", Session::extend)];
    for (call, change) in changes {
        let (backend, store) = with_config(config().idle_timeout(Duration::from_secs(60)));
        let (old, session) = stored(&store).await;
        let (same_store, same_cookie) = (store.clone(), old.clone());
        backend.before(call, 1, async move {
            rotate(&same_store, &same_cookie).await;
        });
        change(&session);
        tokio::time::sleep(Duration::from_millis(3)).await;
        let error = store.save(&session).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gone, "{call}");
        assert!(store.cookie_value(&session).is_none());
        assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
        assert!(session.is_empty() && session.is_new());
        assert_eq!((backend.len(), backend.tombstones()), (1, 1), "{call}");
        assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    }
}

#[tokio::test]
async fn a_rotation_that_conflicts_with_another_removes_its_record() {
    let (backend, store) = store();
    let (old, session) = stored(&store).await;
    let (same_store, same_cookie) = (store.clone(), old.clone());
    backend.after("save", 1, async move {
        rotate(&same_store, &same_cookie).await;
    });
    session.regenerate();
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Gone);
    assert_eq!((backend.len(), backend.tombstones()), (1, 1));
}

#[tokio::test]
async fn two_sign_ins_at_once_are_two_sessions_with_ids_of_their_own() {
    let (backend, store) = store();
    let (old, session) = stored(&store).await;
    session.insert("form", 1).unwrap();
    increment(&session);
    session.sign_in(alice());
    let other = load(&store, &old).await;
    other.sign_in(Owner::new("bob").unwrap());
    let (same_store, same) = (store.clone(), other.clone());
    backend.after("save", 1, async move {
        assert_eq!(same_store.save(&same).await.unwrap(), Saved::Issued);
    });
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    let (first, second) = (cookie(&store, &session), cookie(&store, &other));
    assert_ne!(first, second);
    assert!(first != old && second != old);
    let seen = load(&store, &first).await;
    assert_eq!(seen.owner(), Some(alice()));
    // It has no values of the rotated session: the update begins without a value.
    assert_eq!((seen.keys(), n(&store, &first).await), (vec!["form".into(), "n".into()], 1));
    assert_eq!(load(&store, &second).await.owner().unwrap().as_str(), "bob");
    assert_eq!((backend.len(), backend.tombstones()), (2, 1));
}

#[tokio::test]
async fn a_late_renewal_changes_no_expiry() {
    let minute = Duration::from_secs(60);
    let (backend, store) = with_config(config().idle_timeout(minute).renew_after(0.0));
    let (old, stale) = stored(&store).await;
    tokio::time::sleep(Duration::from_millis(3)).await;
    // Another request has just set a shorter lifetime.
    request(&store, &old, |session| session.set_lifetime(Duration::from_secs(9)).unwrap()).await;
    let end = backend.expiry();
    assert_eq!(store.save(&stale).await.unwrap(), Saved::Unchanged);
    assert_eq!(backend.expiry(), end);
    assert!(stale.expires_in().unwrap() <= Duration::from_secs(9));
    // Another request has just given it a new id.
    let stale = load(&store, &old).await;
    stale.extend();
    rotate(&store, &old).await;
    let (_, end) = backend.record(&key(&old)).unwrap();
    tokio::time::sleep(Duration::from_millis(3)).await;
    assert_eq!(store.save(&stale).await.unwrap_err().kind(), ErrorKind::Gone);
    assert_eq!(backend.record(&key(&old)).unwrap().1, end, "the tombstone lives longer");
}

#[tokio::test]
async fn a_write_before_the_rotation_of_another_request_counts_as_written() {
    for loads_that_fail in [0, 1] {
        let (backend, store) = store();
        let (old, session) = stored(&store).await;
        increment(&session);
        backend.fail(&[Fault::LoseAnswer]);
        backend.failing_loads.store(loads_that_fail, Ordering::SeqCst);
        let (same_store, same_cookie) = (store.clone(), old.clone());
        let new = if loads_that_fail == 0 {
            backend.before("load", 1, async move {
                rotate(&same_store, &same_cookie).await;
            });
            None
        } else {
            store.save(&session).await.unwrap_err();
            Some(rotate(&store, &old).await)
        };
        assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
        assert_eq!(backend.len(), 1);
        if let Some(new) = new {
            assert_eq!(n(&store, &new).await, 1);
        }
        assert!(store.cookie_value(&session).is_none());
        // From now on the session is late: changes are `Gone`, a sign-in is stored, and a logout
        // ends the session under its new id.
        increment(&session);
        assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Gone);
        session.sign_in(alice());
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        assert_eq!(backend.len(), 2);
    }
}

#[tokio::test]
async fn a_write_that_a_driver_sent_twice_before_a_rotation_counts_as_written() {
    let (backend, store) = store();
    let (old, session) = stored(&store).await;
    increment(&session);
    backend.fail(&[Fault::SentTwice]);
    let (same_store, same_cookie) = (store.clone(), old.clone());
    backend.before("load", 1, async move {
        rotate(&same_store, &same_cookie).await;
    });
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    store.destroy(&session).await.unwrap();
    assert_eq!(backend.len(), 0, "a logout follows");
}

#[tokio::test]
async fn a_refused_rotation_leaves_only_the_old_session() {
    let (backend, store) = store();
    let (old, session) = stored(&store).await;
    increment(&session);
    session.sign_in(alice());
    backend.fail(&[Fault::None, Fault::Refuse, Fault::Refuse]);
    backend.take_calls();
    let error = store.save(&session).await.unwrap_err();
    assert!(error.nothing_was_written());
    assert_eq!(backend.take_calls(), ["save", "save", "save", "destroy"]);
    assert_eq!((backend.len(), n(&store, &old).await), (1, 0));
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_eq!((backend.len(), n(&store, &cookie(&store, &session)).await), (1, 1));
}

#[tokio::test]
async fn a_rotation_whose_future_was_dropped_at_any_call_is_completed_by_the_next_save() {
    for nth in 1..=2 {
        for hangs_before in [true, false] {
            let (backend, store) = store();
            let (old, session) = stored(&store).await;
            increment(&session);
            session.sign_in(alice());
            match hangs_before {
                true => backend.before("save", nth, std::future::pending()),
                false => backend.after("save", nth, std::future::pending()),
            }
            let save = tokio::time::timeout(Duration::from_millis(30), store.save(&session));
            save.await.unwrap_err();
            assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
            let new = cookie(&store, &session);
            assert_eq!(n(&store, &new).await, 1, "{nth} {hangs_before}");
            assert!(store.load(&old).await.unwrap().is_none());
            assert_eq!((backend.len(), backend.tombstones()), (1, 1), "{nth} {hangs_before}");
        }
    }
}
