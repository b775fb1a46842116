//! Which files gc removes, and which it keeps.

use super::*;
use crate::bucket::OPENED;

#[tokio::test]
async fn gc_leaves_foreign_files_alone() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), MOMENT).await;
    let content = fs::read(fixture.file(&key(1, 1))).unwrap();
    let expired_name = key(1, 1).to_hex();
    let foreign = [
        "notes.txt".to_owned(),
        "01/notes.txt".to_owned(),
        format!("01/{}", expired_name.to_uppercase()),
        format!("01/{}.bak", expired_name),
        format!("01/{}", key(2, 1).to_hex()),
        format!("01/{}", key(1, 2).to_hex()),
    ];
    // Keys of digits only have no upper case.
    let foreign: Vec<_> = foreign
        .iter()
        .filter(|name| **name != format!("01/{expired_name}"))
        .map(|name| fixture.root().join(name))
        .collect();
    for path in &foreign {
        fs::write(path, &content).unwrap();
    }
    sleep(MOMENT).await;
    for store in [&fixture.store, &open(fixture.directory.path())] {
        store.gc(100).await.unwrap();
    }
    assert!(!fixture.file(&key(1, 1)).exists());
    for path in foreign {
        assert!(path.exists(), "{}", path.display());
    }
}

/// A process collects its own sessions without reading other files. The next process collects them
/// after a sweep.
#[tokio::test]
async fn gc_finds_expired_sessions_of_its_own_and_other_processes_in_small_batches() {
    let fixture = Fixture::new();
    for n in 0..=255 {
        fixture.create(&key(n, 1), MOMENT).await;
        fixture.create(&key(n, 2), HOUR).await;
        if n == 9 {
            fixture.touch(&key(n, 1), HOUR).await;
        }
    }
    sleep(MOMENT).await;
    let other = open(fixture.directory.path());
    let (mut mine, mut others) = (0, 0);
    for _ in 0..13 {
        mine += fixture.store.gc(10).await.unwrap();
        others += other.gc(10).await.unwrap();
    }
    assert_eq!((mine, others), (130, 125));
    for n in 0..=255 {
        assert_eq!(fixture.file(&key(n, 1)).exists(), n == 9);
        assert!(fixture.file(&key(n, 2)).exists());
    }

    // Both have completed a sweep, and now also find later sessions.
    fixture.create(&key(3, 3), MOMENT).await;
    sleep(MOMENT).await;
    assert_eq!(fixture.store.gc(10).await.unwrap(), 1);
}

/// Between two sweeps, which are an hour apart, the cost is proportional to the due sessions, not
/// to the live ones.
#[tokio::test]
async fn gc_reads_all_files_once_and_then_only_due_ones() {
    let fixture = Fixture::new();
    let collect = |expected| {
        let before = OPENED.get();
        assert_eq!(fixture.store.store.collect(1_000).unwrap(), expected);
        OPENED.get() - before
    };
    for n in 0..=255 {
        fixture.create(&key(n, 1), HOUR).await;
    }
    assert_eq!(collect(0), 256);
    for expired in 0..3 {
        for n in 0..expired {
            fixture.create(&key(n, 2), MOMENT).await;
        }
        sleep(MOMENT).await;
        assert_eq!(collect(u64::from(expired)), usize::from(expired));
    }
}

/// A remembered expiry is only a hint; the file counts. Another process renewed the session
/// meanwhile.
#[tokio::test]
async fn gc_never_removes_a_session_that_was_renewed_meanwhile() {
    let fixture = Fixture::new();
    fixture.store.gc(10).await.unwrap();
    let short = Duration::from_secs(1);
    fixture.create(&key(1, 1), short).await;
    fixture.create(&key(1, 2), short).await;
    let other = open(fixture.directory.path());
    other.touch(&key(1, 1), Revision::from_u64(1), HOUR).await.unwrap();
    sleep(short).await;
    assert_eq!(fixture.store.gc(10).await.unwrap(), 1);
    assert!(fixture.store.load(&key(1, 1)).await.unwrap().is_some());
}

