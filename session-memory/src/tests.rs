//! Tests of this store only. The contract itself is proven by `session-conformance`.

use std::future::{Future as _, poll_fn};
use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Barrier};
use std::thread::sleep;
use std::time::Duration;

use session_core::{Backend as _, Bytes, ErrorKind, Key, Record, Result, Revision, Update, Write};

use crate::MemoryBackend;

const HOUR: Duration = Duration::from_secs(3600);
const MOMENT: Duration = Duration::from_millis(100);

/// Distributed over all shards, as digests are.
fn key(number: u64) -> Key {
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&number.wrapping_mul(0x9E37_79B9_7F4A_7C15).to_be_bytes());
    bytes[24..].copy_from_slice(&number.to_be_bytes());
    Key::from_bytes(bytes)
}

/// In the same shard, which is chosen by the first byte.
fn neighbour(number: u64) -> Key {
    let mut bytes = *key(number).as_bytes();
    bytes[0] = 7;
    Key::from_bytes(bytes)
}

fn record(revision: u64) -> Record {
    Record {
        payload: Bytes::from_static(b"{}"),
        revision: Revision::from_u64(revision),
        owner: None,
    }
}

fn update(expected: u64, ttl: Option<Duration>) -> Update {
    Update { expected: Revision::from_u64(expected), ttl }
}

async fn create(store: &MemoryBackend, number: u64, ttl: Duration) -> Result<()> {
    store.save(&key(number), &record(1), Write::Create { ttl }).await
}

async fn touch(store: &MemoryBackend, number: u64, ttl: Duration) -> Result<()> {
    store.touch(&key(number), Revision::from_u64(1), ttl).await
}

#[tokio::test]
async fn len_counts_what_is_in_memory() {
    let store = MemoryBackend::new();
    assert!(store.is_empty());
    create(&store, 1, HOUR).await.unwrap();
    assert_eq!((store.len(), store.is_empty()), (1, false));
    assert!(store.destroy(&key(1), None).await.unwrap());
    assert_eq!((store.len(), store.is_empty()), (0, true));
}

#[tokio::test]
async fn full_store_refuses_new_sessions_and_keeps_the_live_ones() {
    let store = MemoryBackend::new().max_sessions(2);
    create(&store, 1, HOUR).await.unwrap();
    create(&store, 2, HOUR).await.unwrap();
    let refused = create(&store, 3, HOUR).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Unavailable);
    assert!(refused.nothing_was_written());
    assert!(refused.message().contains("nothing was written"));
    assert!(store.load(&key(3)).await.unwrap().is_none());

    store.save(&key(1), &record(2), Write::Update(update(1, None))).await.unwrap();
    touch(&store, 2, HOUR).await.unwrap();
    assert_eq!(store.len(), 2);
    assert_eq!(store.load(&key(1)).await.unwrap().unwrap().record, record(2));

    assert!(store.destroy(&key(2), None).await.unwrap());
    create(&store, 4, HOUR).await.unwrap();
    assert!(create(&store, 5, HOUR).await.is_err());
}

#[tokio::test]
async fn full_store_removes_expired_sessions_before_it_refuses() {
    let store = MemoryBackend::new().max_sessions(100);
    for number in 0..100 {
        create(&store, number, MOMENT).await.unwrap();
    }
    // Half of them are renewed: the collection updates their place instead of removing them.
    for number in 0..50 {
        touch(&store, number, HOUR).await.unwrap();
    }
    sleep(MOMENT);
    for number in 100..150 {
        create(&store, number, HOUR).await.unwrap();
    }
    assert!(create(&store, 150, HOUR).await.is_err());
    for number in (0..50).chain(100..150) {
        assert!(store.load(&key(number)).await.unwrap().is_some());
    }
}

