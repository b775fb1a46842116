//! Loads from the page cache. If the file system of the temporary directory does not support them,
//! the tests print that they are skipped. ext4, XFS and btrfs must support them.

use std::pin::pin;
use std::task::{Context, Poll, Waker};

use session_core::Loaded;

use super::*;

/// The result of a load without a blocking thread.
async fn load_at_once(store: &FileBackend, key: &Key) -> Option<Option<Loaded>> {
    let queues = &store.store.queues;
    // Once a second a load takes a thread to check the path.
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

/// Whether loads without a thread are supported here.
#[cfg(target_os = "linux")]
fn supports_cached_loads(store: &FileBackend) -> bool {
    if !store.store.direct.cached_unsupported.load(Ordering::Relaxed) {
        return true;
    }
    let kind = rustix::fs::fstatfs(&*store.store.root.directory().unwrap()).unwrap().f_type;
    // ext4, XFS and btrfs.
    assert!(
        ![0xEF53, 0x5846_5342, 0x9123_683E].contains(&kind),
        "not supported on a disk ({kind:#x})"
    );
    println!("skipped: this file system ({kind:#x}) does not support loads from the page cache");
    false
}

#[cfg(not(target_os = "linux"))]
fn supports_cached_loads(_store: &FileBackend) -> bool {
    println!("skipped: only Linux supports loads from the page cache");
    false
}

async fn save(fixture: &Fixture, key: &Key, size: usize) -> Record {
    let record = Record { payload: Bytes::from(vec![b'x'; size]), ..record(1) };
    let write = Write::Create { ttl: HOUR };
    fixture.store.save(key, &record, write).await.unwrap();
    record
}

#[tokio::test]
async fn cached_files_are_loaded_without_a_thread() {
    let fixture = Fixture::new();
    for (n, size) in [0, 460, 4_000, 5_000, 50_000].into_iter().enumerate() {
        let key = key(1, u8::try_from(n).unwrap());
        let saved = save(&fixture, &key, size).await;
        let found = load_at_once(&fixture.store, &key).await;
        if supports_cached_loads(&fixture.store) {
            let loaded = found.unwrap().unwrap();
            assert_eq!(loaded.record, saved);
            assert!(loaded.expires_in <= HOUR && loaded.expires_in > HOUR / 2);
        }
    }
}

#[tokio::test]
async fn expired_and_missing_sessions_are_not_found_without_a_thread() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), MOMENT).await;
    fixture.create(&key(1, 2), HOUR).await;
    fixture.store.destroy(&key(1, 2), None).await.unwrap();
    sleep(MOMENT).await;
    for n in 1..=3 {
        assert!(fixture.store.load(&key(1, n)).await.unwrap().is_none());
        let found = load_at_once(&fixture.store, &key(1, n)).await;
        if supports_cached_loads(&fixture.store) {
            assert!(found.unwrap().is_none(), "{n}");
        }
    }
}

/// It would block a thread of the async runtime for too long.
#[tokio::test]
async fn a_large_session_is_loaded_on_a_thread() {
    let fixture = Fixture::new();
    let saved = save(&fixture, &key(1, 1), 70_000).await;
    assert!(load_at_once(&fixture.store, &key(1, 1)).await.is_none());
    assert_eq!(fixture.store.load(&key(1, 1)).await.unwrap().unwrap().record, saved);
}

#[tokio::test]
async fn files_that_are_not_cached_are_loaded_on_a_thread() {
    let fixture = Fixture::new();
    let saved = save(&fixture, &key(1, 1), 460).await;
    for refused in [[true, false], [true, true], [false, true]] {
        fixture.set_unsupported(refused);
        let at_once = load_at_once(&fixture.store, &key(1, 1)).await;
        assert_eq!(
            at_once.is_some(),
            !refused[0] && supports_cached_loads(&fixture.store),
            "{refused:?}"
        );
        assert_eq!(fixture.store.load(&key(1, 1)).await.unwrap().unwrap().record, saved);
        if refused[0] || supports_cached_loads(&fixture.store) {
            let one_path =
                fixture.store.store.direct.load(&fixture.store.store.root, &key(1, 1)).unwrap();
            assert_eq!(one_path.is_some(), cfg!(target_os = "linux") && !refused[1], "{refused:?}");
        }
    }
}

/// An error for a directory does not mean that the file system does not support direct loads.
#[tokio::test]
async fn an_unusual_entry_does_not_end_loads_without_a_thread() {
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
    assert_eq!(supports_cached_loads(&fixture.store), after.is_some());
}

/// Only the owner of a file, or root, can read it without an update of the access time.
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
        // The capability is per thread.
        let mut mine = capabilities(None).unwrap();
        mine.effective.remove(CapabilitySet::FOWNER);
        set_capabilities(None, mine).unwrap();
        let at_once = (0..10).find_map(|_| store.store.load_cached(&key));
        let blocking = store.store.direct.load(&store.store.root, &key).unwrap();
        (at_once.is_some(), blocking.is_some())
    };
    let found = std::thread::scope(|scope| scope.spawn(load).join().unwrap());
    if supports_cached_loads(store) {
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
