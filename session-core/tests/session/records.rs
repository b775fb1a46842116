//! `Records`: the interface for adapters to other libraries.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::time::{Duration, Instant};

use crate::faulty::{Fault, Faulty};
use crate::support::{config, with_config};
use session_core::{Bytes, Error, ErrorKind, Key, Record, Records, Revision, SessionId};

const TTL: Duration = Duration::from_secs(60);

fn records() -> (Arc<Faulty>, Records) {
    let (backend, store) = with_config(config().max_record_size(1_000));
    (backend, store.records("other").unwrap())
}

fn record(payload: &'static str) -> Record {
    Record { payload: payload.into(), revision: Revision::random().unwrap(), owner: None }
}

async fn payload(records: &Records, key: &Key) -> Option<Bytes> {
    records.load(key).await.unwrap().map(|found| found.record.payload)
}

/// A record with the payload "first".
async fn created(records: &Records) -> Key {
    records.create([records.key(b"id")], &record("first"), TTL).await.unwrap()
}

fn refused(error: &Error, kind: ErrorKind) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.nothing_was_written(), "{error}");
}

#[tokio::test]
async fn a_record_is_created_replaced_and_destroyed() {
    let (backend, records) = records();
    let key = created(&records).await;
    assert_eq!(key, records.key(b"id"));
    let found = records.load(&key).await.unwrap().unwrap();
    assert_eq!(found.record.payload, "first");
    assert!(found.expires_in > TTL - Duration::from_secs(20));
    records.replace(&key, &record("second"), 2 * TTL).await.unwrap();
    let found = records.load(&key).await.unwrap().unwrap();
    assert_eq!(found.record.payload, "second");
    assert!(found.expires_in > TTL);
    records.destroy(&key).await.unwrap();
    assert_eq!(payload(&records, &key).await, None);
    records.destroy(&key).await.unwrap();
    let calls = ["save", "load", "load", "save", "load", "destroy", "load", "destroy"];
    assert_eq!(backend.take_calls(), calls);
    refused(&records.replace(&key, &record("third"), TTL).await.unwrap_err(), ErrorKind::Gone);
    assert_eq!(payload(&records, &key).await, None);
}

#[test]
fn keys_of_libraries_purposes_and_sessions_differ() {
    let (_, store) = with_config(config());
    let (_, admin) = with_config(config().purpose("admin"));
    let (id, text) = ([7; 32], &[7; 32][..]);
    let keys: HashSet<Key> = [
        SessionId::from_bytes(id).key(),
        SessionId::from_bytes(id).key_for("admin"),
        store.records("other").unwrap().key(text),
        store.records("another").unwrap().key(text),
        store.records("other").unwrap().key(&text[1..]),
        store.records("").unwrap().key(text),
        admin.records("other").unwrap().key(text),
        admin.records("").unwrap().key(text),
        store.records("admin").unwrap().key(text),
    ]
    .into();
    assert_eq!(keys.len(), 9);
    assert_eq!(store.records("a").unwrap().key(b"b"), store.records("a").unwrap().key(b"b"));
    // Stored sessions depend on these keys.
    assert_eq!(
        store.records("tower-sessions").unwrap().key(&[1; 16]).to_hex(),
        "5aed9cf21de28bd17a48afc1fdef6d8afcdde1fdd47d8467fa29cd68485f04f9"
    );
}

#[tokio::test]
async fn a_create_takes_the_first_key_that_is_free() {
    let (_, records) = records();
    let taken = created(&records).await;
    let free = records.key(b"free");
    assert_eq!(records.create([taken, free], &record("new"), TTL).await.unwrap(), free);
    assert_eq!(payload(&records, &free).await.unwrap(), "new");
    let error = records.create([taken, free], &record("newer"), TTL).await.unwrap_err();
    refused(&error, ErrorKind::AlreadyExists);
    let error = records.create([], &record("newer"), TTL).await.unwrap_err();
    refused(&error, ErrorKind::AlreadyExists);
    assert_eq!(payload(&records, &taken).await.unwrap(), "first");
    assert_eq!(payload(&records, &free).await.unwrap(), "new");
}

#[tokio::test]
async fn a_create_whose_answer_is_lost_is_not_a_collision() {
    for fault in [Fault::LoseAnswer, Fault::SentTwice, Fault::Hang] {
        let (backend, records) = records();
        let keys = [records.key(b"one"), records.key(b"two")];
        backend.fail(&[fault]);
        let key = records.create(keys, &record("new"), TTL).await.unwrap();
        assert_eq!(key, keys[0], "{fault:?}");
        assert_eq!(backend.take_calls(), ["save", "load"], "{fault:?}");
        assert_eq!(backend.len(), 1);
    }
}

