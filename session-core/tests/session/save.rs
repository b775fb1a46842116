//! The save algorithm: failing writes, lost answers and concurrent requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::faulty::Fault;
use crate::support::{config, increment, n, store, stored, with_config};
use session_core::{ErrorKind, Saved, Session};

/// Otherwise a task that saves in a loop would occupy its worker for ever.
#[tokio::test]
async fn a_task_that_saves_in_a_loop_yields() {
    let (_, store) = store();
    let (_, session) = stored(&store).await;
    let ended = Arc::new(AtomicBool::new(false));
    let of_task = Arc::clone(&ended);
    let task = tokio::spawn(async move {
        for _ in 0..10_000 {
            assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
        }
        of_task.store(true, Ordering::SeqCst);
    });
    tokio::task::yield_now().await;
    assert!(!ended.load(Ordering::SeqCst), "10,000 saves in one poll of the task");
    task.await.unwrap();
}

#[tokio::test]
async fn an_update_whose_answer_was_lost_is_applied_once() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    backend.fail(&[Fault::LoseAnswer]);
    backend.take_calls();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(backend.take_calls(), ["save", "load"]);
    assert_eq!(n(&store, &cookie).await, 1);
    assert!(!session.changed());
}

#[tokio::test]
async fn an_update_whose_request_was_lost_is_sent_again() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    backend.fail(&[Fault::LoseRequest]);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 1);
}

#[tokio::test]
async fn a_write_that_hangs_is_found_out_within_the_deadline() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    backend.fail(&[Fault::Hang]);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 1);
}

#[tokio::test]
async fn the_next_save_resolves_a_write_when_the_load_failed_too() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        let (backend, store) = store();
        let (cookie, session) = stored(&store).await;
        increment(&session);
        backend.fail(&[fault]);
        backend.failing_loads.store(1, Ordering::SeqCst);
        let error = store.save(&session).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(session.changed());
        increment(&session);
        assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
        assert_eq!(n(&store, &cookie).await, 2, "after {fault:?}");
        assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    }
}

#[tokio::test]
async fn a_write_in_doubt_that_others_overwrote_is_never_applied_twice() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    let other = store.load(&cookie).await.unwrap().unwrap();
    increment(&session);
    backend.fail(&[Fault::LoseAnswer]);
    backend.failing_loads.store(1, Ordering::SeqCst);
    store.save(&session).await.unwrap_err();
    increment(&other);
    assert_eq!(store.save(&other).await.unwrap(), Saved::Updated);
    let error = store.save(&session).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!error.nothing_was_written());
    assert_eq!(n(&store, &cookie).await, 2);
    // The error was reported once. The session is now based on the stored record.
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert_eq!(session.get::<u32>("n").unwrap(), Some(2));
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 3);
}

#[tokio::test]
async fn a_create_whose_answer_was_lost_is_one_session() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest, Fault::Hang] {
        let (backend, store) = store();
        let session = store.create();
        increment(&session);
        backend.fail(&[fault]);
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        assert_eq!(backend.len(), 1);
        let cookie = store.cookie_value(&session).unwrap();
        assert_eq!(n(&store, cookie.as_str()).await, 1);
    }
}

#[tokio::test]
async fn a_rotation_whose_answers_were_lost_leaves_one_session() {
    use Fault::{Hang, LoseAnswer, LoseRequest, None, Refuse, SentTwice};
    // The first write creates the new record, the second is the tombstone.
    for faults in [
        &[LoseAnswer][..],
        &[LoseRequest],
        &[Hang],
        &[SentTwice],
        &[Refuse],
        &[None, LoseAnswer],
        &[None, LoseRequest],
        &[None, Hang],
        &[None, SentTwice],
        &[None, Refuse],
        &[LoseAnswer, LoseAnswer],
        &[LoseRequest, LoseRequest, None, LoseRequest],
    ] {
        let (backend, store) = store();
        let (old, session) = stored(&store).await;
        increment(&session);
        session.regenerate();
        backend.fail(faults);
        let saved = store.save(&session).await;
        assert!(matches!(saved, Ok(Saved::Issued)), "{faults:?}: {saved:?}");
        let new = store.cookie_value(&session).unwrap();
        assert_ne!(new.as_str(), old);
        assert_eq!(n(&store, new.as_str()).await, 1);
        assert!(store.load(&old).await.unwrap().is_none());
        assert_eq!((backend.len(), backend.tombstones()), (1, 1), "{faults:?}");
    }
}

#[tokio::test]
async fn a_dropped_save_is_resolved_by_the_next_save() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    backend.fail(&[Fault::Hang]);
    tokio::time::timeout(Duration::from_millis(50), store.save(&session)).await.unwrap_err();
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 2);
}

#[tokio::test]
async fn a_change_during_a_save_is_part_of_the_next_save() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    session.insert("a", "first").unwrap();
    backend.fail(&[Fault::Hang]);
    let saving = {
        let (store, session) = (store.clone(), session.clone());
        tokio::spawn(async move { store.save(&session).await })
    };
    tokio::time::sleep(Duration::from_millis(50)).await;
    increment(&session);
    session.insert("a", "second").unwrap();
    session.flash().message("info", "late");
    assert_eq!(saving.await.unwrap().unwrap(), Saved::Updated);
    let seen = store.load(&cookie).await.unwrap().unwrap();
    assert_eq!(seen.get::<String>("a").unwrap().unwrap(), "first");
    assert!(seen.flash().peek_messages().is_empty());
    assert!(session.changed());
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    let seen = store.load(&cookie).await.unwrap().unwrap();
    assert_eq!(seen.get::<String>("a").unwrap().unwrap(), "second");
    assert_eq!(seen.get::<u32>("n").unwrap(), Some(2));
    assert_eq!(seen.flash().peek_messages().len(), 1);
}

