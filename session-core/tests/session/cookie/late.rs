//! Requests with an id that another request replaced.

use std::sync::atomic::Ordering;
use std::time::Duration;

use super::assert_gone;
use super::sealing::{marked_until, with_cookies, with_leeway, with_revocation};
use crate::faulty::Fault;
use crate::support::{config, cookie, increment, load, n, stored};
use session_core::web::{CookieChange, Found};
use session_core::{ErrorKind, Owner, Saved, Session, SessionStore};

/// Loads the session of a late request.
async fn late(store: &SessionStore, cookie: &str) -> Session {
    match store.web().load(cookie).await.unwrap() {
        Found::Rotated(session) => session,
        other => panic!("not a rotated id: {other:?}"),
    }
}

#[tokio::test]
async fn a_late_request_reads_nothing_and_stores_nothing() {
    let (_, store) = with_revocation(config());
    let (old_cookie, session) = stored(&store).await;
    session.sign_in(Owner::new("ann").unwrap());
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);

    let late = late(&store, &old_cookie).await;
    assert!(late.is_empty() && late.owner().is_none());
    assert_eq!(store.save(&late).await.unwrap(), Saved::Unchanged);
    late.insert("n", 7).unwrap();
    assert_gone(&store, &late).await;
    assert!(matches!(store.save(&session).await.unwrap(), Saved::Unchanged), "the new one lives");
    assert_eq!(n(&store, &cookie(&store, &session)).await, 0);
}

#[tokio::test]
async fn a_rotated_id_loads_nothing_after_the_tombstone_ttl() {
    let (_, store) = with_revocation(config().tombstone_ttl(Duration::from_millis(400)));
    let (old_cookie, session) = stored(&store).await;
    session.regenerate();
    store.save(&session).await.unwrap();
    late(&store, &old_cookie).await;
    tokio::time::sleep(Duration::from_millis(420)).await;
    assert!(matches!(store.web().load(&old_cookie).await.unwrap(), Found::Nothing));
}

/// The form is submitted twice, or the rotation happens while the second request is in flight.
#[tokio::test]
async fn a_late_sign_in_is_stored_with_its_own_id() {
    for loaded_before in [false, true] {
        let (_, cookies, store) = with_cookies(config());
        let (old_cookie, session) = stored(&store).await;
        let before = load(&store, &old_cookie).await;
        session.sign_in(Owner::new("ann").unwrap());
        store.save(&session).await.unwrap();
        let second = if loaded_before { before } else { late(&store, &old_cookie).await };
        second.sign_in(Owner::new("ann").unwrap());
        second.insert("second", true).unwrap();
        assert_eq!(store.save(&second).await.unwrap(), Saved::Issued);
        let (first_cookie, second_cookie) = (cookie(&store, &session), cookie(&store, &second));
        assert_ne!(cookies.key(&first_cookie), cookies.key(&second_cookie));
        assert_eq!(load(&store, &second_cookie).await.keys(), ["second"], "nothing of the first");
        assert_eq!(load(&store, &first_cookie).await.owner(), Owner::new("ann").ok());
    }
}

/// The request may be from a second tab, or its session may have been loaded before the rotation.
#[tokio::test]
async fn a_logout_with_the_old_cookie_ends_the_new_one_for_its_whole_life() {
    const MONTH: Duration = Duration::from_secs(30 * 86_400);
    for loaded_before in [false, true] {
        let (revoked, cookies, store) = with_leeway(Duration::ZERO, config());
        let (old_cookie, session) = stored(&store).await;
        let before = load(&store, &old_cookie).await;
        session.set_lifetime(MONTH).unwrap();
        store.save(&session).await.unwrap();
        session.regenerate();
        store.save(&session).await.unwrap();
        session.extend();
        tokio::time::sleep(Duration::from_millis(20)).await;
        store.save(&session).await.unwrap();
        let new_cookie = cookie(&store, &session);
        tokio::time::sleep(Duration::from_millis(5)).await;

        let other = if loaded_before { before } else { late(&store, &old_cookie).await };
        store.destroy(&other).await.unwrap();
        assert_eq!(store.web().cookie_change(&other), CookieChange::Remove);
        assert!(store.load(&new_cookie).await.unwrap().is_none(), "{loaded_before}");
        let until = marked_until(&revoked, cookies.key(&new_cookie)).await;
        assert!(until >= cookies.expires_at(&new_cookie), "the mark outlives the new cookie");
        increment(&session);
        assert_gone(&store, &session).await;
    }
}

/// The mark names the id that the client finally gets.
#[tokio::test]
async fn a_logout_with_the_old_cookie_ends_a_session_after_a_rotation_in_doubt() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        for discard in [false, true] {
            let (revoked, store) = with_revocation(config());
            let (old_cookie, session) = stored(&store).await;
            let elsewhere = load(&store, &old_cookie).await;
            session.regenerate();
            revoked.fail(&[fault]);
            let faulty = revoked.clone();
            revoked.after("load", 1, async move {
                faulty.failing_loads.store(1, Ordering::SeqCst);
            });
            assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Unavailable);
            if discard {
                session.discard_changes();
            }
            increment(&session);
            assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
            let new_cookie = cookie(&store, &session);
            assert_eq!(n(&store, &new_cookie).await, 1);
            let rotated = fault == Fault::LoseAnswer || !discard;
            assert_eq!(store.load(&old_cookie).await.unwrap().is_none(), rotated);
            store.destroy(&elsewhere).await.unwrap();
            assert!(store.load(&new_cookie).await.unwrap().is_none(), "{fault:?} {discard}");
        }
    }
}
