//! Outages, corrupt records, calls, and what is at rest.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;
use std::time::{Duration, Instant};

use axum::http::StatusCode;
use session_tower_sessions::TowerStore;
use session_tower_sessions::session_core::{Backend as _, Config, SessionStore};
use time::OffsetDateTime;
use tower_sessions::{ExpiredDeletion as _, SessionStore as _};
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::Error;

use crate::app::{app, layer};
use crate::browser::Browser;
use crate::watched::Watched;

fn store() -> (Arc<Watched>, TowerStore) {
    let backend = Arc::new(Watched::new());
    let config = Config::default().deadline(Duration::from_millis(300)).max_record_size(1_000);
    let store = SessionStore::new(backend.clone()).with_config(config).unwrap();
    (backend, TowerStore::of(&store).unwrap())
}

/// An outage is an error, never an empty session, and the cookie stays.
#[tokio::test]
async fn an_outage_is_no_empty_session() {
    let (backend, store) = store();
    let app = app(layer(store));
    let mut browser = Browser::new(&app);
    browser.get("/insert?theme=dark").await;
    let id = browser.id().unwrap().to_owned();
    for switch in [&backend.down, &backend.silent] {
        switch.store(true, SeqCst);
        for path in ["/get?theme", "/insert?theme=light", "/flush", "/cycle", "/delete"] {
            let begins = Instant::now();
            let answer = browser.send(path).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
            assert!(begins.elapsed() < Duration::from_secs(3), "{path}");
            assert!(answer.cookies.is_empty(), "{path}");
            assert!(!answer.body.contains(&id), "{path}: {}", answer.body);
        }
        let answer = browser.send("/unused").await;
        assert_eq!(answer.status, StatusCode::OK);
        switch.store(false, SeqCst);
        assert_eq!(browser.body("/get?theme").await, "dark");
    }
    backend.down.store(true, SeqCst);
    let error = browser.send("/get?theme").await.body;
    assert_eq!(error, "watched: load: no connection: connection refused");
}

#[tokio::test]
async fn a_corrupt_record_is_an_error_and_is_kept() {
    let (backend, store) = store();
    let app = app(layer(store.clone()));
    let mut browser = Browser::new(&app);
    browser.get("/insert?theme=dark").await;
    let id: Id = browser.id().unwrap().parse().unwrap();

    for corrupt in [true, false] {
        if corrupt {
            backend.corrupt.store(true, SeqCst);
        } else {
            *backend.payload.lock().unwrap() = Some(b"{\"v\":1,\"data\":{\"secret\":\"hunter2\"");
        }
        let error = store.load(&id).await.unwrap_err();
        assert!(matches!(error, Error::Decode(_)), "{error}");
        assert!(!format!("{error:?}").contains("hunter2"), "{error}");
        for path in ["/get?theme", "/insert?theme=light", "/cycle"] {
            let answer = browser.send(path).await;
            assert_eq!(answer.status, StatusCode::SERVICE_UNAVAILABLE, "{path}");
        }
        backend.corrupt.store(false, SeqCst);
        *backend.payload.lock().unwrap() = None;
        assert_eq!(browser.body("/get?theme").await, "dark");
    }

    // The layer saves a cleared session without reading it: what is no record at all is kept, and what
    // is no session is replaced.
    backend.corrupt.store(true, SeqCst);
    assert_eq!(browser.send("/clear").await.status, StatusCode::INTERNAL_SERVER_ERROR);
    backend.corrupt.store(false, SeqCst);
    assert_eq!(browser.body("/get?theme").await, "dark");
    *backend.payload.lock().unwrap() = Some(b"");
    browser.get("/clear").await;
    *backend.payload.lock().unwrap() = None;
    assert_eq!(browser.body("/get?theme").await, "none");

    // To delete it is always possible.
    browser.get("/insert?theme=dark").await;
    backend.corrupt.store(true, SeqCst);
    browser.get("/delete").await;
    backend.corrupt.store(false, SeqCst);
    assert_eq!(browser.body("/get?theme").await, "none");
}

#[tokio::test]
async fn calls_of_each_request() {
    let (backend, store) = store();
    let app = app(layer(store));
    let mut browser = Browser::new(&app);
    let expected: [(&str, &[&str]); 8] = [
        ("/get?theme", &[]),
        ("/insert?theme=dark", &["create"]),
        ("/unused", &[]),
        ("/get?theme", &["load"]),
        ("/insert?theme=light", &["load", "load", "update"]),
        ("/cycle", &["load", "destroy", "create"]),
        ("/flush", &["destroy"]),
        ("/get?theme", &[]),
    ];
    for (path, calls) in expected {
        browser.get(path).await;
        assert_eq!(backend.take_calls(), calls, "{path}");
    }
}

/// A store learns neither the id nor anything that gives it away.
#[tokio::test]
async fn ids_are_hashed_at_rest() {
    let (backend, store) = store();
    let app = app(layer(store.clone()));
    let mut browser = Browser::new(&app);
    browser.get("/insert?theme=dark").await;
    let id: Id = browser.id().unwrap().parse().unwrap();
    let (key, payload) = backend.written.lock().unwrap()[0].clone();
    assert_eq!(&payload[..], br#"{"v":1,"data":{"theme":"dark"}}"#);
    let bytes = id.0.to_le_bytes();
    assert!(!key.as_bytes().windows(16).any(|window| window == bytes));
    assert_eq!(format!("{store:?}").find(browser.id().unwrap()), None);
    // Who reads the key in the store can't use any part of it as a cookie.
    for part in key.as_bytes().windows(16) {
        let mut thief = Browser::new(&app);
        thief.set_id(&Id(i128::from_le_bytes(part.try_into().unwrap())).to_string());
        assert_eq!(thief.body("/get?theme").await, "none");
    }
    // The session is not one of session-core's under any id, its document is.
    assert!(backend.load(&key).await.unwrap().is_some());
}

#[tokio::test]
async fn a_session_that_is_too_large_is_refused() {
    let (_, store) = store();
    let data = [("large".to_owned(), "x".repeat(1_000).into())].into();
    let expiry_date = OffsetDateTime::now_utc() + time::Duration::HOUR;
    let mut record = Record { id: Id(1), data, expiry_date };
    let error = store.create(&mut record).await.unwrap_err();
    assert!(matches!(error, Error::Encode(_)), "{error}");
    record.data.clear();
    store.create(&mut record).await.unwrap();
    record.data.insert("large".to_owned(), "x".repeat(1_000).into());
    let error = store.save(&record).await.unwrap_err();
    assert!(matches!(error, Error::Encode(_)), "{error}");
    assert_eq!(store.load(&record.id).await.unwrap().unwrap().data.len(), 0);
}

#[tokio::test]
async fn expired_sessions_are_deleted_as_that_library_does_it() {
    let (backend, store) = store();
    let period = Duration::from_millis(5);
    let task = tokio::spawn(store.continuously_delete_expired(period));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(backend.take_calls().iter().filter(|call| **call == "gc").count() > 1);
    backend.down.store(true, SeqCst);
    let error = tokio::time::timeout(Duration::from_secs(5), task).await.unwrap().unwrap();
    assert!(matches!(error, Err(Error::Backend(_))), "{error:?}");
}

#[tokio::test]
async fn gc_runs_in_the_background() {
    let (backend, store) = store();
    let task = store.spawn_gc(Duration::from_millis(5));
    backend.down.store(true, SeqCst);
    tokio::time::sleep(Duration::from_millis(100)).await;
    backend.down.store(false, SeqCst);
    backend.take_calls();
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(backend.take_calls().contains(&"gc"));
    task.abort();
}