#[tokio::test]
async fn a_create_that_may_still_arrive_gets_another_key() {
    let (backend, records) = records();
    let keys = [records.key(b"one"), records.key(b"two"), records.key(b"three")];
    backend.fail(&[Fault::Late]);
    let key = records.create(keys, &record("new"), TTL).await.unwrap();
    assert_eq!(key, keys[1]);
    records.destroy(&key).await.unwrap();
    // A record whose key was returned to no caller.
    assert!(backend.arrive());
    assert_eq!(payload(&records, &key).await, None);

    // Three attempts, even with more keys.
    backend.take_calls();
    backend.fail(&[Fault::LoseRequest; 4]);
    let keys = (0_u8..9).map(|i| records.key(&[i]));
    let error = records.create(keys, &record("new"), TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!error.nothing_was_written());
    assert_eq!(backend.take_calls().len(), 6);
}

#[tokio::test]
async fn a_refusal_costs_two_attempts() {
    let (backend, records) = records();
    let key = created(&records).await;
    backend.take_calls();
    backend.fail(&[Fault::Refuse; 9]);
    let error = records.create([records.key(b"new")], &record("new"), TTL).await.unwrap_err();
    refused(&error, ErrorKind::Unavailable);
    assert_eq!(backend.take_calls(), ["save", "save"]);
    let error = records.replace(&key, &record("new"), TTL).await.unwrap_err();
    refused(&error, ErrorKind::Unavailable);
    assert_eq!(backend.take_calls(), ["load", "save", "save"]);
    let error = records.destroy(&key).await.unwrap_err();
    refused(&error, ErrorKind::Unavailable);
    assert_eq!(backend.take_calls(), ["destroy", "destroy"]);
    backend.fail(&[]);
    assert_eq!(payload(&records, &key).await.unwrap(), "first");
}

#[tokio::test]
async fn a_replacement_whose_answer_is_lost_is_found_or_sent_again() {
    for (fault, calls) in [
        (Fault::LoseAnswer, &["load", "save", "load"][..]),
        (Fault::LoseRequest, &["load", "save", "load", "save"]),
        (Fault::SentTwice, &["load", "save", "load"]),
        (Fault::Hang, &["load", "save", "load"]),
    ] {
        let (backend, records) = records();
        let key = created(&records).await;
        backend.take_calls();
        backend.fail(&[fault]);
        records.replace(&key, &record("second"), TTL).await.unwrap();
        assert_eq!(backend.take_calls(), calls, "{fault:?}");
        assert_eq!(payload(&records, &key).await.unwrap(), "second", "{fault:?}");
    }
    // Until it has been sent three times.
    let (backend, records) = records();
    let key = created(&records).await;
    backend.take_calls();
    backend.fail(&[Fault::LoseRequest; 9]);
    let error = records.replace(&key, &record("second"), TTL).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(!error.nothing_was_written());
    assert_eq!(backend.take_calls().len(), 7);
}

#[tokio::test]
async fn the_later_of_two_replacements_wins() {
    let (backend, records) = records();
    let key = created(&records).await;
    // Another replacement writes between the load and the write.
    let other = records.clone();
    backend.before("save", 1, async move {
        other.replace(&key, &record("other"), TTL).await.unwrap();
    });
    records.replace(&key, &record("ours"), TTL).await.unwrap();
    assert_eq!(payload(&records, &key).await.unwrap(), "ours");

    // The record was written and then replaced, before its lost answer is found out: it is not
    // written again.
    let other = records.clone();
    backend.fail(&[Fault::LoseAnswer]);
    backend.after("save", 1, async move {
        other.replace(&key, &record("other"), TTL).await.unwrap();
    });
    records.replace(&key, &record("ours"), TTL).await.unwrap();
    assert_eq!(payload(&records, &key).await.unwrap(), "other");
}

/// After repeated conflicts a replacement succeeds without a write, as if it had been overwritten.
#[tokio::test]
async fn a_replacement_after_repeated_conflicts_counts_as_overwritten() {
    let (backend, records) = records();
    let key = created(&records).await;
    backend.take_calls();
    // The saves of the others are counted, too.
    for nth in [1, 3, 5, 7] {
        let other = records.clone();
        backend.before("save", nth, async move {
            other.replace(&key, &record("other"), TTL).await.unwrap();
        });
    }
    records.replace(&key, &record("ours"), TTL).await.unwrap();
    assert_eq!(backend.take_calls().len(), 16);
    assert_eq!(payload(&records, &key).await.unwrap(), "other");
}

