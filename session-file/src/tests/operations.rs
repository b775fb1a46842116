//! Touches, and reopening the store.

use super::*;

#[tokio::test]
async fn touch_changes_twelve_bytes_of_the_same_file() {
    let fixture = Fixture::new();
    let key = key(1, 1);
    fixture.create(&key, HOUR).await;
    let path = fixture.file(&key);
    let (inode, before) = (fs::metadata(&path).unwrap().ino(), fs::read(&path).unwrap());
    fixture.touch(&key, 2 * HOUR).await;
    let after = fs::read(&path).unwrap();
    assert_eq!(fs::metadata(&path).unwrap().ino(), inode);
    assert_ne!(before[8..20], after[8..20]);
    assert_eq!((&before[..8], &before[20..]), (&after[..8], &after[20..]));
}

#[tokio::test]
async fn a_touch_that_expects_another_revision_leaves_the_file_as_it_is() {
    let fixture = Fixture::new();
    let key = key(1, 1);
    fixture.create(&key, HOUR).await;
    let before = fs::read(fixture.file(&key)).unwrap();
    let other = Revision::from_u64(2);
    let error = fixture.store.touch(&key, other, 2 * HOUR).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(fs::read(fixture.file(&key)).unwrap(), before);
}

/// A touch that expects an older revision does not change the expiry that an update has set.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_touch_during_updates_never_changes_their_expiry() {
    let fixture = Fixture::new();
    let key = key(1, 1);
    fixture.create(&key, HOUR).await;
    let touches = tokio::spawn({
        let store = fixture.store.clone();
        async move {
            let (mut done, mut conflicts) = (0, 0);
            for _ in 0..1_000 {
                let loaded = store.load(&key).await.unwrap().unwrap();
                // Another request touches the revision that it has loaded.
                tokio::task::yield_now().await;
                match store.touch(&key, loaded.record.revision, 2 * HOUR).await {
                    Ok(()) => done += 1,
                    Err(error) => {
                        assert_eq!(error.kind(), ErrorKind::Conflict);
                        conflicts += 1;
                    }
                }
            }
            (done, conflicts)
        }
    });
    let mut revision = 1;
    while !touches.is_finished() {
        let write = Update { expected: Revision::from_u64(revision), ttl: Some(HOUR) };
        revision += 1;
        fixture.store.save(&key, &record(revision), Write::Update(write)).await.unwrap();
    }
    let (done, conflicts) = touches.await.unwrap();
    assert!(done > 0 && conflicts > 0, "{done} {conflicts}");
    // The last write is an update, which no touch follows.
    let write = Update { expected: Revision::from_u64(revision), ttl: Some(HOUR) };
    fixture.store.save(&key, &record(0), Write::Update(write)).await.unwrap();
    let stale = fixture.store.touch(&key, Revision::from_u64(revision), 2 * HOUR).await;
    assert_eq!(stale.unwrap_err().kind(), ErrorKind::Conflict);
    assert!(fixture.store.load(&key).await.unwrap().unwrap().expires_in <= HOUR);
}

/// A load that reads a half-written touch tries again under the lock, and does not return
/// `Corrupt`.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_load_waits_for_a_touch_that_is_half_written() {
    let fixture = Fixture::new();
    let key = key(1, 1);
    fixture.create(&key, HOUR).await;
    let whole = fs::read(fixture.file(&key)).unwrap();
    let file = File::options().write(true).open(fixture.file(&key)).unwrap();
    let lock = File::open(fixture.root().join("01")).unwrap();
    lock.lock().unwrap();
    file.write_all_at(&[0xFF; 4], 8).unwrap();
    let load = tokio::spawn({
        let store = fixture.store.clone();
        async move { store.load(&key).await }
    });
    sleep(MOMENT).await;
    assert!(!load.is_finished());
    file.write_all_at(&whole[8..20], 8).unwrap();
    lock.unlock().unwrap();
    assert_eq!(load.await.unwrap().unwrap().unwrap().record, record(1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn loads_during_touches_are_never_corrupt() {
    let fixture = Fixture::new();
    let key = key(1, 1);
    fixture.create(&key, HOUR).await;
    let done = Arc::new(AtomicBool::new(false));
    let loads = tokio::spawn({
        let (store, done) = (fixture.store.clone(), Arc::clone(&done));
        async move {
            let mut loads = 0;
            while !done.load(Ordering::Relaxed) {
                assert!(store.load(&key).await.unwrap().is_some());
                loads += 1;
            }
            loads
        }
    });
    for n in 0..2_000 {
        let ttl = HOUR + Duration::from_millis(n * 0x1_0101);
        fixture.touch(&key, ttl).await;
    }
    done.store(true, Ordering::Relaxed);
    assert!(loads.await.unwrap() > 100);
}

#[tokio::test]
async fn sessions_survive_reopening_with_their_expiry() {
    let fixture = Fixture::new();
    fixture.create(&key(1, 1), HOUR).await;
    for durability in [Durability::None, Durability::Data] {
        let store = FileBackend::open_with(fixture.root(), durability).unwrap();
        let loaded = store.load(&key(1, 1)).await.unwrap().unwrap();
        assert_eq!(loaded.record, record(1));
        assert!(loaded.expires_in <= HOUR && loaded.expires_in > HOUR - Duration::from_secs(60));
        let write = Write::Update(update(1));
        store.save(&key(1, 1), &record(1), write).await.unwrap();
        let expires_in = store.load(&key(1, 1)).await.unwrap().unwrap().expires_in;
        assert!(expires_in <= HOUR && expires_in > HOUR - Duration::from_secs(60));
    }
}
