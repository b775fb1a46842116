//! Saves of sessions that ended meanwhile, and the creation of ids.

use std::sync::Arc;
use std::sync::atomic::Ordering::SeqCst;

use axum::http::StatusCode;
use session_tower_sessions::session_core::{Config, SessionStore};
use session_tower_sessions::{OnMissing, TowerStore};
use time::{Duration, OffsetDateTime};
use tower_sessions::session::{Id, Record};
use tower_sessions::session_store::Error;
use tower_sessions::{ExpiredDeletion as _, SessionStore as _};

use crate::app::{Gate, gated, layer};
use crate::browser::{Answer, Browser};
use crate::stores::on_every_store;
use crate::watched::Watched;

on_every_store!(dropped, refused, created, ids, expired_saves);

fn record(id: i128) -> Record {
    let expiry_date = OffsetDateTime::now_utc() + Duration::HOUR;
    Record { id: Id(id), data: [("user".to_owned(), "ann".into())].into(), expiry_date }
}

/// A slow request reads the session, another one signs it out, and the slow one saves.
async fn sign_out_during_a_slow_request(store: TowerStore) -> (Answer, Browser) {
    let gate = Gate::new();
    let app = gated(layer(store), &gate);
    let mut browser = Browser::new(&app);
    browser.get("/insert?user=ann").await;
    let slow = browser.clone();
    let request = tokio::spawn(async move { slow.request("/slow-insert?size=big").await });
    gate.arrival().await;
    let old = browser.clone();
    browser.get("/flush").await;
    gate.open();
    (request.await.unwrap(), old)
}

async fn dropped(store: TowerStore) {
    let (answer, mut old) = sign_out_during_a_slow_request(store).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(old.body("/get?user&size").await, "none,none");
}

async fn refused(store: TowerStore) {
    let store = store.on_missing(OnMissing::Fail);
    let (answer, mut old) = sign_out_during_a_slow_request(store).await;
    assert_eq!(answer.status, StatusCode::INTERNAL_SERVER_ERROR);
    assert_eq!(answer.cookies, Vec::<String>::new());
    assert_eq!(old.body("/get?user&size").await, "none,none");
}

async fn created(store: TowerStore) {
    let store = store.on_missing(OnMissing::Create);
    let (answer, mut old) = sign_out_during_a_slow_request(store.clone()).await;
    assert_eq!(answer.status, StatusCode::OK);
    assert_eq!(old.body("/get?user&size").await, "big,ann");

    // Many at once: all of them succeed, and one is there.
    let saves: Vec<_> = (0..16)
        .map(|i| {
            let store = store.clone();
            tokio::spawn(async move {
                let mut record = record(99);
                record.data.insert("number".to_owned(), i.into());
                store.save(&record).await.unwrap();
            })
        })
        .collect();
    for save in saves {
        save.await.unwrap();
    }
    let found = store.load(&Id(99)).await.unwrap().unwrap();
    assert_eq!(found.data["user"], "ann");
    assert!((0..16).any(|i| found.data["number"] == i));
}

async fn ids(store: TowerStore) {
    // By default no id is used twice, whatever the layer asks for.
    let (mut one, mut other) = (record(5), record(5));
    store.create(&mut one).await.unwrap();
    store.create(&mut other).await.unwrap();
    assert!(one.id != other.id && one.id != Id(5) && other.id != Id(5));
    assert_eq!(store.load(&one.id).await.unwrap().unwrap().data, one.data);
    assert_eq!(store.load(&other.id).await.unwrap().unwrap().id, other.id);
    assert_eq!(store.load(&Id(5)).await.unwrap(), None);

    // Ids that are to be kept are, unless they are taken.
    let keeping = store.on_missing(OnMissing::Create);
    let (mut one, mut other) = (record(-5), record(-5));
    keeping.create(&mut one).await.unwrap();
    keeping.create(&mut other).await.unwrap();
    assert_eq!(one.id, Id(-5));
    assert_ne!(other.id, Id(-5));
    assert!(keeping.load(&Id(-5)).await.unwrap().is_some());
    assert!(keeping.load(&other.id).await.unwrap().is_some());
}

