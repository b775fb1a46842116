//! What users of tower-sessions know, over each store.

use std::time::Duration;

use axum::http::StatusCode;
use session_tower_sessions::TowerStore;
use time::OffsetDateTime;
use tokio::time::sleep;
use tower_sessions::session::Id;
use tower_sessions::{Expiry, SessionStore as _};

use crate::app::{Gate, app, gated, layer};
use crate::browser::Browser;
use crate::stores::on_every_store;

on_every_store!(
    insert_and_get,
    remove,
    flush,
    cycle_id,
    expiry_on_inactivity,
    expiry_on_session_end,
    expiry_at_a_date,
    only_what_is_modified_is_saved,
    always_save,
    delete,
    clear,
    unknown_id,
    tampered_cookie,
    two_browsers,
    concurrent_requests,
    flush_and_insert_during_a_slow_request,
);

async fn insert_and_get(store: TowerStore) {
    let app = app(layer(store));
    let mut browser = Browser::new(&app);
    assert!(browser.get("/unused").await.cookies.is_empty());
    assert_eq!(browser.body("/get?theme").await, "none");
    assert_eq!(browser.id(), None);

    let answer = browser.get("/insert?theme=dark&%C3%A9=%22%C3%BC%00").await;
    assert!(answer.cookies[0].contains("HttpOnly"), "{:?}", answer.cookies);
    assert_eq!(browser.body("/get?theme&%C3%A9&other").await, "none,dark,\"ü\0");
    // Nothing was changed, so nothing is set.
    assert!(browser.get("/get?theme").await.cookies.is_empty());
    browser.get("/insert?theme=light&size=big").await;
    assert_eq!(browser.body("/get?theme&size").await, "big,light");
}

async fn remove(store: TowerStore) {
    let app = app(layer(store));
    let mut browser = Browser::new(&app);
    browser.get("/insert?theme=dark&size=big").await;
    assert_eq!(browser.body("/remove?theme").await, "dark");
    assert_eq!(browser.body("/get?theme&size").await, "big,none");
    assert_eq!(browser.body("/remove?size").await, "big");
    assert_eq!(browser.body("/remove?size").await, "none");
    assert!(browser.id().is_some());
}

async fn flush(store: TowerStore) {
    let app = app(layer(store.clone()));
    let mut browser = Browser::new(&app);
    browser.get("/insert?theme=dark").await;
    let kept = browser.clone();
    let answer = browser.get("/flush").await;
    assert_eq!(answer.max_age(), Some(0));
    assert_eq!(browser.id(), None);
    assert_eq!(browser.body("/get?theme").await, "none");
    // The old cookie is dead, too.
    let id = kept.id().unwrap().to_owned();
    assert_eq!(store.load(&id.parse().unwrap()).await.unwrap(), None);
    let mut kept = kept;
    assert_eq!(kept.body("/get?theme").await, "none");
}

async fn cycle_id(store: TowerStore) {
    let app = app(layer(store));
    let mut browser = Browser::new(&app);
    browser.get("/insert?theme=dark").await;
    let mut old = browser.clone();
    browser.get("/cycle").await;
    assert_ne!(browser.id(), old.id());
    assert_eq!(browser.body("/get?theme").await, "dark");
    assert_eq!(old.body("/get?theme").await, "none");
}

async fn expiry_on_inactivity(store: TowerStore) {
    let idle = time::Duration::milliseconds(2_500);
    let app = app(layer(store).with_expiry(Expiry::OnInactivity(idle)));
    let mut browser = Browser::new(&app);
    let answer = browser.get("/insert?theme=dark").await;
    assert_eq!(answer.max_age(), Some(2));
    for step in 0..4 {
        sleep(Duration::from_millis(900)).await;
        assert_eq!(browser.body("/get?theme").await, "dark", "{step}");
        browser.get(&format!("/insert?step={step}")).await;
    }
    sleep(Duration::from_millis(2_600)).await;
    assert_eq!(browser.body("/get?theme").await, "none");
}