#[tokio::test]
async fn parallel_replacements_all_succeed() {
    let (_, records) = records();
    let key = created(&records).await;
    let tasks: Vec<_> = (0..32)
        .map(|_| {
            let records = records.clone();
            tokio::spawn(async move { records.replace(&key, &record("one"), TTL).await })
        })
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    assert_eq!(payload(&records, &key).await.unwrap(), "one");
}

/// A replacement never revives a record that is destroyed at any moment.
#[tokio::test]
async fn a_destroyed_record_is_never_brought_back() {
    let mut destroyed = 0;
    for fault in [Fault::None, Fault::LoseAnswer, Fault::LoseRequest, Fault::SentTwice] {
        for (call, nth) in [("load", 1), ("save", 1), ("load", 2), ("save", 2)] {
            let (backend, records) = records();
            let key = created(&records).await;
            let (ended, same) = (Arc::new(AtomicBool::new(false)), Arc::clone(&backend));
            let flag = Arc::clone(&ended);
            backend.fail(&[fault]);
            backend.before(call, nth, async move { flag.store(same.remove(&key, None), SeqCst) });
            let outcome = records.replace(&key, &record("second"), TTL).await;
            if ended.load(SeqCst) {
                destroyed += 1;
                refused(&outcome.unwrap_err(), ErrorKind::Gone);
                assert_eq!(payload(&records, &key).await, None, "{fault:?} {call} {nth}");
            }
        }
    }
    assert!(destroyed >= 11, "{destroyed}");
    // The request is delayed and arrives after the record was destroyed.
    let (backend, records) = records();
    let key = created(&records).await;
    backend.fail(&[Fault::Late]);
    records.replace(&key, &record("second"), TTL).await.unwrap();
    records.destroy(&key).await.unwrap();
    assert!(!backend.arrive());
    assert_eq!(payload(&records, &key).await, None);
}

#[tokio::test]
async fn the_lost_answer_of_a_destruction_is_found_out() {
    for (fault, calls) in [
        (Fault::LoseAnswer, &["destroy", "load"][..]),
        (Fault::LoseRequest, &["destroy", "load", "destroy"]),
        (Fault::Refuse, &["destroy", "destroy"]),
    ] {
        let (backend, records) = records();
        let key = created(&records).await;
        backend.take_calls();
        backend.fail(&[fault]);
        records.destroy(&key).await.unwrap();
        assert_eq!(backend.take_calls(), calls, "{fault:?}");
        assert_eq!(payload(&records, &key).await, None);
    }
    let (backend, records) = records();
    let key = created(&records).await;
    backend.fail(&[Fault::LoseRequest; 9]);
    assert_eq!(records.destroy(&key).await.unwrap_err().kind(), ErrorKind::Unavailable);
    backend.fail(&[]);
    assert_eq!(payload(&records, &key).await.unwrap(), "first");
}

#[tokio::test]
async fn every_operation_ends_within_the_deadline() {
    let (backend, records) = records();
    let key = created(&records).await;
    backend.silent.store(true, SeqCst);
    let keys = (0_u8..9).map(|i| records.key(&[i]));
    let begins = Instant::now();
    for error in [
        records.load(&key).await.unwrap_err(),
        records.create(keys, &record("new"), TTL).await.unwrap_err(),
        records.replace(&key, &record("new"), TTL).await.unwrap_err(),
        records.destroy(&key).await.unwrap_err(),
    ] {
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(!error.nothing_was_written());
    }
    assert!(begins.elapsed() < Duration::from_secs(4), "{:?}", begins.elapsed());
}

#[tokio::test]
async fn a_record_that_no_store_accepts_is_refused() {
    let (_, records) = records();
    let key = created(&records).await;
    let large = Record { payload: vec![0; 1_001].into(), ..record("") };
    let error = records.replace(&key, &large, TTL).await.unwrap_err();
    refused(&error, ErrorKind::TooLarge);
    let error = records.create([records.key(b"new")], &large, TTL).await.unwrap_err();
    refused(&error, ErrorKind::TooLarge);
    assert_eq!(
        error.to_string(),
        "faulty: create: the record has 1001 bytes; max_record_size is 1000"
    );
    assert_eq!(payload(&records, &key).await.unwrap(), "first");
}
