//! Writes that the store refuses, writes whose outcome is not known, and what each of them costs.

use std::sync::atomic::Ordering;

use crate::faulty::{Fault, Fault::*};
use crate::support::{cookie, increment, load, n, request, store, stored};
use session_core::{ErrorKind, Owner, Saved, Session};

type Change = fn(&Session);

const CHANGES: [(&str, Change); 3] = [
    ("update", increment),
    ("regenerate", Session::regenerate),
    ("sign in", |session| session.sign_in(Owner::new("alice").unwrap())),
];

#[tokio::test]
async fn a_refused_save_costs_two_writes_and_no_load() {
    for (name, change) in CHANGES {
        let (backend, store) = store();
        let (old, session) = stored(&store).await;
        change(&session);
        backend.fail(&[Refuse, Refuse]);
        backend.take_calls();
        let error = store.save(&session).await.unwrap_err();
        assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Unavailable, true));
        assert_eq!(backend.take_calls(), ["save", "save"], "{name}");
        assert_eq!((backend.len(), n(&store, &old).await), (1, 0), "{name}");
        // The write is not in doubt: the next save costs the same.
        assert!(session.changed());
        backend.take_calls();
        store.save(&session).await.unwrap();
        assert!(!backend.take_calls().contains(&"load"), "{name}");
        assert_eq!(backend.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_refused_create_costs_two_writes_and_no_load() {
    let (backend, store) = store();
    let session = store.create();
    increment(&session);
    backend.fail(&[Refuse, Refuse]);
    assert!(store.save(&session).await.unwrap_err().nothing_was_written());
    assert_eq!(backend.take_calls(), ["save", "save"]);
    assert!(store.cookie_value(&session).is_none());
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_eq!(backend.take_calls(), ["save"]);
    assert_eq!(backend.len(), 1);
}

#[tokio::test]
async fn a_write_that_is_refused_once_costs_two_writes() {
    for (name, change) in CHANGES {
        let (backend, store) = store();
        let (_, session) = stored(&store).await;
        change(&session);
        backend.fail(&[Refuse]);
        backend.take_calls();
        store.save(&session).await.unwrap();
        let expected: &[_] = if name == "update" { &["save"; 2] } else { &["save"; 3] };
        assert_eq!(backend.take_calls(), expected, "{name}");
    }
}

#[tokio::test]
async fn an_unknown_outcome_costs_a_load_and_a_later_refusal_is_in_doubt() {
    for (faults, calls) in [
        (&[LoseAnswer][..], &["save", "load"][..]),
        (&[LoseRequest], &["save", "load", "save"]),
        (&[Refuse, LoseAnswer], &["save", "save", "load"]),
        (&[Refuse, LoseRequest], &["save", "save", "load", "save"]),
    ] {
        let (backend, store) = store();
        let (cookie, session) = stored(&store).await;
        increment(&session);
        backend.fail(faults);
        backend.take_calls();
        assert_eq!(store.save(&session).await.unwrap(), Saved::Updated, "{faults:?}");
        assert_eq!(backend.take_calls(), calls, "{faults:?}");
        assert_eq!(n(&store, &cookie).await, 1, "{faults:?}");
    }
}

#[tokio::test]
async fn a_refusal_of_a_write_in_doubt_does_not_say_that_nothing_was_written() {
    for fault in [LoseRequest, Late] {
        let (backend, store) = store();
        let (cookie, session) = stored(&store).await;
        increment(&session);
        backend.fail(&[fault, Refuse, Refuse]);
        let error = store.save(&session).await.unwrap_err();
        assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Unavailable, false));
        // The same holds for later saves while the store refuses everything.
        for _ in 0..2 {
            backend.fail(&[Refuse, Refuse]);
            backend.take_calls();
            let error = store.save(&session).await.unwrap_err();
            assert!(!error.nothing_was_written());
            assert_eq!(backend.take_calls(), ["load", "save", "save"]);
        }
        if fault == Late {
            assert!(backend.arrive());
        }
        assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
        assert_eq!(n(&store, &cookie).await, 1);
    }
}

