//! Flash entries are delivered once, and never lost unread.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use crate::faulty::{Fault, Faulty};
use crate::support::{config, cookie, increment, load, request, stored, with_config};
use session_core::{ErrorKind, FlashMode, Level, Saved, SessionStore};

fn store(mode: FlashMode) -> SessionStore {
    with_config(config().flash(mode)).1
}

async fn with_flash(store: &SessionStore) -> String {
    let session = store.create();
    session.flash().message(Level::Info, "one");
    session.flash().message("mine", "two");
    session.flash().message(Level::Info, "three");
    session.flash().insert("form", vec![1, 2]).unwrap();
    session.flash().insert("nothing", ()).unwrap();
    assert!(session.flash().peek_messages().is_empty(), "they are for a later request");
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    store.cookie_value(&session).unwrap().into_string()
}

fn texts(messages: &[session_core::Message]) -> Vec<&str> {
    messages.iter().map(|message| message.text.as_str()).collect()
}

#[tokio::test]
async fn entries_wait_until_they_are_read_and_are_read_once() {
    let store = store(FlashMode::UntilRead);
    let cookie = with_flash(&store).await;
    request(&store, &cookie, |session| {
        session.insert("other", 1).unwrap();
        assert_eq!(texts(&session.flash().peek_messages()), ["one", "two", "three"]);
        assert!(session.flash().contains("form"));
    })
    .await;
    request(&store, &cookie, |session| {
        assert_eq!(texts(&session.flash().take_level(&Level::Info)), ["one", "three"]);
        assert_eq!(texts(&session.flash().take_messages()), ["two"]);
        assert_eq!(session.flash().take::<Vec<u8>>("form").unwrap(), Some(vec![1, 2]));
        assert_eq!(session.flash().take::<()>("nothing").unwrap(), Some(()));
        assert_eq!(session.flash().take::<Vec<u8>>("form").unwrap(), None);
    })
    .await;
    request(&store, &cookie, |session| {
        assert!(session.flash().take_messages().is_empty());
        assert!(!session.flash().contains("form"));
    })
    .await;
}

#[tokio::test]
async fn a_value_of_another_type_is_not_taken() {
    let store = store(FlashMode::UntilRead);
    let cookie = with_flash(&store).await;
    request(&store, &cookie, |session| {
        session.flash().take::<String>("form").unwrap_err();
    })
    .await;
    request(&store, &cookie, |session| assert!(session.flash().contains("form"))).await;
}

#[tokio::test]
async fn an_entry_of_another_request_is_not_lost_and_not_shown_twice() {
    let store = store(FlashMode::UntilRead);
    let cookie = with_flash(&store).await;
    let reader = store.load(&cookie).await.unwrap().unwrap();
    assert_eq!(reader.flash().take_messages().len(), 3);
    request(&store, &cookie, |session| session.flash().message("info", "four")).await;
    assert_eq!(store.save(&reader).await.unwrap(), Saved::Updated);
    request(&store, &cookie, |session| {
        assert_eq!(texts(&session.flash().take_messages()), ["four"]);
    })
    .await;
}

#[tokio::test]
async fn kept_entries_are_delivered_again() {
    let store = store(FlashMode::UntilRead);
    let cookie = with_flash(&store).await;
    request(&store, &cookie, |session| {
        let _ = session.flash().take::<Vec<u8>>("form").unwrap();
        session.flash().keep("form");
        let _ = session.flash().take_messages();
    })
    .await;
    request(&store, &cookie, |session| {
        assert!(session.flash().contains("form"));
        assert!(session.flash().peek_messages().is_empty());
        let _ = session.flash().take::<Vec<u8>>("form").unwrap();
        session.flash().keep_all();
    })
    .await;
    request(&store, &cookie, |session| assert!(session.flash().contains("form"))).await;
}

#[tokio::test]
async fn an_insert_replaces_a_waiting_value_of_the_same_name() {
    let store = store(FlashMode::UntilRead);
    let cookie = with_flash(&store).await;
    request(&store, &cookie, |session| {
        session.flash().insert("form", "new").unwrap();
        session.flash().insert("form", "newer").unwrap();
    })
    .await;
    request(&store, &cookie, |session| {
        assert_eq!(session.flash().take::<String>("form").unwrap().unwrap(), "newer");
        assert!(!session.flash().contains("form"));
    })
    .await;
}

#[tokio::test]
async fn next_request_mode_removes_entries_that_were_not_kept() {
    let store = store(FlashMode::NextRequest);
    let cookie = with_flash(&store).await;
    // A request that does not use the session ages nothing.
    let unused = store.load(&cookie).await.unwrap().unwrap();
    assert_eq!(store.save(&unused).await.unwrap(), Saved::Unchanged);
    request(&store, &cookie, |session| {
        assert!(session.flash().contains("form"));
        session.flash().keep("form");
    })
    .await;
    request(&store, &cookie, |session| {
        assert!(session.flash().contains("form"));
        assert!(session.flash().peek_messages().is_empty());
        session.flash().message("info", "next");
    })
    .await;
    request(&store, &cookie, |session| {
        assert!(!session.flash().contains("form"));
        assert_eq!(texts(&session.flash().peek_messages()), ["next"]);
    })
    .await;
}

