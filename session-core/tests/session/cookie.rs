//! Sessions in the cookie: rotations against logouts, with and without a revocation store.

mod account;
mod late;
mod marks;
mod sealing;

use std::sync::atomic::Ordering;
use std::time::Duration;

use self::sealing::{HOUR, Sealing, with_revocation, without_revocation};
use crate::faulty::Fault;
use crate::support::{config, cookie, increment, load, n, stored};
use session_core::web::CookieChange;
use session_core::{ErrorKind, Saved, Session, SessionStore};

/// The save of the session fails because another request rotated or destroyed it, and the session
/// has no cookie.
async fn assert_gone(store: &SessionStore, session: &Session) {
    assert_eq!(store.save(session).await.unwrap_err().kind(), ErrorKind::Gone);
    assert!(store.cookie_value(session).is_none());
    assert_eq!(store.web().cookie_change(session), CookieChange::Keep);
}

#[test]
fn a_cookie_store_has_no_records_for_adapters() {
    for store in [without_revocation(), with_revocation(config()).1] {
        assert_eq!(store.records("other").unwrap_err().kind(), ErrorKind::Unsupported);
    }
}

#[tokio::test]
async fn a_logout_between_the_load_and_the_mark_of_a_rotation_wins() {
    let (revoked, store) = with_revocation(config());
    let (old_cookie, session) = stored(&store).await;
    let elsewhere = load(&store, &old_cookie).await;
    session.regenerate();
    let same_store = store.clone();
    revoked.after("load", 1, async move { same_store.destroy(&elsewhere).await.unwrap() });
    assert_gone(&store, &session).await;
    assert!(store.load(&old_cookie).await.unwrap().is_none());
}

#[tokio::test]
async fn one_of_two_concurrent_rotations_succeeds() {
    let (revoked, store) = with_revocation(config());
    let (old_cookie, session) = stored(&store).await;
    let elsewhere = load(&store, &old_cookie).await;
    session.regenerate();
    elsewhere.regenerate();
    let (same_store, winner) = (store.clone(), elsewhere.clone());
    revoked.after("load", 1, async move {
        assert_eq!(same_store.save(&winner).await.unwrap(), Saved::Issued);
    });
    assert_gone(&store, &session).await;
    assert_eq!(n(&store, &cookie(&store, &elsewhere)).await, 0);
    assert!(store.load(&old_cookie).await.unwrap().is_none());
}

