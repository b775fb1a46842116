//! `CachingSessionStore` on top of our stores, and one of them as its cache.

use std::sync::Arc;

use axum::http::StatusCode;
use session_memory::MemoryBackend;
use session_tower_sessions::{OnMissing, TowerStore};
use tower_sessions::session::Id;
use tower_sessions::{CachingSessionStore, MemoryStore, SessionStore};

use crate::app::{Gate, app, gated, layer};
use crate::browser::Browser;
use crate::stores::on_every_store;
use crate::watched::Watched;

on_every_store!(memory_store_in_front, ours_in_front, other_nodes_and_slow_requests);

async fn memory_store_in_front(store: TowerStore) {
    round(CachingSessionStore::new(MemoryStore::default(), store.clone()), store).await;
}

async fn ours_in_front(store: TowerStore) {
    let cache = TowerStore::new(MemoryBackend::new()).on_missing(OnMissing::Create);
    round(CachingSessionStore::new(cache, store.clone()), store).await;
}

async fn round<S: SessionStore + Clone>(caching: S, store: TowerStore) {
    let cached = app(layer(caching));
    // Another process, which has no cache.
    let direct = app(layer(store));
    let mut browser = Browser::new(&cached);
    browser.get("/insert?theme=dark").await;
    assert_eq!(browser.body("/get?theme").await, "dark");
    let mut other = Browser::new(&direct);
    other.set_id(browser.id().unwrap());
    assert_eq!(other.body("/get?theme").await, "dark");

    browser.get("/insert?size=big").await;
    assert_eq!(other.body("/get?theme&size").await, "big,dark");
    browser.get("/cycle").await;
    assert_eq!(other.body("/get?theme").await, "none");
    assert_eq!(browser.body("/get?theme&size").await, "big,dark");
    let kept = browser.clone();
    browser.get("/flush").await;
    for app in [&cached, &direct] {
        let mut browser = Browser::new(app);
        browser.set_id(kept.id().unwrap());
        assert_eq!(browser.body("/get?theme").await, "none");
    }
}

/// What a cache costs, as the documentation says: another process's sign-out is not seen, and in the
/// cache a slow request's save brings the session back. The store itself keeps it ended.
async fn other_nodes_and_slow_requests(store: TowerStore) {
    let gate = Gate::new();
    let cached =
        gated(layer(CachingSessionStore::new(MemoryStore::default(), store.clone())), &gate);
    let direct = app(layer(store));
    let mut browser = Browser::new(&cached);
    browser.get("/insert?user=ann").await;
    let mut elsewhere = Browser::new(&direct);
    elsewhere.set_id(browser.id().unwrap());
    elsewhere.clone().get("/flush").await;
    assert_eq!(browser.body("/get?user").await, "ann");
    assert_eq!(elsewhere.body("/get?user").await, "none");

    browser.get("/flush").await;
    browser.get("/insert?user=ann").await;
    let slow = browser.clone();
    let request = tokio::spawn(async move { slow.request("/slow-insert?size=big").await.status });
    gate.arrival().await;
    let (mut old, mut elsewhere) = (browser.clone(), Browser::new(&direct));
    elsewhere.set_id(browser.id().unwrap());
    browser.get("/flush").await;
    gate.open();
    assert_eq!(request.await.unwrap(), StatusCode::OK);
    assert_eq!(old.body("/get?user").await, "ann");
    assert_eq!(elsewhere.body("/get?user").await, "none");
}

/// A read that the cache answers costs the store nothing.
#[tokio::test]
async fn the_cache_answers() {
    let backend = Arc::new(Watched::new());
    let store = TowerStore::new(backend.clone());
    let cache = TowerStore::new(MemoryBackend::new()).on_missing(OnMissing::Create);
    let caching = CachingSessionStore::new(cache, store.clone());
    let app = app(layer(caching));
    let mut browser = Browser::new(&app);
    browser.get("/insert?theme=dark").await;
    assert_eq!(backend.take_calls(), ["create"]);
    browser.get("/get?theme").await;
    assert_eq!(backend.take_calls(), Vec::<&str>::new());
    // After a restart, the first read fills the cache.
    let cache = TowerStore::new(MemoryBackend::new()).on_missing(OnMissing::Create);
    let caching = CachingSessionStore::new(cache, store);
    let id: Id = browser.id().unwrap().parse().unwrap();
    for calls in [&["load"][..], &[]] {
        assert_eq!(caching.load(&id).await.unwrap().unwrap().data["theme"], "dark");
        assert_eq!(backend.take_calls(), calls);
    }
}