#[tokio::test]
async fn a_session_destroyed_during_its_save_stays_destroyed() {
    for regenerate in [false, true] {
        let (backend, store) = store();
        let (cookie, session) = stored(&store).await;
        increment(&session);
        if regenerate {
            session.regenerate();
        }
        backend.fail(&[Fault::Hang]);
        let saving = {
            let (store, session) = (store.clone(), session.clone());
            tokio::spawn(async move { store.save(&session).await })
        };
        tokio::time::sleep(Duration::from_millis(50)).await;
        session.destroy();
        assert_eq!(saving.await.unwrap().unwrap(), Saved::Removed);
        assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
        assert!(store.cookie_value(&session).is_none());
        assert!(store.load(&cookie).await.unwrap().is_none());
        assert_eq!(backend.len(), 0, "regenerate: {regenerate}");
    }
}

#[tokio::test]
async fn a_destroy_that_failed_is_tried_again() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    backend.fail(&[Fault::LoseRequest]);
    assert_eq!(store.destroy(&session).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(session.changed());
    assert_eq!(store.save(&session).await.unwrap(), Saved::Removed);
    assert!(store.load(&cookie).await.unwrap().is_none());
}

#[tokio::test]
async fn a_value_that_is_inserted_after_a_destroy_gets_a_new_id() {
    let (_, store) = store();
    let (cookie, session) = stored(&store).await;
    session.destroy();
    assert!(!session.contains("n"));
    session.insert("fresh", 1).unwrap();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert!(store.load(&cookie).await.unwrap().is_none());
    let new = store.cookie_value(&session).unwrap();
    assert_ne!(new.as_str(), cookie);
    let seen = store.load(new.as_str()).await.unwrap().unwrap();
    assert_eq!(seen.keys(), ["fresh"]);
}

#[tokio::test]
async fn discarded_changes_are_gone_and_a_destroy_is_not() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    session.regenerate();
    session.discard_changes();
    backend.take_calls();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert!(backend.take_calls().is_empty());
    session.destroy();
    session.insert("after", 1).unwrap();
    session.discard_changes();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Removed);
    assert!(store.load(&cookie).await.unwrap().is_none());
    assert_eq!(backend.len(), 0);
}

#[tokio::test]
async fn an_update_that_fails_on_the_rebased_value_is_an_error_and_writes_nothing() {
    let (_, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    let other = store.load(&cookie).await.unwrap().unwrap();
    other.insert("n", "text").unwrap();
    assert_eq!(store.save(&other).await.unwrap(), Saved::Updated);
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::InvalidValue);
    let seen = store.load(&cookie).await.unwrap().unwrap();
    assert_eq!(seen.get::<String>("n").unwrap().unwrap(), "text");
}

#[tokio::test]
async fn an_update_may_use_its_own_session() {
    let (_, store) = store();
    let (_, session) = stored(&store).await;
    let inner = session.clone();
    let outcome =
        session.update("copy", move |_: Option<u32>| inner.get::<u32>("n").unwrap().unwrap() + 41);
    assert_eq!(outcome.unwrap(), 41);
}

#[tokio::test]
async fn a_failing_random_source_creates_no_session() {
    for source in [
        (|_: &mut [u8]| Err(std::io::Error::other("no entropy"))) as session_core::RandomSource,
        |_: &mut [u8]| Ok(()),
    ] {
        let (backend, store) = with_config(config().random_source(source));
        let session = store.create();
        increment(&session);
        assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Other);
        assert_eq!(backend.len(), 0);
        assert!(store.cookie_value(&session).is_none());
    }
}

#[tokio::test]
async fn a_corrupt_record_is_an_error_and_its_bytes_are_kept() {
    let (backend, store) = store();
    let id = session_core::SessionId::from_bytes([9; 32]);
    backend.put_raw(id.key(), b"{\"v\":1,\"data\":{\"secret-value");
    let error = store.load(&id.expose()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert!(!format!("{error:?}{error}").contains("secret"));
    assert_eq!(backend.len(), 1);
}

#[tokio::test]
async fn spawned_gc_survives_errors() {
    let (backend, store) = store();
    backend.failing_gcs.store(3, Ordering::SeqCst);
    let gc = store.spawn_gc(Duration::from_millis(2));
    while backend.gcs.load(Ordering::SeqCst) < 6 {
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
    gc.abort();
}

#[tokio::test]
async fn a_missing_global_store_is_an_error() {
    use session_core::global;
    assert_eq!(global::load("x").await.unwrap_err().kind(), ErrorKind::InvalidConfig);
    let (_, store) = store();
    global::cache_store(store);
    let session = Session::new();
    increment(&session);
    assert_eq!(global::save(&session).await.unwrap(), Saved::Issued);
    let cookie = global::cookie_value(&session).unwrap().unwrap();
    let seen = global::load(cookie.as_str()).await.unwrap().unwrap();
    assert_eq!(seen.get::<u32>("n").unwrap(), Some(1));
    global::destroy(&seen).await.unwrap();
    assert!(global::load(cookie.as_str()).await.unwrap().is_none());
    assert_eq!(global::gc().await.unwrap(), 0);
}
