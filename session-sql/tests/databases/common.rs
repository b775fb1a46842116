//! What must hold on every database.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use session_core::{
    Backend, BatchBackend, Bytes, CreateItem, DestroyItem, Error, ErrorKind, Key, Owner, Record,
    Result, Revision, SessionStore, TouchItem, Update, UpdateItem, Write,
};

pub(crate) const LIFE: Duration = Duration::from_secs(600);

/// A table of its own for a test on a shared server.
pub(crate) fn fresh_table() -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let number = NEXT.fetch_add(1, Ordering::Relaxed);
    format!("t{}_{number}", std::process::id())
}

pub(crate) fn key(number: u32) -> Key {
    let mut bytes = [0x5a; 32];
    bytes[..4].copy_from_slice(&number.to_be_bytes());
    Key::from_bytes(bytes)
}

pub(crate) fn record(revision: u64) -> Record {
    Record {
        payload: Bytes::from(format!("payload of {revision}")),
        revision: Revision::from_u64(revision),
        owner: Some(Owner::new("somebody\0").unwrap()),
    }
}

pub(crate) fn revision(number: u64) -> Revision {
    Revision::from_u64(number)
}

pub(crate) fn create() -> Write {
    Write::Create { ttl: LIFE }
}

pub(crate) fn over(revision: u64) -> Write {
    Write::Update(Update { expected: Revision::from_u64(revision), ttl: None })
}

pub(crate) fn kind<T: std::fmt::Debug>(result: Result<T>) -> ErrorKind {
    let error: Error = result.unwrap_err();
    assert!(error.backend().is_some() && error.operation().is_some(), "{error:?}");
    error.kind()
}

/// More than there are connections.
pub(crate) const MANY: u32 = 200;
/// Each write is a commit of its own, and a slow disk has 3 s for all that wait.
pub(crate) const FEW: u32 = 20;

/// Writes at the same moment, one by one: as many right as over another revision and of nothing.
pub(crate) async fn each_has_its_own_result(backend: Arc<dyn Backend>, each: u32) {
    let saves = (0..2 * each).map(|number| {
        let backend = Arc::clone(&backend);
        tokio::spawn(async move { backend.save(&key(number), &record(1), create()).await })
    });
    for save in saves.collect::<Vec<_>>() {
        save.await.unwrap().unwrap();
    }
    assert_eq!(kind(backend.save(&key(0), &record(9), create()).await), ErrorKind::AlreadyExists);

    let writes: Vec<_> = (0..3 * each)
        .map(|number| {
            let backend = Arc::clone(&backend);
            tokio::spawn(async move {
                let expected = if number < each { 1 } else { 7 };
                let saved = backend.save(&key(number), &record(2), over(expected)).await;
                let other = backend.touch(&key(number), revision(9), LIFE * 3).await;
                let expects = if number < each { 2 } else { 1 };
                let touched = backend.touch(&key(number), revision(expects), LIFE * 2).await;
                let again = backend.save(&key(number), &record(3), create()).await;
                (number, saved, other, touched, again, backend.load(&key(number)).await.unwrap())
            })
        })
        .collect();
    for write in writes {
        let (number, saved, other, touched, again, loaded) = write.await.unwrap();
        let loaded = loaded.unwrap();
        let absent = number / each > 1;
        let expected = if absent { ErrorKind::Gone } else { ErrorKind::Conflict };
        assert_eq!(kind(other), expected);
        assert!(loaded.expires_in <= LIFE * 2);
        match number / each {
            0 => {
                saved.unwrap();
                touched.unwrap();
                assert_eq!(kind(again), ErrorKind::AlreadyExists);
                assert_eq!(loaded.record, record(2));
                assert!(loaded.expires_in > LIFE);
            }
            1 => {
                assert_eq!(kind(saved), ErrorKind::Conflict);
                touched.unwrap();
                assert_eq!(kind(again), ErrorKind::AlreadyExists);
                assert_eq!(loaded.record, record(1));
                assert!(loaded.expires_in > LIFE);
            }
            _ => {
                assert_eq!(kind(saved), ErrorKind::Gone);
                assert_eq!(kind(touched), ErrorKind::Gone);
                again.unwrap();
                assert_eq!(loaded.record, record(3));
                assert!(loaded.expires_in <= LIFE);
            }
        }
    }
}

fn creates(revision: u64, numbers: Range<u32>) -> Vec<CreateItem> {
    let item = |number| CreateItem { key: key(number), record: record(revision), ttl: LIFE };
    numbers.rev().map(item).collect()
}