/// A create examines some renewed sessions, then looks for a place again, and finds the expired session.
#[tokio::test]
async fn full_store_finds_an_expired_session_behind_many_renewed_ones() {
    const RENEWED: u64 = 1_500;
    let store = MemoryBackend::new().max_sessions(1_501);
    let create = async |key: Key, ttl| store.save(&key, &record(1), Write::Create { ttl }).await;
    for number in 0..RENEWED {
        create(neighbour(number), MOMENT * 5).await.unwrap();
        store.touch(&neighbour(number), Revision::from_u64(1), HOUR).await.unwrap();
    }
    create(neighbour(RENEWED), MOMENT * 6).await.unwrap();
    sleep(MOMENT * 6);
    create(neighbour(RENEWED + 1), HOUR).await.unwrap();
    assert!(create(neighbour(RENEWED + 2), HOUR).await.is_err());
    store.assert_consistent();
}

/// The suite skips its cases for a store without an owner index.
#[test]
fn sessions_of_an_owner_can_be_found() {
    assert!(MemoryBackend::new().owner_index().is_some());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn limit_is_exact_when_many_create_at_once() {
    let store = Arc::new(MemoryBackend::new().max_sessions(500));
    let tasks: Vec<_> = (0..8)
        .map(|task| {
            let store = Arc::clone(&store);
            tokio::spawn(async move {
                let mut created = 0;
                for number in 0..200 {
                    created += u32::from(create(&store, task * 200 + number, HOUR).await.is_ok());
                    tokio::task::yield_now().await;
                }
                created
            })
        })
        .collect();
    let mut created = 0;
    for task in tasks {
        created += task.await.unwrap();
    }
    assert_eq!(created, 500);
    assert_eq!(store.len(), 500);
    store.assert_consistent();
}

#[tokio::test]
async fn a_shorter_life_is_collected_on_time_and_a_longer_one_is_not() {
    let store = MemoryBackend::new();
    create(&store, 1, HOUR).await.unwrap();
    create(&store, 2, MOMENT).await.unwrap();
    touch(&store, 1, MOMENT).await.unwrap();
    touch(&store, 2, HOUR).await.unwrap();
    sleep(MOMENT);
    assert_eq!(store.gc(100).await.unwrap(), 1);
    assert!(store.load(&key(2)).await.unwrap().is_some());
    assert_eq!(store.len(), 1);
    store.assert_consistent();
}

#[tokio::test]
async fn a_touch_that_expects_another_revision_changes_nothing() {
    let store = MemoryBackend::new();
    create(&store, 1, MOMENT).await.unwrap();
    store.save(&key(1), &record(2), Write::Update(update(1, None))).await.unwrap();
    assert_eq!(touch(&store, 1, HOUR).await.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(store.load(&key(1)).await.unwrap().unwrap().expires_in <= MOMENT);
    assert_eq!(touch(&store, 2, HOUR).await.unwrap_err().kind(), ErrorKind::Gone);
    sleep(MOMENT);
    assert_eq!(touch(&store, 1, HOUR).await.unwrap_err().kind(), ErrorKind::Gone);
    store.assert_consistent();
}

#[tokio::test]
async fn sessions_whose_keys_share_a_prefix_are_all_collected() {
    let store = MemoryBackend::new();
    for last in 0..50 {
        // In the same shard, with the same hash.
        let mut bytes = [9; 32];
        bytes[30] = last;
        let ttl = if last % 2 == 0 { MOMENT } else { HOUR };
        store.save(&Key::from_bytes(bytes), &record(1), Write::Create { ttl }).await.unwrap();
    }
    sleep(MOMENT);
    assert_eq!(store.gc(100).await.unwrap(), 25);
    assert_eq!(store.len(), 25);
    store.assert_consistent();
}

/// The index has each session once, after any number of touches, updates and destructions, so it
/// can't grow beyond the map.
#[tokio::test]
async fn every_session_is_indexed_exactly_once() {
    let store = MemoryBackend::new();
    let (mut next, mut live) = (0, Vec::new());
    for step in 0_u64..20_000 {
        let long = Duration::from_millis(1 + step % 5_000);
        match step.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 61 {
            0..=2 => {
                create(&store, next, long).await.unwrap();
                live.push(next);
                next += 1;
            }
            3 => {
                if let Some(number) = live.pop() {
                    store.destroy(&key(number), None).await.unwrap();
                }
            }
            4 => {
                if let Some(number) = live.last() {
                    let _ = store
                        .save(&key(*number), &record(1), Write::Update(update(1, Some(long))))
                        .await;
                }
            }
            5 => {
                // On a live session, an expired one or none.
                if let Some(number) = live.get(live.len() / 3) {
                    let _ = create(&store, *number, long).await;
                }
            }
            6 => {
                store.gc(3).await.unwrap();
            }
            _ => {
                if let Some(number) = live.get(live.len() / 2) {
                    let _ = touch(&store, *number, long).await;
                }
            }
        }
    }
    assert!(store.len() > 100);
    store.assert_consistent();
}

#[tokio::test]
async fn a_session_does_not_keep_the_callers_buffer_alive() {
    struct Buffer(Vec<u8>, Arc<AtomicBool>);
    impl AsRef<[u8]> for Buffer {
        fn as_ref(&self) -> &[u8] {
            &self.0
        }
    }
    impl Drop for Buffer {
        fn drop(&mut self) {
            self.1.store(true, Ordering::Relaxed);
        }
    }

    let freed = Arc::new(AtomicBool::new(false));
    let large = Bytes::from_owner(Buffer(vec![7; 1 << 20], Arc::clone(&freed)));
    let store = MemoryBackend::new();
    let small = Record { payload: large.slice(10..20), ..record(1) };
    store.save(&key(1), &small, Write::Create { ttl: HOUR }).await.unwrap();
    drop((large, small));
    assert!(freed.load(Ordering::Relaxed));
    let loaded = store.load(&key(1)).await.unwrap().unwrap();
    assert_eq!(loaded.record.payload, [7; 10][..]);
}

#[tokio::test]
async fn debug_shows_numbers_only() {
    let store = MemoryBackend::new().max_sessions(5);
    create(&store, 1, HOUR).await.unwrap();
    assert_eq!(format!("{store:?}"), "MemoryBackend { sessions: 1, max_sessions: 5 }");
}

/// Two creates find a full store of expired sessions. Neither may be refused while the other one
/// frees the place.
#[test]
fn concurrent_creates_in_a_full_store_of_expired_sessions_both_succeed() {
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let lives = Duration::from_millis(5);
    for _ in 0..50 {
        let store = MemoryBackend::new().max_sessions(64);
        for number in 0..64 {
            let _ = runtime.block_on(create(&store, number, lives));
        }
        sleep(lives);
        let start = Barrier::new(2);
        std::thread::scope(|scope| {
            for number in 100..102 {
                let (store, start) = (&store, &start);
                scope.spawn(move || {
                    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                    start.wait();
                    runtime.block_on(create(store, number, HOUR)).unwrap();
                });
            }
        });
        store.assert_consistent();
    }
}

/// Other tasks run after each batch, with any number of due sessions in one shard.
#[tokio::test]
async fn gc_lets_others_run() {
    let store = MemoryBackend::new();
    for number in 0..20_000 {
        let key = neighbour(number);
        store.save(&key, &record(1), Write::Create { ttl: MOMENT }).await.unwrap();
        if number % 2 == 0 {
            let _ = store.touch(&key, Revision::from_u64(1), HOUR).await;
        }
    }
    sleep(MOMENT);
    let mut gc = pin!(store.gc(usize::MAX));
    let mut polls = 0;
    let removed = poll_fn(|context| {
        polls += 1;
        gc.as_mut().poll(context)
    });
    let removed = removed.await.unwrap();
    assert!(removed >= 10_000 && polls > 20_000 / 128, "{removed} in {polls} polls");
    store.assert_consistent();
}