async fn expired_saves(store: TowerStore) {
    let mut record = record(0);
    store.create(&mut record).await.unwrap();
    record.expiry_date = OffsetDateTime::now_utc() - Duration::SECOND;
    store.save(&record).await.unwrap();
    assert_eq!(store.load(&record.id).await.unwrap(), None);
    store.save(&record).await.unwrap();
    // Created expired, it is never there.
    store.create(&mut record).await.unwrap();
    assert_eq!(store.load(&record.id).await.unwrap(), None);
    // Dates beyond what a store can count.
    record.expiry_date = time::Date::MAX.midnight().assume_utc();
    store.create(&mut record).await.unwrap();
    let found = store.load(&record.id).await.unwrap().unwrap();
    assert!(found.expiry_date - OffsetDateTime::now_utc() > Duration::weeks(52 * 1_000));
    store.delete_expired().await.unwrap();
    assert!(store.load(&record.id).await.unwrap().is_some());
}

/// Two layers over one backend, with two purposes, never see each other's sessions.
#[tokio::test]
async fn purposes_separate_layers() {
    let store = SessionStore::new(Arc::new(Watched::new()));
    let shop = TowerStore::of(&store).unwrap();
    let admin = store.with_config(Config::default().purpose("admin")).unwrap();
    let admin = TowerStore::of(&admin).unwrap();
    let mut record = record(0);
    shop.create(&mut record).await.unwrap();
    assert!(shop.load(&record.id).await.unwrap().is_some());
    assert_eq!(admin.load(&record.id).await.unwrap(), None);
    admin.delete(&record.id).await.unwrap();
    assert!(shop.load(&record.id).await.unwrap().is_some());
}

/// A create whose answer was lost is no collision: the session is there once, under the id that it got.
#[tokio::test]
async fn a_lost_answer_to_a_create_is_no_collision() {
    for on_missing in [OnMissing::Drop, OnMissing::Create] {
        let backend = Arc::new(Watched::new());
        let store = TowerStore::new(backend.clone()).on_missing(on_missing);
        backend.lost_answers.store(1, SeqCst);
        let mut record = record(5);
        store.create(&mut record).await.unwrap();
        assert_eq!(backend.take_calls(), ["create", "load"]);
        assert_eq!(record.id == Id(5), on_missing == OnMissing::Create);
        assert_eq!(store.load(&record.id).await.unwrap().unwrap().data, record.data);
    }
}

/// A create that was lost may still arrive, so the next attempt has another id.
#[tokio::test]
async fn a_lost_create_is_tried_with_another_id() {
    let backend = Arc::new(Watched::new());
    let store = TowerStore::new(backend.clone());
    backend.lost_requests.store(2, SeqCst);
    let mut record = record(5);
    store.create(&mut record).await.unwrap();
    assert_eq!(backend.take_calls(), ["create", "load", "create", "load", "create"]);
    let keys: Vec<_> = backend.written.lock().unwrap().iter().map(|(key, _)| *key).collect();
    assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
    assert!(store.load(&record.id).await.unwrap().is_some());

    backend.lost_requests.store(3, SeqCst);
    let before = record.id;
    let error = store.create(&mut record).await.unwrap_err();
    assert!(matches!(error, Error::Backend(_)), "{error}");
    assert_eq!(record.id, before);
}

#[tokio::test]
async fn lost_answers_to_saves_and_deletes_are_resolved() {
    let backend = Arc::new(Watched::new());
    let store = TowerStore::new(backend.clone()).on_missing(OnMissing::Fail);
    let mut record = record(0);
    store.create(&mut record).await.unwrap();
    for lost in [&backend.lost_answers, &backend.lost_requests] {
        lost.store(1, SeqCst);
        record.data.insert("user".to_owned(), "bob".into());
        store.save(&record).await.unwrap();
        assert_eq!(store.load(&record.id).await.unwrap().unwrap().data["user"], "bob");
        lost.store(1, SeqCst);
        store.delete(&record.id).await.unwrap();
        assert_eq!(store.load(&record.id).await.unwrap(), None);
        store.create(&mut record).await.unwrap();
    }
}