async fn expiry_on_session_end(store: TowerStore) {
    let app = app(layer(store.clone()).with_expiry(Expiry::OnSessionEnd));
    let mut browser = Browser::new(&app);
    let answer = browser.get("/insert?theme=dark").await;
    assert_eq!(answer.max_age(), None);
    let record = store.load(&browser.id().unwrap().parse().unwrap()).await.unwrap().unwrap();
    let left = record.expiry_date - OffsetDateTime::now_utc();
    let weeks = time::Duration::weeks(2);
    assert!(left <= weeks && left > weeks - time::Duration::minutes(1), "{left}");
}

async fn expiry_at_a_date(store: TowerStore) {
    let app = app(layer(store));
    let mut browser = Browser::new(&app);
    browser.get("/insert?theme=dark").await;
    let answer = browser.get("/expire?ms=2500").await;
    assert_eq!(answer.max_age(), Some(2));
    assert_eq!(browser.body("/get?theme&expires").await, "yes,dark");
    sleep(Duration::from_millis(2_600)).await;
    assert_eq!(browser.body("/get?theme").await, "none");

    // A date that has passed ends the session.
    browser.get("/insert?theme=dark").await;
    let mut kept = browser.clone();
    browser.get("/expire?ms=-1").await;
    assert_eq!(kept.body("/get?theme").await, "none");
}

async fn only_what_is_modified_is_saved(store: TowerStore) {
    let app = app(layer(store.clone()).with_expiry(Expiry::OnInactivity(time::Duration::HOUR)));
    let mut browser = Browser::new(&app);
    browser.get("/insert?theme=dark").await;
    let id: Id = browser.id().unwrap().parse().unwrap();
    let end = || async { store.load(&id).await.unwrap().unwrap().expiry_date };
    let first = end().await;
    sleep(Duration::from_millis(1_000)).await;
    for unmodified in ["/unused", "/get?theme", "/insert?theme=dark"] {
        assert!(browser.get(unmodified).await.cookies.is_empty());
    }
    let tolerance = time::Duration::milliseconds(500);
    assert!((end().await - first).abs() < tolerance);
    browser.get("/insert?theme=light").await;
    assert!(end().await - first > tolerance);
}

async fn always_save(store: TowerStore) {
    let idle = Expiry::OnInactivity(time::Duration::HOUR);
    let app = app(layer(store.clone()).with_expiry(idle).with_always_save(true));
    let mut browser = Browser::new(&app);
    browser.get("/insert?theme=dark").await;
    let id: Id = browser.id().unwrap().parse().unwrap();
    let first = store.load(&id).await.unwrap().unwrap().expiry_date;
    sleep(Duration::from_millis(1_000)).await;
    browser.get("/unused").await;
    let renewed = store.load(&id).await.unwrap().unwrap().expiry_date;
    assert!(renewed - first > time::Duration::milliseconds(500));
    assert_eq!(browser.body("/get?theme").await, "dark");
}

async fn delete(store: TowerStore) {
    let app = app(layer(store));
    let mut browser = Browser::new(&app);
    browser.get("/insert?theme=dark").await;
    browser.get("/delete").await;
    assert_eq!(browser.body("/get?theme").await, "none");
    // Twice is as good.
    browser.get("/delete").await;
}

async fn clear(store: TowerStore) {
    let app = app(layer(store));
    let mut browser = Browser::new(&app);
    browser.get("/insert?theme=dark").await;
    let before = browser.id().unwrap().to_owned();
    browser.get("/clear").await;
    assert_eq!(browser.id(), Some(&*before));
    assert_eq!(browser.body("/get?theme").await, "none");
    browser.get("/insert?size=big").await;
    assert_eq!(browser.body("/get?theme&size").await, "big,none");
}

