//! Events during a call of a save: a conflict, another change of the session, a dropped future, a
//! write that arrives late.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use crate::faulty::Fault;
use crate::support::{
    cause_conflict, cookie, increment, load, n, request, store, stored, with_config,
};
use session_core::{Config, ErrorKind, Saved};

#[tokio::test]
async fn a_save_during_a_conflict_is_written_together_with_the_other() {
    let (backend, store) = store();
    let (cookie, first) = stored(&store).await;
    let third = load(&store, &cookie).await;
    cause_conflict(&store, &cookie).await;
    for session in [&first, &third] {
        increment(session);
    }
    backend.take_calls();
    let (late, waiting) = (store.clone(), third.clone());
    let (arrived, arrival) = tokio::sync::oneshot::channel();
    backend.before("load", 1, async move {
        let save = tokio::spawn(async move { late.save(&waiting).await });
        // Long enough for the save to proceed as far as it can.
        tokio::time::sleep(Duration::from_millis(50)).await;
        arrived.send(save).unwrap();
    });
    assert_eq!(store.save(&first).await.unwrap(), Saved::Updated);
    assert_eq!(arrival.await.unwrap().await.unwrap().unwrap(), Saved::Updated);
    assert_eq!(backend.take_calls(), ["save", "load", "save"], "one write for both");
    assert_eq!(n(&store, &cookie).await, 3);
}

#[tokio::test]
async fn a_save_without_a_conflict_does_not_wait_for_saves_that_hang() {
    let (backend, store) = with_config(Config::default());
    let (cookie, stuck) = stored(&store).await;
    cause_conflict(&store, &cookie).await;
    let session = load(&store, &cookie).await;
    for session in [&stuck, &session] {
        increment(session);
    }
    let (begun, beginning) = tokio::sync::oneshot::channel();
    backend.before("load", 1, async move {
        begun.send(()).unwrap();
        tokio::time::sleep(Duration::from_secs(2)).await;
    });
    let stuck_save = tokio::spawn({
        let store = store.clone();
        async move { store.save(&stuck).await }
    });
    beginning.await.unwrap();
    let saved = tokio::time::timeout(Duration::from_secs(1), store.save(&session)).await;
    assert_eq!(saved.unwrap().unwrap(), Saved::Updated);
    assert_eq!(stuck_save.await.unwrap().unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 3);
}

#[tokio::test]
async fn a_save_between_the_steps_of_a_rotation_is_not_lost() {
    let (backend, store) = store();
    let (old_cookie, session) = stored(&store).await;
    let elsewhere = load(&store, &old_cookie).await;
    increment(&elsewhere);
    increment(&session);
    session.regenerate();
    let same_store = store.clone();
    backend.after("save", 1, async move {
        assert_eq!(same_store.save(&elsewhere).await.unwrap(), Saved::Updated);
    });
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_eq!(n(&store, &cookie(&store, &session)).await, 2);
    assert!(store.load(&old_cookie).await.unwrap().is_none());
    assert_eq!(backend.len(), 1);
}

#[tokio::test]
async fn a_session_whose_reload_failed_after_a_conflict_can_be_saved_again() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    cause_conflict(&store, &cookie).await;
    backend.failing_loads.store(1, Ordering::SeqCst);
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 2);
}

#[tokio::test]
async fn a_session_whose_save_was_dropped_after_a_conflict_can_be_saved_again() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    cause_conflict(&store, &cookie).await;
    backend.before("load", 1, std::future::pending());
    tokio::time::timeout(Duration::from_millis(50), store.save(&session)).await.unwrap_err();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 2);
}

#[tokio::test]
async fn a_rebase_that_fails_installs_nothing_so_the_next_save_overwrites_nothing() {
    let (_, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    session.update("small", |small: Option<u8>| small.unwrap_or(0)).unwrap();
    request(&store, &cookie, |other| {
        other.insert("n", 10).unwrap();
        other.insert("small", 1000).unwrap();
    })
    .await;
    for _ in 0..2 {
        assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::InvalidValue);
        let seen = load(&store, &cookie).await;
        assert_eq!(seen.get::<u32>("small").unwrap(), Some(1000));
        assert_eq!(seen.get::<u32>("n").unwrap(), Some(10));
    }
    // An inserted value does not depend on the stored one.
    session.insert("small", 1).unwrap();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 11);
}

#[tokio::test]
async fn an_update_that_panics_during_a_rebase_overwrites_nothing() {
    let (_, store) = store();
    let (cookie, session) = stored(&store).await;
    let below_five = |n: Option<u32>| {
        let n = n.unwrap_or(0);
        assert!(n < 5, "this panic is part of the test");
        n + 1
    };
    session.update("n", below_five).unwrap();
    request(&store, &cookie, |other| other.insert("n", 10).unwrap()).await;
    for _ in 0..2 {
        let (store, session) = (store.clone(), session.clone());
        let saving = tokio::spawn(async move { store.save(&session).await });
        assert!(saving.await.unwrap_err().is_panic());
    }
    assert_eq!(n(&store, &cookie).await, 10);
    session.discard_changes();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
}

