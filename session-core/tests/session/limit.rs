//! The limit on the sessions of an account.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use session_core::{Config, ErrorKind, Owner, OwnerLimit, Result, Session, SessionStore};

use crate::faulty::{Fault, Faulty};
use crate::owned::{Indexed, alice, indexed, signed_in};
use crate::support::{config, cookie, load, stored};

fn limited(limit: OwnerLimit) -> (Arc<Faulty>, SessionStore) {
    let (backend, store) = indexed();
    (backend, store.with_config(config().owner_limit(limit)).unwrap())
}

async fn try_to_sign_in(store: &SessionStore) -> Result<String> {
    let session = store.create();
    session.sign_in(alice());
    store.save(&session).await?;
    Ok(cookie(store, &session))
}

async fn count(store: &SessionStore) -> usize {
    store.sessions_of(&alice()).await.unwrap().len()
}

/// So that the next sign-in is later.
async fn a_moment() {
    tokio::time::sleep(Duration::from_millis(2)).await;
}

#[tokio::test]
async fn the_oldest_ends_and_the_calls_are_those_of_the_sessions() {
    let (backend, store) = limited(OwnerLimit::EndOldest(2));
    let mut cookies = Vec::new();
    let mut costs: Vec<&[&str]> = Vec::new();
    // The session to end is loaded again, for its current revision.
    let three = ["save", "keys_of", "load", "load", "load", "load", "destroy", "forget"];
    costs.extend([&three[..3], &three[..4], &three]);
    for cost in costs {
        cookies.push(try_to_sign_in(&store).await.unwrap());
        assert_eq!(backend.take_calls(), cost);
        a_moment().await;
    }
    assert!(store.load(&cookies[0]).await.unwrap().is_none());
    let session = load(&store, &cookies[1]).await;
    load(&store, &cookies[2]).await;
    // Nothing else costs more.
    backend.take_calls();
    session.insert("n", 1).unwrap();
    store.save(&session).await.unwrap();
    session.regenerate();
    store.save(&session).await.unwrap();
    store.save(&session).await.unwrap();
    store.destroy(&session).await.unwrap();
    assert_eq!(backend.take_calls(), ["save", "save", "save", "destroy"]);
}

#[tokio::test]
async fn a_refused_sign_in_writes_nothing_and_waits() {
    let (backend, store) = limited(OwnerLimit::Refuse(1));
    let first = try_to_sign_in(&store).await.unwrap();
    assert_eq!(backend.take_calls(), ["keys_of", "save", "keys_of", "load"]);
    let (visitor, session) = stored(&store).await;
    backend.take_calls();
    session.sign_in(alice());
    for _ in 0..2 {
        let error = store.save(&session).await.unwrap_err();
        assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::TooManySessions, true));
        assert!(!error.to_string().contains("alice"));
        assert_eq!(backend.take_calls(), ["keys_of", "load"]);
    }
    assert!(load(&store, &visitor).await.owner().is_none(), "the visitor's session is as it was");
    store.destroy(&load(&store, &first).await).await.unwrap();
    store.save(&session).await.unwrap();
    assert_eq!(load(&store, &cookie(&store, &session)).await.owner(), Some(alice()));
}

/// A session counts once: before and after it signs in again, and while it is replaced.
#[tokio::test]
async fn the_own_session_is_not_another_one() {
    let (_, store) = limited(OwnerLimit::Refuse(1));
    let (_, session) = signed_in(&store).await;
    for _ in 0..3 {
        session.sign_in(alice());
        store.save(&session).await.unwrap();
    }
    session.destroy();
    session.sign_in(alice());
    store.save(&session).await.unwrap();
    assert_eq!(count(&store).await, 1);
    session.set_owner(Some(Owner::new("bob").unwrap()));
    store.save(&session).await.unwrap();
    try_to_sign_in(&store).await.unwrap();
    session.set_owner(Some(alice()));
    let error = store.save(&session).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooManySessions, "an owner counts however it is given");
}

