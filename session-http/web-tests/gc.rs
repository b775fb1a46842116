//! Garbage collection that requests start.

use std::time::Duration;

use session_core::{Config, ErrorKind};

use crate::app::{SessionLayer, app, quiet, serve};
use crate::support::{Client, Probe, eventually};

/// A second, and a little more.
const REST: Duration = Duration::from_millis(1200);

#[tokio::test]
async fn requests_that_use_the_session_start_a_collection_now_and_then() {
    let probe = Probe::default();
    let mut client = Client::new(serve(app(SessionLayer::new(probe.store()))).await);
    while probe.gcs() == 0 {
        client.get("/ask").await; // one of 50
    }
}

#[tokio::test]
async fn it_removes_what_expired_survives_errors_and_can_be_off() {
    let probe = Probe::default();
    let config = Config::default().lifetime(Duration::from_millis(20));
    let store = probe.store().with_config(config).unwrap();
    let always = SessionLayer::new(store.clone()).with_gc_probability(1.0).unwrap();
    let mut off = Client::new(serve(app(quiet(store))).await);
    let mut on = Client::new(serve(app(always)).await);
    off.get("/set/value/x").await;
    tokio::time::sleep(Duration::from_millis(40)).await;
    off.get("/ask").await;
    assert_eq!((probe.gcs(), probe.sessions()), (0, 1));
    on.get("/plain").await;
    assert_eq!(probe.gcs(), 0, "a request that does not ask costs nothing");
    probe.fail("gc", ErrorKind::Unavailable);
    on.get("/ask").await;
    eventually(|| probe.gcs() == 1).await;
    tokio::time::sleep(Duration::from_millis(50)).await; // until it has failed
    assert_eq!(probe.sessions(), 1);
    probe.recover();
    tokio::time::sleep(REST).await;
    on.get("/ask").await;
    eventually(|| probe.sessions() == 0).await;
}

#[tokio::test]
async fn only_one_collection_runs_at_a_time() {
    let probe = Probe::default();
    let always = SessionLayer::new(probe.store()).with_gc_probability(1.0).unwrap();
    let mut client = Client::new(serve(app(always)).await);
    let gate = probe.gate();
    client.get("/ask").await;
    gate.reached.notified().await;
    for _ in 0..5 {
        client.get("/ask").await;
    }
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(probe.gcs(), 1, "requests don't wait for it, and none starts a second one");
    gate.open.notify_one();
    tokio::time::sleep(Duration::from_millis(50)).await; // until it is done
    client.get("/ask").await;
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(probe.gcs(), 1, "the next one starts at least a second later");
    tokio::time::sleep(REST).await;
    client.get("/ask").await;
    eventually(|| probe.gcs() == 2).await;
}
