//! The expiry of revocation marks.

use std::time::{Duration, Instant, SystemTime};

use super::assert_gone;
use super::sealing::{HOUR, LEEWAY, marked_until, with_cookies, with_revocation};
use crate::faulty::Fault;
use crate::support::{config, cookie, increment, load, stored};
use session_core::web::CookieChange;
use session_core::{Backend as _, Bytes, ErrorKind, Record, Revision, Saved, Session, Write};

#[tokio::test]
async fn a_mark_outlives_every_cookie_of_its_session() {
    for (own, longest) in [(None, HOUR), (Some(4 * HOUR), 4 * HOUR)] {
        let sliding = config().lifetime(None).idle_timeout(HOUR).renew_after(0.0);
        let (revoked, store) = with_revocation(sliding);
        let session = store.create();
        increment(&session);
        if let Some(own) = own {
            session.set_lifetime(own).unwrap();
        }
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        let session = load(&store, &cookie(&store, &session)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        // Until now a parallel request may have renewed the session for a whole life.
        let renewed = Instant::now() + longest + LEEWAY;
        store.destroy(&session).await.unwrap();
        assert!(revoked.expiry() >= renewed, "{own:?}");
    }
}

#[tokio::test]
async fn a_mark_of_a_rotation_outlives_every_cookie_with_the_old_id() {
    let (revoked, cookies, store) = with_cookies(config().lifetime(HOUR));
    let session = store.create();
    increment(&session);
    session.set_lifetime(4 * HOUR).unwrap();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    let old_cookie = cookie(&store, &session);
    let session = load(&store, &old_cookie).await;
    let renewed = SystemTime::now() + 4 * HOUR + LEEWAY;
    session.regenerate();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert!(marked_until(&revoked, cookies.key(&old_cookie)).await >= renewed);
}

/// A mark lasts as long as the cookies of its id may live. If one id had two lifetimes, a cookie
/// could outlive the mark and load the session after a logout.
#[tokio::test]
async fn every_lifetime_has_its_own_id_so_that_no_mark_is_too_short() {
    const MONTH: Duration = Duration::from_secs(30 * 86_400);
    let (revoked, cookies, store) = with_cookies(config());
    let (mut old_cookie, _) = stored(&store).await;
    let change: [fn(&Session); 3] = [
        |session| session.set_lifetime(MONTH).unwrap(),
        |session| session.set_lifetime(HOUR).unwrap(),
        Session::reset_lifetime,
    ];
    for change in change {
        let longest = cookies.expires_at(&old_cookie);
        let (session, elsewhere) =
            (load(&store, &old_cookie).await, load(&store, &old_cookie).await);
        change(&session);
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        let new_cookie = cookie(&store, &session);
        assert_ne!(cookies.key(&old_cookie), cookies.key(&new_cookie));
        assert!(store.load(&old_cookie).await.unwrap().is_none(), "the old id is revoked");
        assert!(marked_until(&revoked, cookies.key(&old_cookie)).await >= longest);
        increment(&elsewhere);
        assert_gone(&store, &elsewhere).await;
        old_cookie = new_cookie;
    }
    let longest = cookies.expires_at(&old_cookie);
    store.destroy(&load(&store, &old_cookie).await).await.unwrap();
    assert!(marked_until(&revoked, cookies.key(&old_cookie)).await >= longest);
}

/// If the life began after the load of the mark, a slow revocation store would let the cookie
/// outlive the mark of a logout.
#[tokio::test]
async fn a_life_begins_before_the_load_of_the_revocation_mark() {
    let config = config().lifetime(None).idle_timeout(HOUR).renew_after(0.0);
    for regenerate in [false, true] {
        let (revoked, cookies, store) = with_cookies(config.clone());
        let (_, session) = stored(&store).await;
        tokio::time::sleep(Duration::from_millis(10)).await;
        session.extend();
        if regenerate {
            session.regenerate();
        }
        let begins = SystemTime::now();
        revoked.after("load", 1, tokio::time::sleep(Duration::from_millis(200)));
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        let life = cookies.expires_at(&cookie(&store, &session)).duration_since(begins).unwrap();
        assert!(life > HOUR - Duration::from_millis(5), "it was renewed: {life:?}");
        assert!(life < HOUR + Duration::from_millis(100), "{life:?}");
    }
}

#[tokio::test]
async fn an_old_mark_that_expires_while_it_is_loaded_does_not_undo_a_logout() {
    const MOMENT: Duration = Duration::from_millis(30);
    // After the create found the existing mark, or after the load that follows.
    for call in ["save", "load"] {
        let (revoked, cookies, store) = with_cookies(config());
        let (old_cookie, session) = stored(&store).await;
        let key = cookies.key(&old_cookie);
        let mark = Record { payload: Bytes::new(), revision: Revision::from_u64(1), owner: None };
        revoked.save(&key, &mark, Write::Create { ttl: MOMENT }).await.unwrap();
        revoked.after(call, 1, tokio::time::sleep(MOMENT * 2));
        store.destroy(&session).await.unwrap();
        assert!(store.load(&old_cookie).await.unwrap().is_none(), "{call}");
        assert!(marked_until(&revoked, key).await >= cookies.expires_at(&old_cookie));
    }
}

#[tokio::test]
async fn a_logout_that_failed_is_tried_again() {
    let (revoked, store) = with_revocation(config());
    let (old_cookie, session) = stored(&store).await;
    for fault in [Fault::LoseRequest, Fault::LoseAnswer] {
        revoked.fail(&[fault]);
        assert_eq!(store.destroy(&session).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
    }
    // Its own mark exists already.
    assert_eq!(store.save(&session).await.unwrap(), Saved::Removed);
    assert_eq!(store.web().cookie_change(&session), CookieChange::Remove);
    assert!(store.load(&old_cookie).await.unwrap().is_none());
}