async fn next_request_store() -> (Arc<Faulty>, SessionStore, String) {
    let (backend, store) = with_config(config().flash(FlashMode::NextRequest));
    let (cookie, _) = stored(&store).await;
    (backend, store, cookie)
}

async fn waiting(store: &SessionStore, cookie: &str) -> Vec<String> {
    let messages = load(store, cookie).await.flash().peek_messages();
    messages.into_iter().map(|message| message.text).collect()
}

#[tokio::test]
async fn next_request_mode_keeps_entries_that_another_request_adds_meanwhile() {
    let (_, store, cookie) = next_request_store().await;
    request(&store, &cookie, |session| session.flash().message("info", "old")).await;
    let session = load(&store, &cookie).await;
    increment(&session);
    // A request that reads the session and so ages "old", too.
    request(&store, &cookie, |session| session.flash().message("info", "new")).await;
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(waiting(&store, &cookie).await, ["new"]);
}

#[tokio::test]
async fn next_request_mode_keeps_entries_that_this_request_saved_before() {
    let (_, store, cookie) = next_request_store().await;
    let session = load(&store, &cookie).await;
    session.flash().message("info", "hello");
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(waiting(&store, &cookie).await, ["hello"]);
}

#[tokio::test]
async fn next_request_mode_keeps_entries_whose_save_was_in_doubt() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        let (backend, store, cookie) = next_request_store().await;
        let session = load(&store, &cookie).await;
        session.flash().message("info", "hello");
        backend.fail(&[fault]);
        backend.failing_loads.store(1, Ordering::SeqCst);
        store.save(&session).await.unwrap_err();
        assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
        assert_eq!(waiting(&store, &cookie).await, ["hello"], "{fault:?}");
    }
}

#[tokio::test]
async fn next_request_mode_removes_nothing_when_the_request_failed() {
    let (_, store, cookie) = next_request_store().await;
    request(&store, &cookie, |session| session.flash().message("info", "hello")).await;
    let session = load(&store, &cookie).await;
    assert_eq!(texts(&session.flash().take_messages()), ["hello"]);
    session.discard_changes();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert_eq!(waiting(&store, &cookie).await, ["hello"]);
}

#[tokio::test]
async fn next_request_mode_keeps_kept_entries_through_further_saves() {
    let (_, store, cookie) = next_request_store().await;
    request(&store, &cookie, |session| session.flash().message("info", "hello")).await;
    let session = load(&store, &cookie).await;
    session.flash().keep_all();
    for _ in 0..2 {
        increment(&session);
        assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    }
    assert_eq!(waiting(&store, &cookie).await, ["hello"]);
    // For one more request only.
    request(&store, &cookie, increment).await;
    assert!(waiting(&store, &cookie).await.is_empty());
}

#[tokio::test]
async fn an_entry_kept_while_its_removal_is_in_doubt_is_delivered_once_more() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        let (backend, store) = with_config(config());
        let (cookie, _) = stored(&store).await;
        request(&store, &cookie, |session| session.flash().message("info", "hello")).await;
        let session = load(&store, &cookie).await;
        assert_eq!(texts(&session.flash().take_messages()), ["hello"]);
        backend.fail(&[fault]);
        backend.failing_loads.store(1, Ordering::SeqCst);
        store.save(&session).await.unwrap_err();
        session.flash().keep_all();
        assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
        assert_eq!(waiting(&store, &cookie).await, ["hello"], "{fault:?}");
    }
}

/// A value inside `depth` lists.
fn nested(depth: usize) -> Box<serde_json::value::RawValue> {
    let text = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
    serde_json::value::RawValue::from_string(text).unwrap()
}

#[tokio::test]
async fn values_of_the_greatest_depth_are_read_back_from_flash_and_data() {
    let (_, store) = with_config(config());
    for depth in [97, 98, 99, 100] {
        for alone in [true, false] {
            let session = store.create();
            if !alone {
                session.insert("other", [1, 2]).unwrap();
                session.insert("deep", nested(depth)).unwrap();
                // A name with an escape: the document has no index and is scanned.
                session.insert("\"", nested(depth)).unwrap();
                session.flash().message("info", "hello");
            }
            session.flash().insert("form", nested(depth)).unwrap();
            assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
            let session = load(&store, &cookie(&store, &session)).await;
            let form: serde_json::Value = session.flash().take("form").unwrap().unwrap();
            assert_eq!(form.to_string(), nested(depth).get(), "{depth} {alone}");
            if !alone {
                let deep: serde_json::Value = session.get("deep").unwrap().unwrap();
                assert_eq!(deep.to_string(), nested(depth).get());
            }
        }
    }
}

#[test]
fn a_value_that_is_nested_deeper_is_refused_at_once() {
    let session = session_core::Session::new();
    let deep = nested(101);
    for refused in [
        session.insert("deep", &deep),
        session.flash().insert("deep", &deep),
        session
            .update("deep", move |_: Option<Box<serde_json::value::RawValue>>| nested(101))
            .map(drop),
    ] {
        assert_eq!(refused.unwrap_err().kind(), ErrorKind::InvalidValue);
    }
    assert!(!session.changed());
}