async fn unknown_id(store: TowerStore) {
    let app = app(layer(store.clone()));
    let mut browser = Browser::new(&app);
    let unknown = Id(7).to_string();
    browser.set_id(&unknown);
    assert_eq!(browser.body("/get?theme").await, "none");
    // The layer removes the cookie. With another one, it never takes the id over.
    assert_eq!(browser.id(), None);
    browser.set_id(&unknown);
    browser.get("/insert?theme=dark").await;
    assert_ne!(browser.id(), Some(&*unknown));
    assert_eq!(store.load(&Id(7)).await.unwrap(), None);
    assert_eq!(browser.body("/get?theme").await, "dark");
}

async fn tampered_cookie(store: TowerStore) {
    let app = app(layer(store));
    let mut browser = Browser::new(&app);
    browser.get("/insert?theme=dark").await;
    let good = browser.id().unwrap().to_owned();
    let flipped = if good.starts_with('A') { "B" } else { "A" };
    for bad in [
        format!("{flipped}{}", &good[1..]),
        good.to_lowercase() + "x",
        good[1..].to_owned(),
        format!("{good}A"),
        "é".to_owned(),
        "%00".to_owned(),
        String::new(),
    ] {
        browser.set_id(&bad);
        let answer = browser.send("/get?theme").await;
        assert_eq!((answer.status, &*answer.body), (StatusCode::OK, "none"), "{bad:?}");
    }
    browser.set_id(&good);
    assert_eq!(browser.body("/get?theme").await, "dark");
}

async fn two_browsers(store: TowerStore) {
    let app = app(layer(store));
    let (mut one, mut other) = (Browser::new(&app), Browser::new(&app));
    one.get("/insert?theme=dark").await;
    other.get("/insert?theme=light").await;
    assert_ne!(one.id(), other.id());
    assert_eq!(one.body("/get?theme").await, "dark");
    assert_eq!(other.body("/get?theme").await, "light");
    one.get("/flush").await;
    assert_eq!(one.body("/get?theme").await, "none");
    assert_eq!(other.body("/get?theme").await, "light");
}

/// Sixteen requests read the session before any of them saves it: all succeed, and the last one wins.
async fn concurrent_requests(store: TowerStore) {
    const REQUESTS: usize = 16;
    let gate = Gate::new();
    let app = gated(layer(store), &gate);
    let mut browser = Browser::new(&app);
    browser.get("/insert?theme=dark").await;
    let requests: Vec<_> = (0..REQUESTS)
        .map(|i| {
            let browser = browser.clone();
            let path = format!("/slow-insert?n{i}=yes");
            tokio::spawn(async move { browser.request(&path).await.status })
        })
        .collect();
    for _ in 0..REQUESTS {
        gate.arrival().await;
    }
    (0..REQUESTS).for_each(|_| gate.open());
    for request in requests {
        assert_eq!(request.await.unwrap(), StatusCode::OK);
    }
    let names: Vec<_> = (0..REQUESTS).map(|i| format!("n{i}")).collect();
    let body = browser.body(&format!("/get?{}", names.join("&"))).await;
    assert_eq!(body.matches("yes").count(), 1, "{body}");
    assert_eq!(browser.body("/get?theme").await, "dark");
}

/// The layer creates the session that follows a `flush` under the id of the one before. A slow request
/// that still has that one must not save it into the new one.
async fn flush_and_insert_during_a_slow_request(store: TowerStore) {
    let gate = Gate::new();
    let app = gated(layer(store), &gate);
    let mut browser = Browser::new(&app);
    browser.get("/insert?user=ann").await;
    let slow = browser.clone();
    let request = tokio::spawn(async move { slow.request("/slow-insert?size=big").await.status });
    gate.arrival().await;
    let mut old = browser.clone();
    browser.get("/flush-and-insert?message=bye").await;
    assert_ne!(browser.id(), old.id());
    gate.open();
    assert_eq!(request.await.unwrap(), StatusCode::OK);
    assert_eq!(browser.body("/get?message&user").await, "bye,none");
    assert_eq!(old.body("/get?message&user").await, "none,none");
}
