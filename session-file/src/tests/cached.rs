//! Loads of what the kernel has in memory. Where the file system of the temporary directory does not
//! tell, the tests say so and show nothing; ext4, XFS and btrfs must.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use session_core::Loaded;

use super::*;

/// What a load finds without a thread that may block, and so at once.
async fn load_at_once(store: &FileBackend, key: &Key) -> Option<Option<Loaded>> {
    let queues = &store.store.queues;
    // A load also takes a thread for the look at the path, once a second.
    store.store.root.directory().unwrap();
    // A load that needs a thread has to wait for one now.
    let _threads = queues.readers.take_threads();
    // The kernel may be unsure, for instance while something is mounted.
    for _ in 0..10 {
        let load = pin!(store.load(key));
        if let Poll::Ready(found) = load.poll(&mut Context::from_waker(Waker::noop())) {
            return Some(found.unwrap());
        }
    }
    None
}

/// Whether a load after [`load_at_once`] can be expected to need no thread.
#[cfg(target_os = "linux")]
fn tells(store: &FileBackend) -> bool {
    if !store.store.direct.cached_unsupported.load(Ordering::Relaxed) {
        return true;
    }
    let kind = rustix::fs::fstatfs(&*store.store.root.directory().unwrap()).unwrap().f_type;
    // ext4, XFS and btrfs.
    assert!(![0xEF53, 0x5846_5342, 0x9123_683E].contains(&kind), "refused on a disk ({kind:#x})");
    println!("skipped: this file system ({kind:#x}) does not tell what is in memory");
    false
}

#[cfg(not(target_os = "linux"))]
fn tells(_store: &FileBackend) -> bool {
    println!("skipped: only Linux tells what is in memory");
    false
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
    for refused in [[true, false], [true, true], [false, true]] {
        fixture.set_unsupported(refused);
        let at_once = load_at_once(&fixture.store, &key(1, 1)).await;
        assert_eq!(at_once.is_some(), !refused[0] && tells(&fixture.store), "{refused:?}");
        assert_eq!(fixture.store.load(&key(1, 1)).await.unwrap().unwrap().record, saved);
        if refused[0] || tells(&fixture.store) {
            let one_path =
                fixture.store.store.direct.load(&fixture.store.store.root, &key(1, 1)).unwrap();
            assert_eq!(one_path.is_some(), cfg!(target_os = "linux") && !refused[1], "{refused:?}");
        }
    }
}

/// That a directory can't be read is no refusal of the file system.
#[tokio::test]
async fn an_odd_entry_does_not_end_loads_without_a_thread() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    fs::create_dir(fixture.file(&key(1, 2))).unwrap();
    let pipe = fixture.file(&key(1, 3));
    assert!(std::process::Command::new("mkfifo").arg(pipe).status().unwrap().success());
    let before = load_at_once(&fixture.store, &key(1, 1)).await;
    for n in 2..=3 {
        assert_eq!(fixture.load_error(&key(1, n)).await, ErrorKind::Corrupt);
    }
    let after = load_at_once(&fixture.store, &key(1, 1)).await;
    assert_eq!(before.is_some(), after.is_some());
    assert_eq!(tells(&fixture.store), after.is_some());
}

/// Only a file of one's own, or a superuser's eyes, can be read without a note of the time.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_file_of_another_user_is_loaded_without_a_thread() {
    use rustix::thread::{CapabilitySet, capabilities, set_capabilities};

    let fixture = Fixture::new();
    let (key, store) = (key(1, 1), &fixture.store);
    fixture.create(&key, HOUR).await;
    load_at_once(store, &key).await;
    if std::os::unix::fs::chown(fixture.file(&key), Some(1), None).is_err() {
        println!("skipped: only a superuser gives files away");
        return;
    }
    let load = || {
        // It counts for this thread.
        let mut mine = capabilities(None).unwrap();
        mine.effective.remove(CapabilitySet::FOWNER);
        set_capabilities(None, mine).unwrap();
        let at_once = (0..10).find_map(|_| store.store.load_cached(&key));
        let blocking = store.store.direct.load(&store.store.root, &key).unwrap();
        (at_once.is_some(), blocking.is_some())
    };
    let found = std::thread::scope(|scope| scope.spawn(load).join().unwrap());
    if tells(store) {
        assert_eq!(found, (true, true));
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
