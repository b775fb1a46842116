//! Concurrent operations, and futures that are dropped.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::{Duration, Instant};

use session_core::{Backend, ErrorKind, Key, Record, Result, Revision};

use crate::case::{
    CaseResult, Context, Failure, LONG, absent, cases, create, ensure, holds, key, live, owner,
    record, refused, same, together, update,
};

cases! { "concurrency":
    "clause 10" => one_create_wins,
    "clause 10" => one_update_wins,
    "clause 10" => no_increment_is_lost,
    "clause 17" => one_destroy_is_true,
    "clause 6" => destroy_ends_all_updates,
    "clause 16" => destroy_ends_all_touches,
    "clause 11" => loads_see_whole_records,
    "clause 11" => dropped_futures_leave_whole_records,
}

pub(super) const TASKS: usize = 16;
const ROUNDS: usize = 4;

/// If a writer still succeeds this long after a destroy, the case fails.
const TOO_LONG: Duration = Duration::from_secs(3);

/// No operation of a working store yields to the runtime more often than this.
pub(super) const MAX_POLLS: usize = 24;

async fn one_create_wins(cx: &Context) -> CaseResult {
    let handles = [cx.backend().await?, cx.backend().await?];
    for _ in 0..ROUNDS {
        let key = key();
        let creates = (0..TASKS).map(|task| {
            let store = Arc::clone(&handles[task % 2]);
            let record = record(task.to_string());
            async move {
                let result = store.save(&key, &record, create(LONG)).await;
                (record, result)
            }
        });
        let results = together(creates).await;
        one_won(&*handles[0], &key, results, ErrorKind::AlreadyExists, "creates").await?;
    }
    Ok(())
}

async fn one_update_wins(cx: &Context) -> CaseResult {
    let handles = [cx.backend().await?, cx.backend().await?];
    for _ in 0..ROUNDS {
        let (key, old) = (key(), record("old"));
        handles[0].save(&key, &old, create(LONG)).await?;
        let updates = (0..TASKS).map(|task| {
            let store = Arc::clone(&handles[task % 2]);
            let (new, write) = (record(task.to_string()), update(&old, None));
            async move {
                let result = store.save(&key, &new, write).await;
                (new, result)
            }
        });
        let results = together(updates).await;
        one_won(&*handles[0], &key, results, ErrorKind::Conflict, "updates").await?;
    }
    Ok(())
}

/// Fails unless exactly one of the writes succeeded, and its record is there.
pub(super) async fn one_won(
    store: &dyn Backend,
    key: &Key,
    results: Vec<(Record, Result<()>)>,
    lost: ErrorKind,
    what: &str,
) -> CaseResult {
    let mut won = Vec::new();
    for (record, result) in results {
        match result {
            Ok(()) => won.push(record),
            lost_one => refused(lost_one, lost, "a write that lost")?,
        }
    }
    ensure!(won.len() == 1, "of {TASKS} concurrent {what} 1 must succeed, but {} did", won.len());
    holds(store, key, &won[0], "of the write that won").await?;
    Ok(())
}

async fn no_increment_is_lost(cx: &Context) -> CaseResult {
    const EACH: u64 = 4;
    let handles = [cx.backend().await?, cx.backend().await?];
    let key = key();
    handles[0].save(&key, &record("0"), create(LONG)).await?;
    let counters = (0..TASKS).map(|task| {
        let store = Arc::clone(&handles[task % 2]);
        async move {
            for _ in 0..EACH {
                increment(&*store, &key).await?;
            }
            Ok::<_, Failure>(())
        }
    });
    for counted in together(counters).await {
        counted?;
    }
    let n = number(&live(&*handles[0], &key, "after the increments").await?.record)?;
    let must = TASKS as u64 * EACH;
    ensure!(n == must, "{must} increments by compare-and-swap must make {must}, but made {n}");
    Ok(())
}

