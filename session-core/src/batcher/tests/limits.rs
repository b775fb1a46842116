//! Which operations are sent alone, which in batches, and the limits of a batch.

use super::*;

const LIMITS: BatchLimits = BatchLimits { alone: 2, in_flight: 2, items: 8, bytes: 1000 };

#[test]
fn a_backend_without_batches_has_no_batcher() {
    let none = Memory::new(BatchLimits { items: 0, ..LIMITS });
    let backend: Arc<dyn Backend> = none;
    assert!(Batcher::new(&backend).is_none());
}

#[tokio::test]
async fn sequential_operations_are_sent_alone() {
    let memory = Memory::new(LIMITS);
    let batcher = batcher(&memory);
    let (one, write) = (key(1), Write::Create { ttl: TTL });
    batcher.save(&one, &record(1, 3), write, LIMIT).await.unwrap();
    assert_eq!(batcher.load(&one, LIMIT).await.unwrap().unwrap().record, record(1, 3));
    update(&batcher, 1, 4, LIMIT).await.unwrap();
    batcher.touch(&one, Revision::from_u64(2), TTL, LIMIT).await.unwrap();
    assert!(batcher.destroy(&one, None, LIMIT).await.unwrap());
    for operation in ["create", "load", "update", "touch", "destroy"] {
        assert_eq!(memory.sizes(operation), [0], "{operation}");
    }
}

#[cfg(feature = "metrics")]
#[tokio::test]
async fn the_sizes_of_batches_are_measured() {
    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    let recorder = DebuggingRecorder::new();
    let snapshotter = recorder.snapshotter();
    let _guard = metrics::set_default_local_recorder(&recorder);
    let memory = Memory::new(LIMITS);
    let batcher = batcher(&memory);
    memory.held.send_replace("load");
    let loads = begin_loads(&batcher, 0..20).await;
    memory.held.send_replace("");
    outcomes(loads).await;
    let mut sizes: Vec<usize> = memory.sizes("load");
    sizes.retain(|size| *size > 0);
    assert!(sizes.len() > 1, "{sizes:?}");
    let snapshot = snapshotter.snapshot().into_vec();
    let [(key, _, _, DebugValue::Histogram(measured))] = &snapshot[..] else {
        panic!("{snapshot:?}")
    };
    assert_eq!(key.key().name(), "session_batch_items");
    assert!(key.key().labels().any(|label| label.value() == "load"), "{key:?}");
    let measured: Vec<String> = measured.iter().map(ToString::to_string).collect();
    let sizes: Vec<String> = sizes.iter().map(ToString::to_string).collect();
    assert_eq!(measured, sizes);
}

#[tokio::test]
async fn many_operations_of_each_kind_are_sent_in_batches() {
    let memory = Memory::new(LIMITS);
    let batcher = batcher(&memory);
    let all = |operation: &'static str| {
        let batcher = &batcher;
        async move {
            let tasks: Vec<_> = (0..40)
                .map(|number| {
                    let (batcher, key) = (Arc::clone(batcher), key(number));
                    tokio::spawn(async move {
                        let first = Revision::from_u64(1);
                        match operation {
                            "create" => {
                                let write = Write::Create { ttl: TTL };
                                batcher.save(&key, &record(1, 1), write, LIMIT).await
                            }
                            "load" => batcher.load(&key, LIMIT).await.map(|found| {
                                assert_eq!(found.unwrap().record, record(1, 1));
                            }),
                            "touch" => batcher.touch(&key, first, TTL, LIMIT).await,
                            "update" => update(&batcher, number, 1, LIMIT).await,
                            _ => batcher.destroy(&key, None, LIMIT).await.map(|was| assert!(was)),
                        }
                    })
                })
                .collect();
            outcomes(tasks).await
        }
    };
    for operation in ["create", "load", "touch", "update", "destroy"] {
        assert_eq!(all(operation).await, [None; 40], "{operation}");
        let sizes = memory.sizes(operation);
        assert!(sizes.len() < 14, "{operation}: {sizes:?}");
    }
    assert!(memory.records.lock().unwrap().is_empty());
}