/// Two sign-ins, each of which has seen no other before its write.
#[tokio::test]
async fn of_two_at_the_same_moment_one_is_refused() {
    for (before, call) in [(false, "keys_of"), (false, "save"), (true, "save")] {
        let (backend, store) = limited(OwnerLimit::Refuse(1));
        let same = store.clone();
        let (tells, hears) = tokio::sync::oneshot::channel();
        let other = async move {
            a_moment().await;
            drop(tells.send(try_to_sign_in(&same).await));
        };
        match before {
            true => backend.before(call, 1, other),
            false => backend.after(call, 1, other),
        }
        let one = try_to_sign_in(&store).await;
        let other = hears.await.unwrap();
        assert_eq!(count(&store).await, 1, "{before} {call}");
        let refused = [one, other].into_iter().filter_map(Result::err);
        let kinds: Vec<_> = refused.map(|error| error.kind()).collect();
        // The write of the first one was delayed: the other one had succeeded, and has lost.
        let expected: &[_] = if before { &[] } else { &[ErrorKind::TooManySessions] };
        assert_eq!(kinds, expected, "{before} {call}");
    }
}

/// The account's keys are read before the session gets its new id, and the sessions afterwards.
#[tokio::test]
async fn a_session_with_a_new_id_counts_and_a_new_sign_in_is_not_ended_for_it() {
    for signs_in in [false, true] {
        let (backend, store) = limited(OwnerLimit::EndOldest(1));
        let (_, session) = signed_in(&store).await;
        let (same, handle) = (store.clone(), session.clone());
        let work = async move {
            a_moment().await;
            match signs_in {
                true => handle.sign_in(alice()),
                false => handle.regenerate(),
            }
            same.save(&handle).await.unwrap();
        };
        match signs_in {
            // The sessions are read, and the oldest is about to end.
            true => backend.after("load", 2, work),
            false => backend.before("load", 1, work),
        }
        a_moment().await;
        let other = try_to_sign_in(&store).await;
        assert_eq!(count(&store).await, 1, "{signs_in}");
        let (old, new) = (store.cookie_value(&session), store.load(&other.unwrap()).await.unwrap());
        let old = store.load(&old.unwrap().into_string()).await.unwrap();
        assert_eq!((old.is_some(), new.is_some()), (signs_in, !signs_in));
    }
}

#[tokio::test]
async fn a_lost_answer_is_counted_by_the_next_save() {
    for limit in [OwnerLimit::Refuse(1), OwnerLimit::EndOldest(1)] {
        let (backend, store) = limited(limit);
        let session = store.create();
        session.sign_in(alice());
        backend.fail(&[Fault::LoseAnswer]);
        backend.failing_loads.store(1, Ordering::SeqCst);
        let error = store.save(&session).await.unwrap_err();
        assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Unavailable, false));
        backend.take_calls();
        store.save(&session).await.unwrap();
        assert_eq!(backend.take_calls(), ["load", "keys_of", "load"], "{limit:?}");
        assert_eq!(count(&store).await, 1);
    }
}

#[tokio::test]
async fn a_count_that_failed_is_repeated() {
    let (backend, store) = limited(OwnerLimit::EndOldest(1));
    let (old, _) = signed_in(&store).await;
    a_moment().await;
    let session: Session = store.create();
    session.sign_in(alice());
    backend.failing_loads.store(1, Ordering::SeqCst);
    let error = store.save(&session).await.unwrap_err();
    assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Unavailable, false));
    load(&store, &old).await;
    store.save(&session).await.unwrap();
    assert!(store.load(&old).await.unwrap().is_none());
}

#[test]
fn the_limit_needs_an_index_and_a_number() {
    let limit = |max| Config::default().owner_limit(OwnerLimit::EndOldest(max));
    let indexed = || SessionStore::new(Indexed(Arc::default()));
    indexed().with_config(limit(1)).unwrap();
    let error = indexed().with_config(limit(0)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    let error = SessionStore::new(Faulty::default()).with_config(limit(1)).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
}