/// Repeats load and update until the update succeeds.
async fn increment(store: &dyn Backend, key: &Key) -> CaseResult {
    loop {
        let seen = live(store, key, "between increments").await?.record;
        let next = record((number(&seen)? + 1).to_string());
        match store.save(key, &next, update(&seen, None)).await {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == ErrorKind::Conflict => {
                tokio::time::sleep(Duration::from_micros(fastrand::u64(..2_000))).await;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

fn number(record: &Record) -> CaseResult<u64> {
    let text = String::from_utf8_lossy(&record.payload).into_owned();
    text.parse()
        .map_err(|_| Failure::Failed(format!("a counter must be a number, but is {text:?}")))
}

async fn one_destroy_is_true(cx: &Context) -> CaseResult {
    let handles = [cx.backend().await?, cx.backend().await?];
    for _ in 0..ROUNDS {
        let key = key();
        handles[0].save(&key, &record("x"), create(LONG)).await?;
        let destroys = (0..TASKS).map(|task| {
            let store = Arc::clone(&handles[task % 2]);
            async move { store.destroy(&key, None).await }
        });
        let mut won = 0;
        for result in together(destroys).await {
            won += usize::from(result?);
        }
        ensure!(won == 1, "of {TASKS} concurrent destroys 1 must say true, but {won} did");
    }
    Ok(())
}

async fn destroy_ends_all_updates(cx: &Context) -> CaseResult {
    let handles = [cx.backend().await?, cx.backend().await?];
    let (key, first) = (key(), record("0"));
    handles[0].save(&key, &first, create(LONG)).await?;
    let writers = (0..TASKS).map(|task| {
        let (store, mut seen) = (Arc::clone(&handles[task % 2]), first.clone());
        async move {
            let began = Instant::now();
            while began.elapsed() < TOO_LONG {
                let next = record("next");
                match store.save(&key, &next, update(&seen, Some(LONG))).await {
                    Ok(()) => seen = next,
                    // A slow request: without a record it continues with the record that it loaded last.
                    Err(error) if error.kind() == ErrorKind::Conflict => {
                        let loaded = store.load(&key).await?;
                        seen = loaded.map_or(seen, |loaded| loaded.record);
                    }
                    Err(error) => return Err(error),
                }
                // A store in memory never yields, and would block the timers of the runtime.
                tokio::task::yield_now().await;
            }
            Ok(())
        }
    });
    let writing = tokio::spawn(together(writers.collect::<Vec<_>>()));
    tokio::time::sleep(Duration::from_millis(20)).await;
    ensure!(
        handles[0].destroy(&key, None).await?,
        "destroy of a record that is being updated must say true, but said false"
    );
    absent(&*handles[1], &key, "after a destroy among updates").await?;
    for result in writing.await.expect("writers do not panic") {
        refused(result, ErrorKind::Gone, "an update after a destroy")?;
    }
    absent(&*handles[1], &key, "after all updates that a destroy ended").await
}

async fn destroy_ends_all_touches(cx: &Context) -> CaseResult {
    let handles = [cx.backend().await?, cx.backend().await?];
    for _ in 0..ROUNDS {
        let (key, record) = (key(), record("x"));
        handles[0].save(&key, &record, create(LONG)).await?;
        let touching = (0..TASKS).map(|task| {
            let (store, revision) = (Arc::clone(&handles[task % 2]), record.revision);
            async move {
                // At different moments, so that the destroy coincides with some touch.
                tokio::time::sleep(Duration::from_millis(task as u64 % 4)).await;
                let began = Instant::now();
                while began.elapsed() < TOO_LONG {
                    store.touch(&key, revision, LONG).await?;
                    tokio::task::yield_now().await;
                }
                Ok(())
            }
        });
        let touching = tokio::spawn(together(touching.collect::<Vec<_>>()));
        tokio::time::sleep(Duration::from_millis(10)).await;
        handles[0].destroy(&key, None).await?;
        for result in touching.await.expect("touches do not panic") {
            refused(result, ErrorKind::Gone, "a touch after a destroy")?;
        }
        absent(&*handles[1], &key, "after touches that a destroy ended").await?;
    }
    Ok(())
}

/// Record `n` of a series; payload, revision and owner all depend on `n`.
fn whole(n: u8) -> Record {
    let mut whole = record(vec![n; usize::from(n) * 300]);
    whole.revision = Revision::from_u64(u64::from(n));
    whole.owner = Some(owner(&format!("owner {n}")));
    whole
}

async fn loads_see_whole_records(cx: &Context) -> CaseResult {
    const LAST: u8 = 150;
    let (writer, reader) = (cx.backend().await?, cx.backend().await?);
    let key = key();
    writer.save(&key, &whole(1), create(LONG)).await?;
    let acknowledged = Arc::new(AtomicU64::new(1));
    let readers = (0..3).map(|_| {
        let (reader, acknowledged) = (Arc::clone(&reader), Arc::clone(&acknowledged));
        async move {
            let mut last = 0;
            while last < LAST {
                let loaded = not_older(&*reader, &key, &acknowledged).await?;
                last = u8::try_from(loaded.revision.to_u64()).map_err(|_| {
                    Failure::Failed(
                        "the revision must be one that was written, but is not".to_owned(),
                    )
                })?;
                same(&loaded, &whole(last), "that a concurrent load saw")?;
                tokio::task::yield_now().await;
            }
            Ok(())
        }
    });
    let reading = tokio::spawn(together(readers.collect::<Vec<_>>()));
    for n in 2..=LAST {
        tokio::task::yield_now().await;
        writer.save(&key, &whole(n), update(&whole(n - 1), None)).await?;
        acknowledged.store(n.into(), Ordering::SeqCst);
    }
    reading.await.expect("readers do not panic").into_iter().collect()
}

/// The record under a key whose revisions are numbers that grow. Fails if it is older than the last one that was
/// acknowledged before the load.
pub(super) async fn not_older(
    store: &dyn Backend,
    key: &Key,
    acknowledged: &AtomicU64,
) -> CaseResult<Record> {
    let at_least = acknowledged.load(Ordering::SeqCst);
    let record = live(store, key, "between two updates").await?.record;
    ensure!(
        record.revision.to_u64() >= at_least,
        "a load must see the updates that were acknowledged before, but saw an older record"
    );
    Ok(record)
}

/// Polls a future `polls` times and drops it; returns whether it had ended.
pub(super) async fn poll_then_drop<T>(polls: usize, future: impl Future<Output = T>) -> bool {
    let mut future = pin!(future);
    let mut left = polls;
    poll_fn(|task| {
        if left == 0 {
            return Poll::Ready(false);
        }
        left -= 1;
        let ended = future.as_mut().poll(task).is_ready();
        if ended || left == 0 { Poll::Ready(ended) } else { Poll::Pending }
    })
    .await
}

async fn dropped_futures_leave_whole_records(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    for polls in 0..MAX_POLLS {
        let (fresh, taken, ending) = (key(), key(), key());
        let (old, new) = (whole(100), whole(200));
        store.save(&taken, &old, create(LONG)).await?;
        store.save(&ending, &old, create(LONG)).await?;
        let ended = [
            poll_then_drop(polls, store.load(&taken)).await,
            poll_then_drop(polls, store.save(&fresh, &new, create(LONG))).await,
            poll_then_drop(polls, store.save(&taken, &new, update(&old, None))).await,
            poll_then_drop(polls, store.touch(&taken, old.revision, LONG)).await,
            poll_then_drop(polls, store.destroy(&ending, None)).await,
            poll_then_drop(polls, store.gc(10)).await,
        ];
        if let Some(created) = store.load(&fresh).await? {
            same(&created.record, &new, "of a create that was dropped")?;
        }
        if let Some(left) = store.load(&ending).await? {
            same(&left.record, &old, "after a destroy that was dropped")?;
        }
        whole_then_usable(&*store, &taken, &[&old, &new]).await?;
        if ended == [true; 6] {
            return Ok(());
        }
    }
    Ok(())
}

/// Fails unless one of these records is under the key and can be updated. A dropped operation may still be
/// carried out a moment later.
async fn whole_then_usable(store: &dyn Backend, key: &Key, whole: &[&Record]) -> CaseResult {
    for _ in 0..=whole.len() {
        let seen = live(store, key, "after a dropped update").await?.record;
        let known = whole.iter().find(|known| known.revision == seen.revision);
        let Some(known) = known else {
            return Err(Failure::Failed(
                "after a dropped update the record must be one that was written, but is not"
                    .to_owned(),
            ));
        };
        same(&seen, known, "after a dropped update")?;
        let next = record("later calls work");
        match store.save(key, &next, update(&seen, Some(LONG))).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {}
            result => {
                result?;
                holds(store, key, &next, "after a dropped update and a later one").await?;
                return Ok(());
            }
        }
    }
    Err(Failure::Failed(
        "an update after a dropped one must succeed, but every attempt was a conflict".to_owned(),
    ))
}
