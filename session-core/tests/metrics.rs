//! What the recorder of the crate `metrics` gets. A program of its own, because `faulty` and `support` have more
//! than it uses.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "session/faulty.rs"]
mod faulty;
#[allow(dead_code)]
#[path = "session/support.rs"]
mod support;

use std::collections::BTreeMap;
use std::time::Duration;

use metrics_util::debugging::{DebugValue, DebuggingRecorder, Snapshotter};
use session_core::{Bytes, Owner, Record, Revision, SessionStore};

use crate::faulty::Fault;
use crate::support::{cause_conflict, cookie, increment, load, store, stored};

/// The metrics as `name{labels without the store}` with the values: of a histogram how many.
fn read(snapshotter: &Snapshotter) -> BTreeMap<String, u64> {
    let snapshot = snapshotter.snapshot().into_vec().into_iter();
    let metrics = snapshot.map(|(key, _, description, value)| {
        let key = key.key();
        assert!(description.is_some(), "{key} has no description");
        let mut labels = key.labels().filter(|label| !matches!(label.key(), "store" | "version"));
        let has_store =
            key.labels().any(|label| (label.key(), label.value()) == ("store", "faulty"));
        assert!(has_store, "{key} does not name the store");
        let labels: Vec<_> = labels.by_ref().map(|label| label.value().to_owned()).collect();
        let value = match value {
            DebugValue::Counter(count) => count,
            DebugValue::Gauge(value) => (value.0 == 1.0).into(),
            DebugValue::Histogram(values) => {
                assert!(values.iter().all(|value| (0.0..60.0).contains(&value.0)), "{key}");
                values.len() as u64
            }
        };
        (format!("{}{{{}}}", key.name(), labels.join(",")), value)
    });
    metrics.collect()
}

/// Every outcome of an operation that succeeds, once or more.
async fn use_all(store: &SessionStore) {
    let (value, session) = stored(store).await;
    increment(&session);
    store.save(&session).await.unwrap();
    store.save(&session).await.unwrap();
    session.extend();
    session.reset_lifetime();
    store.save(&session).await.unwrap();
    session.regenerate();
    store.save(&session).await.unwrap();
    assert!(store.load(&value).await.unwrap().is_none());
    session.sign_in(Owner::new("alice@example").unwrap());
    store.save(&session).await.unwrap();
    assert!(store.is_alive(&session).await.unwrap());
    let value = cookie(store, &session);
    cause_conflict(store, &value).await;
    increment(&session);
    store.save(&session).await.unwrap();
    let other = load(store, &value).await;
    store.destroy(&session).await.unwrap();
    assert!(!store.is_alive(&other).await.unwrap());
    assert!(store.load(&value).await.unwrap().is_none());
    let (_, session) = stored(store).await;
    session.destroy();
    store.save(&session).await.unwrap();
    store.gc().await.unwrap();
}

#[tokio::test]
async fn operations_are_counted_by_outcome_and_their_time_is_measured() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (_, store) = store();
    use_all(&store).await;
    let metrics = read(&snapshotter);
    let operations = [
        ("load,found", 4),
        ("load,rotated", 1),
        ("load,unknown", 1),
        ("save,unchanged", 1),
        ("save,updated", 3),
        ("save,renewed", 1),
        ("save,created", 2),
        ("save,rotated", 1),
        ("save,signed_in", 1),
        ("save,ended", 1),
        ("destroy,ended", 1),
        ("is_alive,alive", 1),
        ("is_alive,ended", 1),
        ("gc,collected", 1),
    ];
    for (labels, count) in operations {
        let counted = metrics[&format!("session_operations_total{{{labels}}}")];
        assert_eq!(counted, count, "{labels} in {metrics:#?}");
    }
    let all = metrics.iter().filter(|(name, _)| name.starts_with("session_operations_total"));
    assert_eq!(all.map(|(_, count)| count).sum::<u64>(), 20, "{metrics:#?}");
    assert_eq!(metrics["session_operation_duration_seconds{save}"], 10);
    assert_eq!(metrics["session_operation_duration_seconds{load}"], 6);
    assert_eq!(metrics["session_conflicts_merged_total{}"], 1);
    assert_eq!(metrics["session_store_info{}"], 1);
    assert!(metrics.contains_key("session_gc_removed_total{}"));
}

#[tokio::test]
async fn failures_and_cancelled_operations_are_counted() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (backend, store) = store();
    let (value, session) = stored(&store).await;

    backend.fail(&[Fault::Refuse, Fault::Refuse, Fault::Refuse]);
    increment(&session);
    store.save(&session).await.unwrap_err();
    backend.fail(&[]);
    backend.overwrite(b"no session");
    store.load(&value).await.unwrap_err();
    backend.silent.store(true, std::sync::atomic::Ordering::Relaxed);
    store.load(&value).await.unwrap_err();
    let dropped = tokio::time::timeout(Duration::from_millis(20), store.load(&value)).await;
    assert!(dropped.is_err());

    let metrics = read(&snapshotter);
    for labels in ["save,refused", "load,corrupt", "load,unavailable", "load,cancelled"] {
        let name = format!("session_operations_total{{{labels}}}");
        assert_eq!(metrics[&name], 1, "{labels} in {metrics:#?}");
    }
}

/// An adapter to another library is measured as well.
#[tokio::test]
async fn the_records_of_another_library_are_measured() {
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let (_, store) = store();
    let records = store.records("theirs").unwrap();
    let record = |number| {
        let revision = Revision::from_u64(number);
        Record { payload: Bytes::from_static(b"{}"), revision, owner: None }
    };
    let (key, ttl) = (records.key(b"an id of the other library"), Duration::from_secs(60));
    records.create([key], &record(1), ttl).await.unwrap();
    records.replace(&key, &record(2), ttl).await.unwrap();
    assert!(records.load(&key).await.unwrap().is_some());
    records.destroy(&key).await.unwrap();
    assert!(records.load(&key).await.unwrap().is_none());
    records.replace(&key, &record(3), ttl).await.unwrap_err();
    let metrics = read(&snapshotter);
    let outcomes = [
        "save,created",
        "save,updated",
        "load,found",
        "destroy,ended",
        "load,unknown",
        "save,gone",
    ];
    for labels in outcomes {
        let name = format!("session_operations_total{{{labels}}}");
        assert_eq!(metrics[&name], 1, "{labels} in {metrics:#?}");
    }
}

/// The recorder that is there at a store's first operation gets its metrics.
#[tokio::test]
async fn a_store_without_a_recorder_measures_nothing() {
    let (_, silent) = store();
    use_all(&silent).await;
    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    use_all(&silent).await;
    assert!(read(&snapshotter).is_empty());
    let (_, heard) = store();
    use_all(&heard).await;
    assert!(!read(&snapshotter).is_empty());
}
