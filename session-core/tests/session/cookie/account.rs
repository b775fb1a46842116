//! The end of all sessions of an account whose sessions are in cookies.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime};

use super::assert_gone;
use super::sealing::{LEEWAY, with_cookies, with_leeway, without_revocation};
use crate::faulty::Fault;
use crate::owned::{alice, signed_in};
use crate::support::{config, cookie, load, stored};
use session_core::{Config, ErrorKind, MAX_TTL, Owner, OwnerLimit};

#[tokio::test]
async fn an_owner_costs_a_load_more_and_the_end_of_its_sessions_one_write() {
    let (revoked, _, store) = with_cookies(config());
    let (anonymous, session) = stored(&store).await;
    assert_eq!(revoked.take_calls(), ["load"], "the mark of the id");
    session.insert("n", 1).unwrap();
    store.save(&session).await.unwrap();
    assert_eq!(revoked.take_calls(), ["load"]);
    let (old, session) = signed_in(&store).await;
    assert_eq!(revoked.take_calls(), ["load"], "the mark of the account");
    let elsewhere = load(&store, &old).await;
    assert_eq!(revoked.take_calls(), ["load", "load"]);
    session.insert("n", 1).unwrap();
    store.save(&session).await.unwrap();
    assert_eq!(revoked.take_calls(), ["load", "load"]);
    assert_eq!(store.destroy_all(&alice()).await.unwrap(), 0);
    assert_eq!(revoked.take_calls(), ["save"]);
    assert!(revoked.expiry() > std::time::Instant::now() + MAX_TTL / 2);
    assert!(store.load(&old).await.unwrap().is_none());
    elsewhere.insert("n", 2).unwrap();
    assert_gone(&store, &elsewhere).await;
    load(&store, &anonymous).await;
    revoked.take_calls();
    store.destroy_all(&alice()).await.unwrap();
    assert_eq!(revoked.take_calls(), ["save", "load", "save"], "there is a mark already");
}

/// The clock of the server that issues a session may be ahead, so the mark is ahead, too. A sign-in
/// must work all the same, and must end with the next mark.
#[tokio::test]
async fn a_sign_in_is_later_than_the_mark_and_the_next_mark_is_later_than_it() {
    let (_, _, store) = with_cookies(config());
    for _ in 0..3 {
        store.destroy_all(&alice()).await.unwrap();
        let now = SystemTime::now();
        let (value, session) = signed_in(&store).await;
        load(&store, &value).await;
        let ahead = session.created_at().duration_since(now).unwrap();
        assert!(ahead > LEEWAY / 2 && ahead < LEEWAY * 2, "{ahead:?}");
        store.destroy_all(&alice()).await.unwrap();
        assert!(store.load(&value).await.unwrap().is_none());
        // The owner of a session that is new needs no sign-in.
        let session = store.create();
        session.set_owner(Some(alice()));
        store.save(&session).await.unwrap();
        load(&store, &cookie(&store, &session)).await;
    }
}

#[tokio::test]
async fn what_began_before_the_mark_is_gone_also_with_the_owner_set_afterwards_or_removed() {
    let (_, _, store) = with_leeway(Duration::ZERO, config());
    let (_, anonymous) = stored(&store).await;
    let (_, removes) = signed_in(&store).await;
    let (_, moves) = signed_in(&store).await;
    let (_, begins_again) = signed_in(&store).await;
    store.destroy_all(&alice()).await.unwrap();
    tokio::time::sleep(Duration::from_millis(3)).await;
    anonymous.set_owner(Some(alice()));
    removes.set_owner(None);
    moves.sign_in(Owner::new("bob").unwrap());
    begins_again.reset_lifetime();
    for session in [anonymous, removes, moves, begins_again] {
        assert_gone(&store, &session).await;
    }
}

/// The mark arrives after the sign-in was planned: it is planned again, and is later.
#[tokio::test]
async fn a_mark_during_a_sign_in_does_not_end_it_for_good() {
    let (revoked, _, store) = with_cookies(config());
    let (_, session) = stored(&store).await;
    let same = store.clone();
    revoked.before("load", 2, async move {
        same.destroy_all(&alice()).await.unwrap();
    });
    session.sign_in(alice());
    store.save(&session).await.unwrap();
    load(&store, &cookie(&store, &session)).await;
}

#[tokio::test]
async fn an_outage_of_the_revocation_store_is_no_end_and_no_session() {
    let (revoked, _, store) = with_cookies(config());
    let (value, _) = signed_in(&store).await;
    revoked.fail(&[Fault::Refuse]);
    let error = store.destroy_all(&alice()).await.unwrap_err();
    assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Unavailable, true));
    load(&store, &value).await;
    revoked.fail(&[Fault::LoseAnswer]);
    let error = store.destroy_all(&alice()).await.unwrap_err();
    assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Unavailable, false));
    revoked.take_calls();
    assert!(store.load(&value).await.unwrap().is_none());
    // The mark of the id, then that of the account.
    for nth in [1, 2] {
        let same = Arc::clone(&revoked);
        let fails = async move { same.failing_loads.store(1, Ordering::SeqCst) };
        revoked.before("load", nth, fails);
        assert_eq!(store.load(&value).await.unwrap_err().kind(), ErrorKind::Unavailable);
    }
}

#[tokio::test]
async fn what_needs_a_list_is_unsupported() {
    let (_, _, store) = with_cookies(config());
    let (_, session) = signed_in(&store).await;
    let unsupported = Some(ErrorKind::Unsupported);
    let kind = |error: session_core::Error| error.kind();
    assert_eq!(store.sessions_of(&alice()).await.err().map(kind), unsupported);
    assert_eq!(store.destroy_others(&session).await.err().map(kind), unsupported);
    assert_eq!(without_revocation().destroy_all(&alice()).await.err().map(kind), unsupported);
    let limited = store.with_config(Config::default().owner_limit(OwnerLimit::Refuse(1)));
    assert_eq!(limited.err().map(kind), Some(ErrorKind::InvalidConfig));
}

/// No sign-in is later than this mark, so a save would be planned again without an end.
#[tokio::test]
async fn a_sign_in_that_the_mark_always_ends_fails() {
    let (revoked, _, store) = with_cookies(config());
    store.destroy_all(&alice()).await.unwrap();
    revoked.overwrite(br#"{"v":1,"ended":18446744073709551615}"#);
    let session = store.create();
    session.sign_in(alice());
    let error = store.save(&session).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error}");
}