/// In batches: the same, where one call has all of them, in descending order.
pub(crate) async fn each_of_a_batch_has_its_own_result(backend: &dyn BatchBackend) {
    assert!(backend.create_many(&creates(1, 0..20)).await.into_iter().all(|one| one.is_ok()));
    let mut items = creates(2, 10..30);
    items[0].ttl = Duration::ZERO;
    for (item, created) in items.iter().zip(backend.create_many(&items).await) {
        if item.key == key(29) {
            assert_eq!(kind(created), ErrorKind::InvalidValue);
        } else if items[10..].iter().any(|one| one.key == item.key) {
            assert_eq!(kind(created), ErrorKind::AlreadyExists);
        } else {
            created.unwrap();
        }
    }

    // 0 to 19 have revision 1, 20 to 28 have 2, 29 to 39 are absent.
    for (ttl, written) in [(None, 3), (Some(LIFE * 2), 4)] {
        let items: Vec<_> = (0..40)
            .rev()
            .map(|number| UpdateItem {
                key: key(number),
                record: record(written),
                update: Update { expected: revision(if written == 3 { 1 } else { 3 }), ttl },
            })
            .collect();
        for (number, updated) in (0..40).rev().zip(backend.update_many(&items).await) {
            match number {
                0..20 => updated.unwrap(),
                20..29 => assert_eq!(kind(updated), ErrorKind::Conflict),
                _ => assert_eq!(kind(updated), ErrorKind::Gone),
            }
        }
    }

    // Over another revision it is a conflict, even with what is stored already.
    for ttl in [None, Some(LIFE * 2)] {
        let update = Update { expected: revision(9), ttl };
        let item = |number| UpdateItem { key: key(number), record: record(4), update };
        for numbers in [0..1, 0..3] {
            let items: Vec<_> = numbers.map(item).collect();
            for updated in backend.update_many(&items).await {
                assert_eq!(kind(updated), ErrorKind::Conflict);
            }
        }
    }

    let life = |number: u32| LIFE * 4 + Duration::from_secs((number % 3).into());
    let items: Vec<_> = (0..40)
        .map(|number| TouchItem { key: key(number), expected: revision(4), ttl: life(number) })
        .collect();
    for (number, touched) in (0..40).zip(backend.touch_many(&items).await) {
        match number {
            0..20 => touched.unwrap(),
            20..29 => assert_eq!(kind(touched), ErrorKind::Conflict),
            _ => assert_eq!(kind(touched), ErrorKind::Gone),
        }
    }

    let keys: Vec<_> = (0..40).rev().map(key).collect();
    for (number, loaded) in (0..40).rev().zip(backend.load_many(&keys).await) {
        let loaded = loaded.unwrap();
        match number {
            0..20 => {
                let loaded = loaded.unwrap();
                assert_eq!(loaded.record, record(4));
                let left = loaded.expires_in;
                assert!(left <= life(number) && left > life(number) - Duration::from_secs(1));
            }
            20..29 => assert_eq!(loaded.unwrap().record, record(2)),
            _ => assert!(loaded.is_none()),
        }
    }

    let only = |number: u32| match number % 3 {
        0 => None,
        1 => Some(revision(4)),
        _ => Some(revision(9)),
    };
    let items: Vec<_> =
        (0..40).rev().map(|number| DestroyItem { key: key(number), only: only(number) }).collect();
    for (number, destroyed) in (0..40).rev().zip(backend.destroy_many(&items).await) {
        let expected = match number {
            0..20 => number % 3 < 2,
            20..29 => number % 3 == 0,
            _ => false,
        };
        assert_eq!(destroyed.unwrap(), expected, "{number}");
        let left = backend.load_many(&[key(number)]).await.remove(0).unwrap().is_some();
        assert_eq!(left, number < 29 && !expected, "{number}");
    }
    let all: Vec<_> = (0..40).map(|number| DestroyItem { key: key(number), only: None }).collect();
    backend.destroy_many(&all).await;
}

/// While others load, save and renew without a pause, a logout is carried out.
pub(crate) async fn a_flood_holds_up_no_logout(backend: impl Backend) {
    const TASKS: u32 = 32;
    let store = SessionStore::new(backend);
    let new_session = async || {
        let session = store.create();
        session.insert("number", 0).unwrap();
        store.save(&session).await.unwrap();
        session
    };
    for flood in ["loads", "saves", "renewals"] {
        let mut tasks = Vec::new();
        for _ in 0..TASKS {
            let (store, session) = (store.clone(), new_session().await);
            let cookie = store.cookie_value(&session).unwrap().into_string();
            tasks.push(tokio::spawn(async move {
                for number in 0.. {
                    match flood {
                        "loads" => assert!(store.load(&cookie).await.unwrap().is_some()),
                        "saves" => session.insert("number", number).unwrap(),
                        _ => session.extend(),
                    }
                    store.save(&session).await.unwrap();
                }
            }));
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
        for _ in 0..4 {
            let session = new_session().await;
            let begun = Instant::now();
            store.destroy(&session).await.unwrap();
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(1), "a logout took {took:?} among {flood}");
        }
        for task in tasks {
            task.abort();
            // A task that panicked has to say so.
            assert!(task.await.unwrap_err().is_cancelled(), "a task failed among {flood}");
        }
    }
}

