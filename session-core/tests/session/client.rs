//! `cookie_change`: what is sent to the client at the end of a request in which the application
//! saved or destroyed sessions itself.

use std::sync::atomic::Ordering;
use std::time::Duration;

use crate::faulty::Fault;
use crate::support::{config, cookie, increment, load, request, store, stored, with_config};
use session_core::web::CookieChange;
use session_core::{ErrorKind, Saved, Session, SessionStore};

/// The client gets the session's current cookie value, and this value loads the session.
async fn assert_set(store: &SessionStore, session: &Session) {
    let value = store.cookie_value(session).expect("the session is stored");
    assert!(store.load(value.as_str()).await.unwrap().is_some());
    assert_eq!(store.web().cookie_change(session), CookieChange::Set(value));
}

#[tokio::test]
async fn a_client_keeps_the_cookie_of_a_session_that_was_read_or_updated() {
    let (_, store) = store();
    let (cookie, session) = stored(&store).await;
    assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
    assert_eq!(load(&store, &cookie).await.get::<u32>("n").unwrap(), Some(1));
}

#[tokio::test]
async fn a_client_without_a_session_gets_no_cookie_until_there_is_one() {
    let (_, store) = store();
    let session = store.create();
    assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    increment(&session);
    assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_set(&store, &session).await;
}

#[tokio::test]
async fn a_save_by_the_application_sets_the_cookie_after_the_web_layer_saved_again() {
    let (_, store) = store();
    let session = store.create();
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert_set(&store, &session).await;
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_set(&store, &session).await;
}

#[tokio::test]
async fn a_new_id_sets_the_cookie_after_further_saves() {
    let (_, store) = store();
    let (old_cookie, session) = stored(&store).await;
    session.regenerate();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_set(&store, &session).await;
    assert_ne!(cookie(&store, &session), old_cookie);
}

#[tokio::test]
async fn a_new_expiry_renews_the_cookie() {
    let (_, store) = with_config(config().idle_timeout(Duration::from_secs(3600)));
    let (old_cookie, session) = stored(&store).await;
    session.set_lifetime(Duration::from_secs(60)).unwrap();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_set(&store, &session).await;

    let session = load(&store, &old_cookie).await;
    tokio::time::sleep(Duration::from_millis(5)).await;
    session.extend();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    let value = store.cookie_value(&session).unwrap();
    assert_eq!(value.as_str(), old_cookie);
    assert_eq!(store.web().cookie_change(&session), CookieChange::Renew(value));
}

#[tokio::test]
async fn a_destroyed_session_is_removed_after_the_web_layer_has_saved_again() {
    let (_, store) = store();
    let (_, session) = stored(&store).await;
    store.destroy(&session).await.unwrap();
    assert_eq!(store.web().cookie_change(&session), CookieChange::Remove);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert_eq!(store.web().cookie_change(&session), CookieChange::Remove);
    // A second destroy changes nothing.
    store.destroy(&session).await.unwrap();
    assert_eq!(store.web().cookie_change(&session), CookieChange::Remove);
}

#[tokio::test]
async fn a_session_that_was_destroyed_under_a_new_id_is_removed() {
    let (backend, store) = store();
    let (_, session) = stored(&store).await;
    session.regenerate();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    session.destroy();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Removed);
    assert_eq!(store.web().cookie_change(&session), CookieChange::Remove);
    assert_eq!(backend.len(), 0);
}

#[tokio::test]
async fn a_session_that_replaces_a_destroyed_one_sets_the_cookie() {
    let (_, store) = store();
    let (old_cookie, session) = stored(&store).await;
    store.destroy(&session).await.unwrap();
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_set(&store, &session).await;
    assert_ne!(cookie(&store, &session), old_cookie);
}

#[tokio::test]
async fn a_session_that_was_created_and_destroyed_in_one_request_changes_no_cookie() {
    let (_, store) = store();
    let session = store.create();
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    store.destroy(&session).await.unwrap();
    assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
    // Also for a session that was never stored.
    let session = store.create();
    increment(&session);
    session.destroy();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
}

#[tokio::test]
async fn the_cookie_is_removed_when_the_session_after_a_destroy_is_too_large() {
    let (backend, store) = with_config(config().max_record_size(256));
    let (_, session) = stored(&store).await;
    session.destroy();
    session.insert("big", "x".repeat(999)).unwrap();
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(backend.len(), 0);
    session.discard_changes();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert_eq!(store.web().cookie_change(&session), CookieChange::Remove);
}

#[tokio::test]
async fn a_save_that_is_too_large_changes_nothing_for_the_client() {
    let (_, store) = with_config(config().max_record_size(256));
    let (cookie, session) = stored(&store).await;
    session.insert("big", "x".repeat(999)).unwrap();
    session.regenerate();
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
    assert!(!load(&store, &cookie).await.contains("big"));
}

#[tokio::test]
async fn a_client_whose_session_is_gone_keeps_its_cookie() {
    let (_, store) = store();
    let (cookie, session) = stored(&store).await;
    request(&store, &cookie, Session::destroy).await;
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Gone);
    // A parallel request may just have set another cookie.
    assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
    assert!(store.cookie_value(&session).is_none());
}

#[tokio::test]
async fn a_destroy_in_doubt_removes_the_cookie_only_when_it_is_certain() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
        let (backend, store) = store();
        let (_, session) = stored(&store).await;
        backend.fail(&[fault]);
        assert_eq!(store.destroy(&session).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
        store.destroy(&session).await.unwrap();
        assert_eq!(store.web().cookie_change(&session), CookieChange::Remove, "{fault:?}");
    }
}

#[tokio::test]
async fn an_id_in_doubt_sets_the_cookie_only_when_it_is_certain() {
    let (backend, store) = store();
    let (old_cookie, session) = stored(&store).await;
    session.regenerate();
    backend.fail(&[Fault::LoseAnswer]);
    backend.failing_loads.store(1, Ordering::SeqCst);
    store.save(&session).await.unwrap_err();
    assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_set(&store, &session).await;
    assert_ne!(cookie(&store, &session), old_cookie);
}

#[tokio::test]
async fn a_logout_works_although_the_record_cant_be_read() {
    let (backend, store) = store();
    let id = session_core::SessionId::from_bytes([9; 32]);
    backend.put_raw(id.key(), b"not a document");
    let session = store.web().create_instead_of(&id.expose());
    assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert_eq!(backend.len(), 1, "the bytes are kept");
    session.destroy();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Removed);
    assert_eq!(store.web().cookie_change(&session), CookieChange::Remove);
    assert_eq!(backend.len(), 0);
}

#[tokio::test]
async fn a_session_that_replaces_an_unreadable_record_gets_a_new_id() {
    let (backend, store) = store();
    let id = session_core::SessionId::from_bytes([9; 32]);
    backend.put_raw(id.key(), b"not a document");
    let session = store.web().create_instead_of(&id.expose());
    session.insert("n", 1).unwrap();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    let CookieChange::Set(value) = store.web().cookie_change(&session) else { panic!("no cookie") };
    assert_ne!(value.as_str(), id.expose());
    assert_eq!(backend.len(), 2, "the bytes are kept");
}
