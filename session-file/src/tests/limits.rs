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

/// Nobody has sent anything, so the handle must not have to find out what became of it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_save_behind_a_bucket_that_stays_in_use_is_refused_in_time() {
    let fixture = Fixture::new();
    let backend = with_short_wait(fixture.directory.path());
    let store = SessionStore::new(backend.clone());
    let session = store.create();
    session.insert("number", 0).unwrap();
    let _ = store.save(&session).await.unwrap();
    let value = store.cookie_value(&session).unwrap();
    let bucket = SessionId::parse(value.as_str()).unwrap().key().as_bytes()[0];
    session.insert("number", 1).unwrap();

    let in_use = backend.store.queues.writers.try_bucket(bucket).unwrap();
    let begin = Instant::now();
    let error = store.save(&session).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.nothing_was_written(), "{error:?}");
    assert!(begin.elapsed() < Duration::from_secs(2), "{:?}", begin.elapsed());

    drop(in_use);
    let _ = store.save(&session).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_write_that_gets_no_thread_is_refused_in_time() {
    let fixture = Fixture::new();
    let store = with_short_wait(fixture.directory.path());
    let threads = store.store.queues.writers.take_threads();
    let create = Write::Create { ttl: HOUR };
    let error = store.save(&key(1, 1), &record(1), create).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert!(error.nothing_was_written(), "{error:?}");
    assert!(!fixture.file(&key(1, 1)).exists());
    drop(threads);
    // It was not only late.
    sleep(MOMENT).await;
    assert!(!fixture.file(&key(1, 1)).exists());
    fixture.create(&key(1, 1), HOUR).await;
}

#[tokio::test]
async fn operations_whose_callers_left_do_not_pile_up() {
    let fixture = Fixture::new();
    let writers = &fixture.store.store.queues.writers;
    let in_use = writers.try_bucket(1).unwrap();
    let threads = writers.take_threads();
    for _ in 0..500 {
        for first in 1..=3 {
            let key = key(first, 1);
            let destroy = fixture.store.destroy(&key, None);
            assert!(tokio::time::timeout(Duration::ZERO, destroy).await.is_err());
        }
    }
    // The last ones, until another one looks.
    assert!(writers.waiting() <= 3, "{}", writers.waiting());
    drop((in_use, threads));
    assert_eq!(writers.waiting(), 0);
    fixture.create(&key(1, 1), HOUR).await;
}