#[tokio::test]
async fn an_update_after_an_insert_in_flight_is_rebased_onto_the_writes_of_others() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    session.insert("n", 5).unwrap();
    let same = session.clone();
    backend.before("save", 1, async move { increment(&same) });
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 5);
    cause_conflict(&store, &cookie).await;
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 7);
}

#[tokio::test]
async fn an_update_made_during_a_rebase_is_kept() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    cause_conflict(&store, &cookie).await;
    let same = session.clone();
    backend.after("load", 1, async move { increment(&same) });
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 3);
}

#[tokio::test]
async fn an_update_made_while_a_rebase_applies_others_is_kept() {
    let (_, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    let (inner, calls) = (session.clone(), AtomicUsize::new(0));
    let busy = move |_: Option<u32>| {
        // The first call is by `update` itself, the second by the rebase, and a third follows.
        if calls.fetch_add(1, Ordering::SeqCst) == 1 {
            increment(&inner);
        }
        0
    };
    session.update("busy", busy).unwrap();
    cause_conflict(&store, &cookie).await;
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 3);
}

#[tokio::test]
async fn an_update_may_change_other_values_of_its_session_and_not_its_own() {
    let (_, store) = store();
    let (_, session) = stored(&store).await;
    let inner = session.clone();
    let outcome = session.update("n", move |n: Option<u32>| {
        inner.insert("last", "increment").unwrap();
        n.unwrap_or(0) + 1
    });
    assert_eq!(outcome.unwrap(), 1);
    assert_eq!(session.get::<String>("last").unwrap().unwrap(), "increment");
    let inner = session.clone();
    let endless = session.update("n", move |n: Option<u32>| {
        inner.insert("n", n.unwrap_or(0) + 1).unwrap();
        0
    });
    assert_eq!(endless.unwrap_err().kind(), ErrorKind::InvalidValue);
}

#[tokio::test]
async fn a_write_that_arrives_after_the_load_is_applied_once() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    backend.fail(&[Fault::Late]);
    let network = backend.clone();
    backend.after("load", 1, async move { assert!(network.arrive()) });
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 1);
}

#[tokio::test]
async fn a_create_that_arrives_late_has_an_unused_id() {
    let (backend, store) = store();
    let session = store.create();
    increment(&session);
    backend.fail(&[Fault::Late]);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    let cookie = cookie(&store, &session);
    assert_eq!(n(&store, &cookie).await, 1);
    store.destroy(&session).await.unwrap();
    assert!(backend.arrive(), "the first copy of the request had another id");
    assert!(store.load(&cookie).await.unwrap().is_none(), "signed in again after a logout");
}

#[tokio::test]
async fn a_write_that_a_driver_sent_twice_is_applied_once() {
    let (backend, store) = store();
    let session = store.create();
    increment(&session);
    backend.fail(&[Fault::SentTwice]);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    increment(&session);
    backend.fail(&[Fault::SentTwice]);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie(&store, &session)).await, 2);
    assert_eq!(backend.len(), 1);
}

#[tokio::test]
async fn a_tombstone_that_arrives_after_the_load_is_found() {
    let (backend, store) = store();
    let (old_cookie, session) = stored(&store).await;
    increment(&session);
    session.regenerate();
    backend.fail(&[Fault::None, Fault::Late]);
    let network = backend.clone();
    backend.after("load", 1, async move { assert!(network.arrive()) });
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_eq!(n(&store, &cookie(&store, &session)).await, 1);
    assert!(store.load(&old_cookie).await.unwrap().is_none());
    assert_eq!(backend.len(), 1);
}

#[tokio::test]
async fn the_cookie_after_a_rotation_in_doubt_and_a_discard_loads() {
    for (faults, saved) in [
        (&[Fault::LoseAnswer][..], Saved::Unchanged),
        (&[Fault::LoseRequest], Saved::Unchanged),
        (&[Fault::None, Fault::LoseAnswer], Saved::Issued),
        (&[Fault::None, Fault::LoseRequest], Saved::Unchanged),
    ] {
        let (backend, store) = store();
        let (_, session) = stored(&store).await;
        session.regenerate();
        backend.fail(faults);
        backend.failing_loads.store(1, Ordering::SeqCst);
        store.save(&session).await.unwrap_err();
        session.discard_changes();
        assert_eq!(store.save(&session).await.unwrap(), saved, "{faults:?}");
        assert_eq!(n(&store, &cookie(&store, &session)).await, 0);
        assert_eq!(backend.len(), 1, "{faults:?}");
    }
}

#[tokio::test]
async fn a_rotation_that_a_driver_sent_twice_is_carried_out() {
    let (backend, store) = store();
    let (_, session) = stored(&store).await;
    session.regenerate();
    backend.fail(&[Fault::SentTwice]);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
}