#[tokio::test]
async fn a_store_that_refuses_the_load_leaves_the_write_in_doubt() {
    for (name, change) in CHANGES {
        let (backend, store) = store();
        let (_, session) = stored(&store).await;
        increment(&session);
        change(&session);
        backend.fail(&[LoseAnswer]);
        backend.refused_loads.store(2, Ordering::SeqCst);
        for _ in 0..2 {
            let error = store.save(&session).await.unwrap_err();
            assert!(!error.nothing_was_written(), "{name}");
        }
        store.save(&session).await.unwrap();
        let expected = if name == "update" { 2 } else { 1 };
        assert_eq!(n(&store, &cookie(&store, &session)).await, expected, "{name}");
        assert_eq!(backend.len(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_save_that_completed_an_earlier_write_does_not_say_that_nothing_was_written() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    backend.fail(&[LoseRequest]);
    backend.failing_loads.store(1, Ordering::SeqCst);
    store.save(&session).await.unwrap_err();
    increment(&session);
    // The first write is carried out now, the second one is refused.
    backend.fail(&[None, Refuse, Refuse]);
    let error = store.save(&session).await.unwrap_err();
    assert_eq!(n(&store, &cookie).await, 1);
    assert!(!error.nothing_was_written());
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 2);
}

#[tokio::test]
async fn a_destroy_that_is_refused_is_not_in_doubt() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    backend.fail(&[Refuse]);
    let error = store.destroy(&session).await.unwrap_err();
    assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Unavailable, true));
    assert_eq!(n(&store, &cookie).await, 0);
    store.destroy(&session).await.unwrap();
    assert_eq!(backend.len(), 0);
}

#[tokio::test]
async fn a_refused_write_after_a_destruction_does_not_say_that_nothing_was_written() {
    let (backend, store) = store();
    let (_, session) = stored(&store).await;
    session.destroy();
    increment(&session);
    backend.fail(&[None, Refuse, Refuse]);
    assert!(!store.save(&session).await.unwrap_err().nothing_was_written());
    assert_eq!(backend.len(), 0);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
}

#[tokio::test]
async fn a_write_that_stays_in_doubt_is_reported_once_and_given_up() {
    for (fault, expected) in [(LoseAnswer, 2), (LoseRequest, 1)] {
        let (backend, store) = store();
        let (cookie, session) = stored(&store).await;
        increment(&session);
        backend.fail(&[fault]);
        backend.failing_loads.store(1, Ordering::SeqCst);
        store.save(&session).await.unwrap_err();
        request(&store, &cookie, increment).await;
        session.insert("later", 1).unwrap();
        let error = store.save(&session).await.unwrap_err();
        assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Unavailable, false));
        assert_eq!(n(&store, &cookie).await, expected, "{fault:?}");
        // Changes after the write in doubt are not given up, and later saves work as usual.
        assert!(session.changed());
        assert_eq!(session.get::<u32>("n").unwrap(), Some(expected));
        backend.take_calls();
        assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
        assert_eq!(backend.take_calls(), ["save"]);
        assert_eq!(load(&store, &cookie).await.get::<u32>("later").unwrap(), Some(1));
        for number in 1..=3 {
            increment(&session);
            assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
            assert_eq!(n(&store, &cookie).await, expected + number);
        }
    }
}

#[tokio::test]
async fn a_write_in_doubt_that_others_overwrote_and_rotated_is_reported_once_and_given_up() {
    let (backend, store) = store();
    let (old, session) = stored(&store).await;
    increment(&session);
    backend.fail(&[LoseAnswer]);
    backend.failing_loads.store(1, Ordering::SeqCst);
    store.save(&session).await.unwrap_err();
    request(&store, &old, increment).await;
    request(&store, &old, Session::regenerate).await;
    let error = store.save(&session).await.unwrap_err();
    assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Unavailable, false));
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert!(store.cookie_value(&session).is_none());
    session.sign_in(Owner::new("alice").unwrap());
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
}

#[tokio::test]
async fn other_errors_that_wrote_nothing_are_passed_on_without_a_second_write() {
    let (backend, store) = store();
    let (_, session) = stored(&store).await;
    for fault in [Fault::TooLarge, Fault::Misconfigured] {
        increment(&session);
        backend.fail(&[fault]);
        backend.take_calls();
        let error = store.save(&session).await.unwrap_err();
        assert!(error.nothing_was_written());
        assert_eq!(backend.take_calls(), ["save"], "{fault:?}");
    }
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie(&store, &session)).await, 2);
}

#[tokio::test]
async fn a_write_that_a_driver_sent_twice_is_applied_once_although_the_load_fails() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    backend.fail(&[SentTwice]);
    backend.failing_loads.store(1, Ordering::SeqCst);
    store.save(&session).await.unwrap_err();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 1);
}