/// One bucket has more due sessions than are remembered.
#[tokio::test]
async fn gc_removes_all_expired_sessions_of_a_large_bucket() {
    let fixture = Fixture::new();
    let crowd = |n: u16| {
        let mut bytes = [1; 32];
        bytes[30..].copy_from_slice(&n.to_be_bytes());
        Key::from_bytes(bytes)
    };
    fixture.store.gc(1).await.unwrap();
    for n in 0..2_500 {
        fixture.create(&crowd(n), MOMENT).await;
    }
    fixture.create(&crowd(9_999), HOUR).await;
    sleep(MOMENT).await;
    assert_eq!(fixture.store.gc(2_400).await.unwrap(), 2_400);
    assert_eq!(fixture.store.gc(2_400).await.unwrap(), 100);
    assert!(fixture.store.load(&crowd(9_999)).await.unwrap().is_some());
}

#[tokio::test]
async fn gc_continues_after_a_bad_entry() {
    let fixture = Fixture::new();
    for n in [0x10, 0x80, 0x90] {
        fixture.create(&key(n, 1), MOMENT).await;
    }
    fs::create_dir(fixture.root().join("80/.tmp")).unwrap();
    fs::write(fixture.root().join("50"), "").unwrap();
    sleep(MOMENT).await;
    assert_eq!(fixture.store.gc(10).await.unwrap(), 3);
    assert_eq!(fixture.store.gc(10).await.unwrap_err().kind(), ErrorKind::Unavailable);
    fixture.create(&key(0x91, 1), MOMENT).await;
    sleep(MOMENT).await;
    assert_eq!(fixture.store.gc(10).await.unwrap(), 1);
}

/// More damaged files than are remembered for a bucket.
#[tokio::test]
async fn damaged_sessions_do_not_prevent_the_collection_of_others() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    let mut damaged = fs::read(fixture.file(&key(1, 1))).unwrap();
    damaged[9] ^= 0xFF;
    for n in 0..1_100_u16 {
        let mut bytes = [1; 32];
        bytes[..2].copy_from_slice(&[1, 2]);
        bytes[30..].copy_from_slice(&n.to_be_bytes());
        let key = Key::from_bytes(bytes);
        fs::write(fixture.file(&key), &damaged).unwrap();
    }
    fixture.create(&key(1, 2), MOMENT).await;
    fixture.create(&key(2, 1), MOMENT).await;
    sleep(MOMENT).await;
    assert_eq!(fixture.store.gc(1_000).await.unwrap(), 2);
    assert_eq!(fs::read_dir(fixture.root().join("01")).unwrap().count(), 1_101);
}

/// A store on a disk that needs `delay` for the header of a file, with `count` expired sessions of
/// another process in a few buckets.
async fn slow(delay: u64, time_limit: u64, count: u16) -> (Fixture, FileBackend) {
    let fixture = Fixture::new();
    for n in 0..count {
        let mut bytes = [u8::try_from(n % 4).unwrap(); 32];
        bytes[30..].copy_from_slice(&n.to_be_bytes());
        fixture.create(&Key::from_bytes(bytes), MOMENT).await;
    }
    sleep(MOMENT).await;
    let mut store = open(fixture.directory.path());
    let collector = &mut change(&mut store).collector;
    collector.slow_disk.delay = Duration::from_millis(delay);
    collector.time_limit = Duration::from_millis(time_limit);
    (fixture, store)
}