#[tokio::test]
async fn a_rotation_recognizes_its_own_mark_after_a_lost_answer() {
    // Whether the mark can be loaded at once, or only by the next save.
    for lost in [false, true] {
        for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
            let (revoked, store) = with_revocation(config());
            let (old_cookie, session) = stored(&store).await;
            session.regenerate();
            revoked.fail(&[fault]);
            let faulty = revoked.clone();
            // After the load that precedes the mark.
            revoked.after("load", 1, async move {
                faulty.failing_loads.store(usize::from(lost), Ordering::SeqCst);
            });
            let mut saved = store.save(&session).await;
            if lost || fault == Fault::LoseRequest {
                assert_eq!(saved.unwrap_err().kind(), ErrorKind::Unavailable);
                assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
                saved = store.save(&session).await;
            }
            assert_eq!(saved.unwrap(), Saved::Issued, "{lost} {fault:?}");
            assert_eq!(n(&store, &cookie(&store, &session)).await, 0);
            assert!(store.load(&old_cookie).await.unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn a_rotation_in_doubt_does_not_outlive_a_logout() {
    let (revoked, store) = with_revocation(config());
    let (old_cookie, session) = stored(&store).await;
    let elsewhere = load(&store, &old_cookie).await;
    session.regenerate();
    revoked.fail(&[Fault::LoseRequest]);
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Unavailable);
    store.destroy(&elsewhere).await.unwrap();
    assert_gone(&store, &session).await;
}

#[tokio::test]
async fn a_destroy_during_a_save_keeps_later_changes() {
    for regenerate in [false, true] {
        let (revoked, store) = with_revocation(config());
        let (old_cookie, session) = stored(&store).await;
        increment(&session);
        if regenerate {
            session.regenerate();
        }
        let same = session.clone();
        revoked.after("load", 1, async move {
            same.destroy();
            same.insert("fresh", 1).unwrap();
        });
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        let new_cookie = cookie(&store, &session);
        assert_eq!(load(&store, &new_cookie).await.keys(), ["fresh"]);
        assert!(store.load(&old_cookie).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_save_after_a_logout_is_gone() {
    let (_, store) = with_revocation(config());
    let (old_cookie, session) = stored(&store).await;
    store.destroy(&load(&store, &old_cookie).await).await.unwrap();
    increment(&session);
    assert_gone(&store, &session).await;
}

#[tokio::test]
async fn an_unavailable_revocation_store_is_an_error_and_not_a_session() {
    let (revoked, store) = with_revocation(config());
    let (cookie, session) = stored(&store).await;
    revoked.failing_loads.store(1, Ordering::SeqCst);
    assert_eq!(store.load(&cookie).await.unwrap_err().kind(), ErrorKind::Unavailable);
    increment(&session);
    revoked.failing_loads.store(1, Ordering::SeqCst);
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(session.changed());
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
}

#[tokio::test]
async fn the_cookie_follows_the_destroys_and_saves_of_the_application() {
    let (_, revocable) = with_revocation(config());
    for store in [without_revocation(), revocable] {
        let (_, session) = stored(&store).await;
        store.destroy(&session).await.unwrap();
        assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
        assert_eq!(store.web().cookie_change(&session), CookieChange::Remove);

        let (_, session) = stored(&store).await;
        assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
        increment(&session);
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
        let value = store.cookie_value(&session).unwrap();
        assert_eq!(n(&store, value.as_str()).await, 1);
        assert_eq!(store.web().cookie_change(&session), CookieChange::Set(value));
    }
}

#[tokio::test]
async fn a_session_that_is_too_large_leaves_the_old_cookie() {
    let (_, revocable) = with_revocation(config());
    for store in [without_revocation(), revocable] {
        let (old_cookie, session) = stored(&store).await;
        session.insert("big", "x".repeat(1000)).unwrap();
        session.regenerate();
        assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
        assert_eq!(n(&store, &old_cookie).await, 0);
        session.remove("big");
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        assert_eq!(n(&store, &cookie(&store, &session)).await, 0);
    }
}

#[tokio::test]
async fn a_refused_rotation_leaves_nothing_to_revoke() {
    let (revoked, store) = with_revocation(config());
    let (_, session) = stored(&store).await;
    session.insert("big", "x".repeat(1000)).unwrap();
    session.regenerate();
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(revoked.len(), 0);
    store.destroy(&session).await.unwrap();
    assert_eq!(revoked.len(), 1);
}

#[tokio::test]
async fn a_fixed_lifetime_stays_fixed() {
    let cookies = Sealing::default();
    let store = SessionStore::new_cookie(cookies.clone()).with_config(config()).unwrap();
    let (old_cookie, session) = stored(&store).await;
    let expiry = cookies.expires_at(&old_cookie);
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    session.regenerate();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    let new_cookie = cookie(&store, &session);
    assert_ne!(new_cookie, old_cookie);
    assert_eq!(cookies.expires_at(&new_cookie), expiry);
}

#[tokio::test]
async fn a_cookie_of_an_older_key_is_sealed_again_with_the_same_expiry() {
    let cookies = Sealing::default();
    let store = SessionStore::new_cookie(cookies.clone()).with_config(config()).unwrap();
    let (old_cookie, _) = stored(&store).await;
    cookies.aged.store(true, Ordering::SeqCst);
    let session = load(&store, &old_cookie).await;
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    let new_cookie = cookie(&store, &session);
    assert_ne!(new_cookie, old_cookie);
    assert_eq!(cookies.expires_at(&new_cookie), cookies.expires_at(&old_cookie));
    assert_eq!(n(&store, &new_cookie).await, 0);
}

#[tokio::test]
async fn a_cookie_past_its_absolute_lifetime_is_not_renewed_within_the_leeway() {
    let limit = Duration::from_millis(60);
    let config = config().lifetime(limit).idle_timeout(HOUR).renew_after(0.0);
    let (_, store) = with_revocation(config);
    let (_, session) = stored(&store).await;
    tokio::time::sleep(limit * 2).await;
    session.extend();
    let _ = session.get::<u32>("n");
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
}
