//! What must hold on every database.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use session_core::{
    Backend, Bytes, Error, ErrorKind, Key, Owner, Record, Result, Revision, Update, Write,
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

/// Enough for batches to be full.
pub(crate) const MANY: u32 = 200;
/// One by one, each takes a commit, and a slow disk has 3 s for all that wait.
pub(crate) const FEW: u32 = 20;

/// Writes at the same moment: so many right, as many over another revision, as many of nothing.
pub(crate) async fn each_of_a_batch_has_its_own_verdict(backend: Arc<dyn Backend>, each: u32) {
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

/// While others load, update and touch without a pause, a logout gets its turn.
pub(crate) async fn a_flood_holds_up_no_logout(backend: Arc<dyn Backend>) {
    const TASKS: u32 = 32;
    for number in 0..2 * TASKS {
        backend.save(&key(number), &record(0), create()).await.unwrap();
    }
    for flood in ["loads", "updates", "touches"] {
        let tasks: Vec<_> = (0..TASKS)
            .map(|number| {
                let backend = Arc::clone(&backend);
                tokio::spawn(async move {
                    loop {
                        match flood {
                            "loads" => drop(backend.load(&key(number)).await.unwrap()),
                            "updates" => {
                                backend.save(&key(number), &record(0), over(0)).await.unwrap();
                            }
                            _ => backend.touch(&key(number), revision(0), LIFE).await.unwrap(),
                        }
                    }
                })
            })
            .collect();
        tokio::time::sleep(Duration::from_millis(50)).await;
        for number in TASKS..TASKS + 4 {
            let begun = Instant::now();
            assert!(backend.destroy(&key(number), None).await.unwrap(), "among {flood}");
            let took = begun.elapsed();
            assert!(took < Duration::from_secs(1), "a logout took {took:?} among {flood}");
            backend.save(&key(number), &record(0), create()).await.unwrap();
        }
        for task in tasks {
            task.abort();
            // A task that panicked has to say so.
            assert!(task.await.unwrap_err().is_cancelled(), "a task failed among {flood}");
        }
    }
}

/// Two servers, each with batches that overlap in every row: every round has one winner per row,
/// and nobody waits for anybody in a circle.
pub(crate) async fn batches_of_two_servers_agree(one: Arc<dyn Backend>, two: Arc<dyn Backend>) {
    const ROWS: u32 = 40;
    const ROUNDS: u64 = 8;
    for number in 0..ROWS {
        one.save(&key(number), &record(1), create()).await.unwrap();
    }
    let mut standing = vec![1; ROWS as usize];
    for round in 1..=ROUNDS {
        let attempts: Vec<_> = (0..ROWS)
            .flat_map(|number| [(number, &one, 100), (ROWS - 1 - number, &two, 200)])
            .map(|(number, backend, server)| {
                let backend = Arc::clone(backend);
                let expected = standing[number as usize];
                tokio::spawn(async move {
                    let next = round * 1000 + server;
                    (number, next, backend.save(&key(number), &record(next), over(expected)).await)
                })
            })
            .collect();
        let mut winners = vec![0; ROWS as usize];
        for attempt in attempts {
            let (number, next, outcome) = attempt.await.unwrap();
            match outcome {
                Ok(()) => {
                    winners[number as usize] += 1;
                    standing[number as usize] = next;
                }
                Err(error) => assert_eq!(error.kind(), ErrorKind::Conflict, "{error:?}"),
            }
        }
        assert_eq!(winners, [1; ROWS as usize]);
        for (number, revision) in (0..ROWS).zip(&standing) {
            let loaded = one.load(&key(number)).await.unwrap().unwrap();
            assert_eq!(loaded.record, record(*revision));
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
    let loads: Vec<_> = (0..200)
        .map(|number| {
            let backend = Arc::clone(&backend);
            let key = if number % 10 == 0 { broken } else { key(number % 20) };
            tokio::spawn(async move { (number, backend.load(&key).await) })
        })
        .collect();
    for load in loads {
        match load.await.unwrap() {
            (number, loaded) if number % 10 == 0 => assert_eq!(kind(loaded), ErrorKind::Corrupt),
            (_, loaded) => assert_eq!(loaded.unwrap().unwrap().record, record(1)),
        }
    }
    assert!(backend.destroy(&broken, None).await.unwrap());
    assert!(backend.load(&broken).await.unwrap().is_none());
}