/// Two servers, each with batches that overlap in every row: every round has one winner per row, and
/// no two wait for each other in a circle.
pub(crate) async fn batches_of_two_servers_agree(one: Arc<dyn Backend>, two: Arc<dyn Backend>) {
    const ROWS: u32 = 40;
    const ROUNDS: u64 = 20;
    let created = one.batch().unwrap().create_many(&creates(1, 0..ROWS)).await;
    assert!(created.into_iter().all(|one| one.is_ok()));
    let mut current = vec![1; ROWS as usize];
    for round in 1..=ROUNDS {
        let batch = |numbers: Vec<u32>, written: u64, current: &[u64]| -> Vec<UpdateItem> {
            let item = |number: u32| UpdateItem {
                key: key(number),
                record: record(written),
                update: Update { expected: revision(current[number as usize]), ttl: None },
            };
            numbers.into_iter().map(item).collect()
        };
        let [first, second] = [round * 1000 + 100, round * 1000 + 200];
        let ours = batch((0..ROWS).collect(), first, &current);
        let theirs = batch((0..ROWS).rev().collect(), second, &current);
        let (ours, theirs) = tokio::join!(
            tokio::spawn({
                let backend = Arc::clone(&one);
                async move { backend.batch().unwrap().update_many(&ours).await }
            }),
            tokio::spawn({
                let backend = Arc::clone(&two);
                async move { backend.batch().unwrap().update_many(&theirs).await }
            }),
        );
        let theirs = theirs.unwrap().into_iter().rev();
        for (number, (ours, theirs)) in (0..ROWS).zip(ours.unwrap().into_iter().zip(theirs)) {
            let (winner, lost) = match (ours, theirs) {
                (Ok(()), Err(lost)) => (first, lost),
                (Err(lost), Ok(())) => (second, lost),
                other => panic!("{other:?}"),
            };
            assert_eq!(lost.kind(), ErrorKind::Conflict, "{lost:?}");
            current[number as usize] = winner;
            let loaded = one.load(&key(number)).await.unwrap().unwrap();
            assert_eq!(loaded.record, record(winner));
        }
    }
}

/// Half of the writers go away in the middle. The others are served, every record is whole, and
/// what was acknowledged is there.
pub(crate) async fn who_goes_away_harms_nobody(backend: Arc<dyn Backend>) {
    const WRITERS: u32 = 128;
    for number in 0..WRITERS {
        backend.save(&key(number), &record(1), create()).await.unwrap();
    }
    for round in 1..=5_u64 {
        let tasks: Vec<_> = (0..WRITERS)
            .map(|number| {
                let backend = Arc::clone(&backend);
                tokio::spawn(async move {
                    let loaded = backend.load(&key(number)).await.unwrap().unwrap();
                    let expected = loaded.record.revision.to_u64();
                    backend.save(&key(number), &record(round * 10), over(expected)).await
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_micros(300 * round)).await;
        for (task, number) in tasks.iter().zip(0..) {
            if number % 2 == 0 {
                task.abort();
            }
        }
        for (task, number) in tasks.into_iter().zip(0..) {
            match task.await {
                Ok(saved) => {
                    saved.unwrap();
                    let loaded = backend.load(&key(number)).await.unwrap().unwrap();
                    assert_eq!(loaded.record, record(round * 10));
                }
                Err(_) => {
                    let loaded = backend.load(&key(number)).await.unwrap().unwrap();
                    assert_eq!(loaded.record, record(loaded.record.revision.to_u64()));
                }
            }
        }
    }
}

/// A column that holds something else is `Corrupt`, also for one of a batch, and can be destroyed.
pub(crate) async fn a_row_that_is_no_session_is_corrupt(backend: Arc<dyn Backend>, broken: Key) {
    for number in 0..20 {
        backend.save(&key(number), &record(1), create()).await.unwrap();
    }
    assert_eq!(kind(backend.load(&broken).await), ErrorKind::Corrupt);
    let mut keys: Vec<_> = (0..20).map(key).collect();
    keys.insert(7, broken);
    for (key, loaded) in keys.iter().zip(backend.batch().unwrap().load_many(&keys).await) {
        match *key == broken {
            true => assert_eq!(kind(loaded), ErrorKind::Corrupt),
            false => assert_eq!(loaded.unwrap().unwrap().record, record(1)),
        }
    }
    assert!(backend.destroy(&broken, None).await.unwrap());
    assert!(backend.load(&broken).await.unwrap().is_none());
}
