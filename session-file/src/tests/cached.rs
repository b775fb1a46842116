//! Loads of what the kernel has in memory. Where the file system of the temporary directory does not
//! tell, the tests say so and show nothing; ext4, XFS and btrfs do.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use session_core::Loaded;

use super::*;

/// What a load finds without a thread that may block, and so at once.
async fn load_at_once(store: &FileBackend, key: &Key) -> Option<Option<Loaded>> {
    let queues = &store.store.queues;
    let mut permits = Vec::new();
    // Whoever needs a thread has to wait for a permit now.
    for _ in 0..64 {
        permits.push(queues.reader().await.unwrap());
    }
    // The kernel may be unsure, for instance while something is mounted.
    for _ in 0..10 {
        let load = pin!(store.load(key));
        if let Poll::Ready(found) = load.poll(&mut Context::from_waker(Waker::noop())) {
            return Some(found.unwrap());
        }
    }
    None
}

fn tells(store: &FileBackend) -> bool {
    let tells = cfg!(target_os = "linux") && !store.store.no_direct.load(Ordering::Relaxed);
    if !tells {
        println!("skipped: this file system does not tell what is in memory");
    }
    tells
}

async fn save(fixture: &Fixture, key: &Key, size: usize) -> Record {
    let record = Record { payload: Bytes::from(vec![b'x'; size]), ..record(1) };
    let write = Write::Create { ttl: HOUR };
    fixture.store.save(key, &record, write).await.unwrap();
    record
}

#[tokio::test]
async fn what_is_in_memory_is_loaded_without_a_thread() {
    let fixture = Fixture::new();
    for (n, size) in [0, 460, 4_000, 5_000, 50_000].into_iter().enumerate() {
        let key = key(1, u8::try_from(n).unwrap());
        let saved = save(&fixture, &key, size).await;
        let found = load_at_once(&fixture.store, &key).await;
        if tells(&fixture.store) {
            let loaded = found.unwrap().unwrap();
            assert_eq!(loaded.record, saved);
            assert!(loaded.expires_in <= HOUR && loaded.expires_in > HOUR / 2);
        }
    }
}

#[tokio::test]
async fn what_expired_or_is_known_not_to_be_there_is_missed_without_a_thread() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), MOMENT).await;
    fixture.create(&key(1, 2), HOUR).await;
    fixture.store.destroy(&key(1, 2), None).await.unwrap();
    sleep(MOMENT).await;
    for n in 1..=3 {
        assert!(fixture.store.load(&key(1, n)).await.unwrap().is_none());
        let found = load_at_once(&fixture.store, &key(1, n)).await;
        if tells(&fixture.store) {
            assert!(found.unwrap().is_none(), "{n}");
        }
    }
}

/// It would keep a thread of the async runtime from everything else.
#[tokio::test]
async fn a_long_session_is_left_to_a_thread() {
    let fixture = Fixture::new();
    let saved = save(&fixture, &key(1, 1), 70_000).await;
    assert!(load_at_once(&fixture.store, &key(1, 1)).await.is_none());
    assert_eq!(fixture.store.load(&key(1, 1)).await.unwrap().unwrap().record, saved);
}

#[tokio::test]
async fn what_the_kernel_does_not_tell_is_left_to_a_thread() {
    let fixture = Fixture::new();
    let saved = save(&fixture, &key(1, 1), 460).await;
    fixture.store.store.no_direct.store(true, Ordering::Relaxed);
    assert!(load_at_once(&fixture.store, &key(1, 1)).await.is_none());
    assert_eq!(fixture.store.load(&key(1, 1)).await.unwrap().unwrap().record, saved);
}

/// A wait for the disk to confirm what was read takes a thread.
#[tokio::test]
async fn what_is_not_confirmed_is_left_to_a_thread() {
    let fixture = Fixture::new();
    let store = FileBackend::open_with(fixture.root(), Durability::Full).unwrap();
    store.save(&key(1, 1), &record(1), Write::Create { ttl: HOUR }).await.unwrap();
    store.store.syncs.will_change(1);
    for n in 1..=2 {
        assert!(load_at_once(&store, &key(1, n)).await.is_none(), "{n}");
        assert_eq!(store.load(&key(1, n)).await.unwrap().is_some(), n == 1);
        // A load does not end the matter.
        assert!(load_at_once(&store, &key(1, n)).await.is_none(), "{n}");
    }
}

#[tokio::test]
async fn a_task_that_only_loads_lets_others_run() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    let other = tokio::spawn(async {});
    for _ in 0..1_000 {
        assert!(fixture.store.load(&key(1, 1)).await.unwrap().is_some());
    }
    assert!(other.is_finished());
}
