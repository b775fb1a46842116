//! Which operations wait for each other, and for how long.

use super::*;

/// A store that waits for a shorter time than usual, so that the tests are fast.
fn with_short_wait(directory: &Path) -> FileBackend {
    let mut store = open(directory);
    change(&mut store).max_wait = MOMENT;
    store
}

/// Locks a bucket as a process that was stopped during a write.
fn lock(fixture: &Fixture, bucket: &str) -> File {
    let lock = File::open(fixture.root().join(bucket)).unwrap();
    lock.lock().unwrap();
    lock
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stopped_writer_delays_only_its_bucket_and_for_a_limited_time() {
    let fixture = Fixture::new();
    for n in 1..=3 {
        fixture.create(&key(n, 1), HOUR).await;
    }
    fixture.create(&key(2, 2), MOMENT).await;
    sleep(MOMENT).await;
    let store = with_short_wait(fixture.directory.path());
    let stopped = lock(&fixture, "01");
    // More than there are permits and blocking threads.
    let touches: Vec<_> = (0..600)
        .map(|_| {
            let store = store.clone();
            tokio::spawn(async move { store.touch(&key(1, 1), Revision::from_u64(1), HOUR).await })
        })
        .collect();
    tokio::task::yield_now().await;
    assert!(store.load(&key(1, 1)).await.unwrap().is_some());
    assert!(store.load(&key(2, 1)).await.unwrap().is_some());
    fixture.touch(&key(2, 1), HOUR).await;
    assert_eq!(store.gc(10).await.unwrap(), 1);
    for touch in touches {
        let error = touch.await.unwrap().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.message().contains("nothing was written"), "{error}");
        assert!(error.nothing_was_written());
    }
    let create = Write::Create { ttl: HOUR };
    let update = Write::Update(update(1));
    for (key, write) in [(key(1, 2), create), (key(1, 1), update)] {
        let error = store.save(&key, &record(2), write).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        assert!(error.nothing_was_written());
    }
    assert!(store.destroy(&key(1, 1), None).await.unwrap_err().nothing_was_written());

    stopped.unlock().unwrap();
    store.touch(&key(1, 1), Revision::from_u64(1), HOUR).await.unwrap();
    assert!(store.load(&key(1, 2)).await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_ttl_begins_when_the_operation_was_requested() {
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
            store.touch(&one, Revision::from_u64(1), HOUR),
            store.touch(&two, Revision::from_u64(1), MOMENT / 4),
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
    let create = create.unwrap_err();
    assert_eq!(create.kind(), ErrorKind::Unavailable);
    assert!(create.nothing_was_written());
    assert!(!fixture.file(&key(3, 2)).exists());
}