#[tokio::test]
async fn the_items_of_a_batch_and_the_batches_in_flight_are_limited() {
    let memory = Memory::new(LIMITS);
    let batcher = batcher(&memory);
    memory.held.send_replace("load");
    let tasks = begin_loads(&batcher, 0..40).await;
    // Two alone, one in a batch of its own at once, and one batch as soon as a third of all waited.
    let sent = memory.sizes("load");
    assert_eq!((sent.len(), &sent[..3]), (4, &[0, 0, 1][..]), "{sent:?}");
    memory.held.send_replace("");
    assert_eq!(outcomes(tasks).await, [None; 40]);
    let sizes = memory.sizes("load");
    assert!(sizes.iter().all(|size| *size <= 8), "{sizes:?}");
    assert!(sizes.contains(&8), "{sizes:?}");
    assert_eq!(sizes.iter().map(|size| (*size).max(1)).sum::<usize>(), 40, "{sizes:?}");
}

#[tokio::test]
async fn the_bytes_of_a_batch_are_limited_and_a_larger_item_is_sent_alone() {
    let limits = BatchLimits { alone: 0, in_flight: 1, ..LIMITS };
    let memory = Memory::new(limits);
    let batcher = batcher(&memory);
    fill(&memory, 0..9);
    memory.held.send_replace("update");
    // The first one is sent at once, and the others wait behind it.
    let sizes = [1, 600, 400, 1, 5000, 5000, 999, 1, 1];
    let tasks = begin_updates(&batcher, (0..).zip(sizes)).await;
    memory.held.send_replace("");
    assert_eq!(outcomes(tasks).await, [None; 9]);
    assert_eq!(memory.sizes("update"), [1, 2, 1, 1, 1, 2, 1]);
}

#[tokio::test]
async fn a_further_batch_has_a_third_of_all() {
    let limits = BatchLimits { alone: 0, in_flight: 100, items: 64, bytes: 1000 };
    let memory = Memory::new(limits);
    let batcher = batcher(&memory);
    memory.held.send_replace("load");
    let tasks = begin_loads(&batcher, 0..100).await;
    let sizes = memory.sizes("load");
    let mut outstanding = 0;
    for (place, size) in sizes.iter().enumerate() {
        outstanding += size;
        assert!(place == 0 || *size == (outstanding / 3).max(1), "{sizes:?}");
    }
    memory.held.send_replace("");
    assert_eq!(outcomes(tasks).await, [None; 100]);
}

/// The backend checks that no key occurs twice in a batch.
#[tokio::test]
async fn writes_of_one_key_are_sent_one_after_another_in_order() {
    let memory = Memory::new(BatchLimits { alone: 1, in_flight: 1, ..LIMITS });
    let batcher = batcher(&memory);
    fill(&memory, 0..4);
    memory.held.send_replace("update");
    let tasks = begin_updates(&batcher, [0, 1, 2, 2, 3, 2, 3].map(|number| (number, 1))).await;
    memory.held.send_replace("");
    let conflict = Some(ErrorKind::Conflict);
    let expected = [None, None, None, conflict, None, conflict, conflict];
    assert_eq!(outcomes(tasks).await, expected);
    // 0 alone; 1 in a batch of its own; then 2 and 3; 2 and 3; 2.
    assert_eq!(memory.sizes("update"), [0, 1, 2, 2, 1]);
}

#[tokio::test]
async fn loads_of_one_key_share_an_item() {
    let memory = Memory::new(BatchLimits { alone: 0, in_flight: 1, ..LIMITS });
    let batcher = batcher(&memory);
    fill(&memory, 0..3);
    memory.held.send_replace("load");
    let tasks = begin_loads(&batcher, [0, 1, 2, 1, BAD, 1, BAD]).await;
    memory.held.send_replace("");
    for (place, task) in tasks.into_iter().enumerate() {
        match task.await.unwrap() {
            Ok(found) => assert_eq!(found.unwrap().record, record(1, 1), "{place}"),
            Err(error) => {
                assert!(place == 4 || place == 6, "{place}: {error:?}");
                assert_eq!(error.kind(), ErrorKind::Corrupt);
                assert_eq!(error.message(), "a bad item");
            }
        }
    }
    assert_eq!(memory.sizes("load"), [1, 3]);
}

/// The allocator of glibc is fast for blocks of up to about 1 KB, and the futures of callers
/// contain these.
#[tokio::test]
async fn the_futures_are_small() {
    let memory = Memory::new(LIMITS);
    let batcher = batcher(&memory);
    let (one, two, write) = (key(1), record(2, 1), Write::Create { ttl: TTL });
    let sizes = [
        size_of_val(&batcher.load(&one, LIMIT)),
        size_of_val(&batcher.save(&one, &two, write, LIMIT)),
        size_of_val(&batcher.touch(&one, two.revision, TTL, LIMIT)),
        size_of_val(&batcher.destroy(&one, None, LIMIT)),
    ];
    assert!(sizes.iter().all(|size| *size <= 900), "{sizes:?}");
}
