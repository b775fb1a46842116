//! Who waits for whom and how long, and what a disk that fails may do.

use super::*;

/// Shorter than any store waits, so that the tests need not.
fn impatient(directory: &Path, durability: Durability) -> FileBackend {
    let mut store = FileBackend::open_with(directory.join("sessions"), durability).unwrap();
    Arc::get_mut(&mut store.store).unwrap().patience = MOMENT;
    store
}

/// What a process does that was stopped while it wrote to a sub-directory.
fn lock(fixture: &Fixture, sub_directory: &str) -> File {
    let lock = File::open(fixture.root().join(sub_directory)).unwrap();
    lock.lock().unwrap();
    lock
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_writer_holds_up_nobody_for_ever_and_most_not_at_all() {
    let fixture = Fixture::new();
    for n in 1..=3 {
        fixture.create(&key(n, 1), HOUR).await;
    }
    fixture.create(&key(2, 2), MOMENT).await;
    sleep(MOMENT).await;
    let store = impatient(fixture.directory.path(), Durability::None);
    let stopped = lock(&fixture, "01");
    // More than there are permits, and threads that may block.
    let touches: Vec<_> = (0..600)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.touch(&key(1, 1), HOUR).await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(store.load(&key(1, 1)).await.unwrap().is_some());
    assert!(store.load(&key(2, 1)).await.unwrap().is_some());
    store.touch(&key(2, 1), HOUR).await.unwrap();
    assert_eq!(store.gc(10).await.unwrap(), 1);
    for touch in touches {
        let error = touch.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("nothing was written"), "{error}");
    }
    let error = store.rotate(&key(3, 1), &key(1, 2), &record(2), update(1)).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    store.touch(&key(3, 1), HOUR).await.unwrap();

    stopped.unlock().unwrap();
    store.touch(&key(1, 1), HOUR).await.unwrap();
    assert!(store.load(&key(1, 2)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_life_begins_when_it_was_asked_for() {
    let fixture = Fixture::new();
    for n in 1..=3 {
        fixture.create(&key(n, 1), HOUR).await;
    }
    let locks = [lock(&fixture, "01"), lock(&fixture, "02"), lock(&fixture, "03")];
    let store = fixture.store.clone();
    let late = tokio::spawn(async move {
        let (write, record) = (Write::Create { ttl: MOMENT / 4 }, record(1));
        let (one, two, three) = (key(1, 1), key(2, 1), key(3, 2));
        tokio::join!(
            store.touch(&one, HOUR),
            store.touch(&two, MOMENT / 4),
            store.save(&three, &record, write),
        )
    });
    sleep(MOMENT).await;
    drop(locks);
    let (long, short, create) = late.await.unwrap();
    long.unwrap();
    let loaded = fixture.store.load(&key(1, 1)).await.unwrap().unwrap();
    assert!(loaded.expires_in <= HOUR - MOMENT / 2, "{:?}", loaded.expires_in);
    assert_eq!(short.unwrap_err().kind(), ErrorKind::Gone);
    assert!(fixture.store.load(&key(2, 1)).await.unwrap().is_some());
    assert_eq!(create.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(!fixture.file(&key(3, 2)).exists());
}

/// With a disk that does not confirm directories, after sessions 1 and 2 were written.
async fn unconfirming() -> (Fixture, FileBackend) {
    let fixture = Fixture::new();
    let store = FileBackend::open_with(fixture.root(), Durability::Full).unwrap();
    for n in 1..=2 {
        store.save(&key(n, 1), &record(1), Write::Create { ttl: HOUR }).await.unwrap();
    }
    store.store.syncs.broken.store(true, Ordering::SeqCst);
    (fixture, store)
}

#[tokio::test]
async fn what_the_disk_did_not_confirm_is_not_read_back_as_success() {
    let (_fixture, store) = unconfirming().await;
    let unavailable = ErrorKind::Unavailable;
    assert!(store.load(&key(1, 1)).await.unwrap().is_some());
    let save = |revision| {
        let store = store.clone();
        async move {
            let write = Write::Update(update(revision));
            store.save(&key(1, 1), &record(revision + 1), write).await
        }
    };
    assert_eq!(save(1).await.unwrap_err().kind(), unavailable);
    assert_eq!(store.load(&key(1, 1)).await.unwrap_err().kind(), unavailable);
    assert_eq!(save(2).await.unwrap_err().kind(), unavailable);
    assert_eq!(store.touch(&key(1, 1), HOUR).await.unwrap_err().kind(), unavailable);
    assert_eq!(store.destroy(&key(1, 1), None).await.unwrap_err().kind(), unavailable);
    // Another sub-directory owes nothing until its own change fails.
    assert!(store.load(&key(2, 1)).await.unwrap().is_some());
    assert_eq!(store.destroy(&key(2, 1), None).await.unwrap_err().kind(), unavailable);
    assert_eq!(store.destroy(&key(2, 1), None).await.unwrap_err().kind(), unavailable);

    store.store.syncs.broken.store(false, Ordering::SeqCst);
    assert_eq!(store.load(&key(1, 1)).await.unwrap().unwrap().record, record(2));
    save(2).await.unwrap();
    assert!(!store.destroy(&key(2, 1), None).await.unwrap());
}

/// The process that removed it was killed before the disk confirmed that.
#[tokio::test]
async fn a_logout_of_what_is_gone_is_confirmed_too() {
    let (_fixture, store) = unconfirming().await;
    let destroyed = store.destroy(&key(1, 2), None).await;
    assert_eq!(destroyed.unwrap_err().kind(), ErrorKind::Unavailable);
    store.store.syncs.broken.store(false, Ordering::SeqCst);
    assert!(!store.destroy(&key(1, 2), None).await.unwrap());
}

/// No session depends on it.
#[tokio::test]
async fn the_removal_of_a_temporary_file_needs_no_confirmation() {
    let (fixture, store) = unconfirming().await;
    let temporary = fixture.root().join("01/.tmp");
    fs::write(&temporary, "half a rec").unwrap();
    assert_eq!(store.gc(10).await.unwrap(), 0);
    assert!(!temporary.exists());
    assert!(store.load(&key(1, 1)).await.unwrap().is_some());
}

#[tokio::test]
async fn a_rotation_that_is_not_confirmed_leaves_the_old_session_only() {
    for to in [1, 2] {
        let (_fixture, store) = unconfirming().await;
        let rotated = store.rotate(&key(1, 1), &key(to, 9), &record(2), update(1)).await;
        assert_eq!(rotated.unwrap_err().kind(), ErrorKind::Unavailable);
        store.store.syncs.broken.store(false, Ordering::SeqCst);
        assert_eq!(store.load(&key(1, 1)).await.unwrap().unwrap().record, record(1));
        assert!(store.load(&key(to, 9)).await.unwrap().is_none());
        store.rotate(&key(1, 1), &key(to, 9), &record(2), update(1)).await.unwrap();
    }
}