/// The futures were dropped, which does not end the collections. They must not accumulate.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn collections_whose_futures_were_dropped_run_one_at_a_time_and_delay_no_writer() {
    let (_fixture, store) = slow(20, 2_000, 400).await;
    for _ in 0..80 {
        let collected = tokio::time::timeout(Duration::from_millis(1), store.gc(1_000)).await;
        assert!(collected.is_err());
    }
    let slow_disk = &store.store.collector.slow_disk;
    assert_eq!(slow_disk.running.load(Ordering::SeqCst), 1);
    // On all threads of writers; each would be one of a collection otherwise.
    let saves: Vec<_> = (0..64)
        .map(|n| {
            let store = store.clone();
            let create = Write::Create { ttl: HOUR };
            tokio::spawn(async move { store.save(&key(100 + n, 1), &record(1), create).await })
        })
        .collect();
    for save in saves {
        save.await.unwrap().unwrap();
    }
    assert_eq!(
        slow_disk.running.load(Ordering::SeqCst),
        1,
        "the writes were not beside a collection"
    );
    assert_eq!(slow_disk.most.load(Ordering::SeqCst), 1);
}

#[tokio::test]
async fn a_collection_takes_no_thread_of_the_writers() {
    let (_fixture, store) = slow(0, 2_000, 8).await;
    let _threads = store.store.queues.writers.take_threads();
    let collected = tokio::time::timeout(Duration::from_secs(60), store.gc(100)).await;
    assert_eq!(collected.unwrap().unwrap(), 8);
}

/// Even on a slow disk the next collection continues where the last one ended.
#[tokio::test]
async fn a_collection_ends_at_its_time_limit_and_the_next_one_continues() {
    let (fixture, store) = slow(5, 100, 400).await;
    fixture.create(&key(0, 255), HOUR).await;
    let (mut removed, mut rounds) = (0, 0);
    while removed < 400 {
        let start = std::time::Instant::now();
        removed += store.gc(1_000).await.unwrap();
        assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
        rounds += 1;
        assert!(rounds < 200, "{removed} removed");
    }
    assert!(rounds > 5, "{rounds}");
    assert!(store.load(&key(0, 255)).await.unwrap().is_some());
}

/// The sweep of one bucket takes longer than a collection may, and few of its sessions are due. A
/// due session at the end is found nevertheless.
#[tokio::test]
async fn an_interrupted_sweep_is_completed() {
    let (fixture, store) = slow(5, 50, 0).await;
    let other = open(fixture.directory.path());
    let crowd = |n: u8| key(7, n);
    for n in 0..=255 {
        let ttl = if n % 64 == 0 { MOMENT } else { 2 * HOUR };
        other.save(&crowd(n), &record(1), Write::Create { ttl }).await.unwrap();
    }
    sleep(MOMENT).await;
    let mut removed = 0;
    for _ in 0..256 {
        removed += store.gc(1_000).await.unwrap();
    }
    assert_eq!(removed, 4);
    let before = OPENED.get();
    assert_eq!(store.store.collect(1_000).unwrap(), 0);
    assert_eq!(OPENED.get(), before, "the sweep has ended");
}

/// A writer died after it had written the entry, or before it removed it.
#[tokio::test]
async fn gc_removes_entries_of_the_owner_index_whose_records_are_gone() {
    let fixture = Fixture::new();
    let ann = Owner::new("ann").unwrap();
    for n in 1..=3 {
        fixture.create(&key(n, 1), HOUR).await;
    }
    fs::remove_file(fixture.file(&key(1, 1))).unwrap();
    fs::remove_dir_all(fixture.root().join("02")).unwrap();
    let store = open(fixture.directory.path());
    let found = async |store: &FileBackend| {
        store.owner_index().unwrap().keys_of(&ann, None, 10).await.unwrap()
    };
    assert_eq!(found(&store).await.len(), 3);
    store.gc(100).await.unwrap();
    assert_eq!(found(&store).await, [key(3, 1)]);
    store.destroy(&key(3, 1), None).await.unwrap();
    assert!(found(&store).await.is_empty());
    // Nothing remains of an owner without sessions.
    assert_eq!(fs::read_dir(fixture.root().join("owners")).unwrap().count(), 0);
}
