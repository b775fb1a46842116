//! Concurrent writes of several kinds, and concurrent writes of which some are dropped.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use session_core::{Backend, ErrorKind, Key, Record, Revision};

use super::concurrency::{MAX_POLLS, TASKS, not_older, one_won, poll_then_drop};
use crate::case::{
    CaseResult, Context, LONG, SLACK, absent, cases, create, ensure, holds, key, live, outlive,
    record, refused, same, together, update,
};

cases! { "concurrency":
    "clause 18" => destroy_or_update_wins,
    "clause 18" => destroy_ends_what_was_touched,
    "clause 11" => dropped_writes_take_no_others_along,
    "clause 11" => dropped_creates_expire,
    "clause 14" => one_create_over_an_expired_record_wins,
    "clause 14" => a_load_of_an_expired_record_removes_no_later_one,
    "clause 14" => a_write_that_finds_an_expired_record_removes_no_later_one,
    "clause 16" => a_touch_takes_no_update_back,
    "clause 7" => an_update_takes_no_touch_back,
    "clause 11" => loads_see_large_records_whole,
}

/// The life of records that expire while a case waits.
const BRIEF: Duration = Duration::from_millis(40);

/// Of a destroy and an update that expect the same revision, exactly one is carried out, and the other reports
/// that it was not.
async fn destroy_or_update_wins(cx: &Context) -> CaseResult {
    let (one, other) = (cx.backend().await?, cx.backend().await?);
    for round in 0..32_u64 {
        let (key, old, new) = (key(), record("old"), record("new"));
        one.save(&key, &old, create(LONG)).await?;
        let wait = Duration::from_micros(round % 8 * 100);
        let writer = Arc::clone(&other);
        let (seen, next) = (old.clone(), new.clone());
        let updating = tokio::spawn(async move {
            tokio::time::sleep(wait).await;
            writer.save(&key, &next, update(&seen, None)).await
        });
        if round % 2 == 1 {
            tokio::time::sleep(wait).await;
        }
        let destroyed = one.destroy(&key, Some(old.revision)).await?;
        let updated = updating.await.expect("an update does not panic");
        if destroyed {
            refused(updated, ErrorKind::Gone, "an update after a concurrent destroy")?;
            absent(&*other, &key, "after a destroy that said true").await?;
        } else {
            updated?;
            holds(&*one, &key, &new, "after an update that won against a destroy").await?;
        }
    }
    Ok(())
}

/// A touch does not change the revision, so it never makes a destroy fail.
async fn destroy_ends_what_was_touched(cx: &Context) -> CaseResult {
    let (one, other) = (cx.backend().await?, cx.backend().await?);
    for _ in 0..16 {
        let (key, record) = (key(), record("x"));
        one.save(&key, &record, create(LONG)).await?;
        let (touched, destroyed) = tokio::join!(
            other.touch(&key, record.revision, LONG),
            one.destroy(&key, Some(record.revision)),
        );
        ensure!(destroyed?, "a destroy of the record's revision must say true, but said false");
        if touched.is_err() {
            refused(touched, ErrorKind::Gone, "a touch after a concurrent destroy")?;
        }
        absent(&*other, &key, "after a destroy and a touch").await?;
    }
    Ok(())
}

/// Stores write the changes of several requests together. A request that is dropped must not affect the change
/// of another request, and every acknowledged change must be stored.
async fn dropped_writes_take_no_others_along(cx: &Context) -> CaseResult {
    let handles = [cx.backend().await?, cx.backend().await?];
    for round in 0..24 {
        let writes = (0..32_usize).map(|n| {
            let store = Arc::clone(&handles[n % 2]);
            async move {
                let (key, old, new) = (key(), record("old"), record(n.to_be_bytes()));
                store.save(&key, &old, create(LONG)).await?;
                if n % 3 != round % 3 {
                    // Most are dropped when they wait for the first time.
                    let polls = 1 + (n / 3 % 4).saturating_sub(1);
                    poll_then_drop(polls, store.save(&key, &new, update(&old, None))).await;
                    return Ok((key, old, new, false));
                }
                store.save(&key, &new, update(&old, None)).await?;
                Ok::<_, session_core::Error>((key, old, new, true))
            }
        });
        for written in together(writes).await {
            let (key, old, new, acknowledged) = written?;
            if acknowledged {
                holds(&*handles[0], &key, &new, "after an acknowledged update among dropped ones")
                    .await?;
                continue;
            }
            let found = live(&*handles[0], &key, "after an update that was dropped").await?.record;
            let known = if found.revision == new.revision { &new } else { &old };
            same(&found, known, "after an update that was dropped")?;
        }
    }
    Ok(())
}

/// A create is one step: whenever its future is dropped, the record has its expiry, and no load sees the record
/// without it.
async fn dropped_creates_expire(cx: &Context) -> CaseResult {
    let (writer, reader) = (cx.backend().await?, cx.backend().await?);
    let mut created = Vec::new();
    for polls in 1..MAX_POLLS {
        let key = key();
        let (loads, store) = (Arc::clone(&reader), Arc::clone(&writer));
        let loading = tokio::spawn(async move {
            for _ in 0..4 {
                if let Some(found) = loads.load(&key).await? {
                    return Ok(Some(found.expires_in));
                }
                tokio::task::yield_now().await;
            }
            Ok::<_, session_core::Error>(None)
        });
        poll_then_drop(polls, store.save(&key, &record("x"), create(BRIEF))).await;
        let left = loading.await.expect("a load does not panic")?;
        ensure!(
            left.is_none_or(|left| left <= BRIEF + SLACK),
            "a load during a create must see a life of at most {BRIEF:?}, but saw {left:?}"
        );
        created.push(key);
    }
    // A dropped create may still be carried out a moment later.
    outlive(BRIEF * 4).await;
    for key in created {
        absent(&*writer, &key, "after the life of a create that was dropped").await?;
    }
    Ok(())
}

/// Waits for one of several times, most of them shorter than a timer can wait: they are within one operation of a
/// store in memory, or of a store that is reached by network.
async fn a_moment(number: usize) {
    const MICROS: [u64; 8] = [0, 30, 80, 150, 250, 400, 700, 1_200];
    let began = Instant::now();
    while began.elapsed() < Duration::from_micros(MICROS[number % MICROS.len()]) {
        tokio::task::yield_now().await;
    }
}

/// Expired records under new keys.
async fn expired(store: &dyn Backend, count: usize) -> CaseResult<Vec<Key>> {
    let keys: Vec<Key> = (0..count).map(|_| key()).collect();
    for key in &keys {
        store.save(key, &record("expired"), create(BRIEF)).await?;
    }
    outlive(BRIEF).await;
    Ok(keys)
}

/// An expired record counts as absent, for concurrent creates, too.
async fn one_create_over_an_expired_record_wins(cx: &Context) -> CaseResult {
    let handles = [cx.backend().await?, cx.backend().await?];
    for key in expired(&*handles[0], 8).await? {
        let creates = (0..TASKS).map(|task| {
            let store = Arc::clone(&handles[task % 2]);
            let record = record(task.to_string());
            async move {
                let result = store.save(&key, &record, create(LONG)).await;
                (record, result)
            }
        });
        let results = together(creates).await;
        let what = "creates over an expired record";
        one_won(&*handles[0], &key, results, ErrorKind::AlreadyExists, what).await?;
    }
    Ok(())
}

/// A store may remove an expired record when it is loaded, but not what was created there since.
async fn a_load_of_an_expired_record_removes_no_later_one(cx: &Context) -> CaseResult {
    let handles = [cx.backend().await?, cx.backend().await?];
    for (round, key) in expired(&*handles[0], 32).await?.into_iter().enumerate() {
        let loads = (0..4).map(|task| {
            let store = Arc::clone(&handles[task % 2]);
            async move { store.load(&key).await.map(drop) }
        });
        let loading = tokio::spawn(together(loads.collect::<Vec<_>>()));
        a_moment(round).await;
        let new = record("new");
        handles[round % 2].save(&key, &new, create(LONG)).await?;
        for loaded in loading.await.expect("a load does not panic") {
            loaded?;
        }
        let after = "after a create and concurrent loads of the expired record before it";
        holds(&*handles[0], &key, &new, after).await?;
    }
    Ok(())
}

/// The same for a store that removes an expired record when a write finds it.
async fn a_write_that_finds_an_expired_record_removes_no_later_one(cx: &Context) -> CaseResult {
    let handles = [cx.backend().await?, cx.backend().await?];
    for (round, key) in expired(&*handles[0], 48).await?.into_iter().enumerate() {
        let (writer, new) = (Arc::clone(&handles[1]), record("new"));
        let writing = tokio::spawn(async move {
            let old = record("another revision");
            match round % 3 {
                0 => writer.touch(&key, old.revision, LONG).await,
                1 => writer.save(&key, &record("late"), update(&old, Some(LONG))).await,
                _ => writer.destroy(&key, Some(old.revision)).await.map(drop),
            }
        });
        a_moment(round / 3).await;
        handles[0].save(&key, &new, create(LONG)).await?;
        match writing.await.expect("a write does not panic") {
            Err(error) if [ErrorKind::Gone, ErrorKind::Conflict].contains(&error.kind()) => {}
            written => written?,
        }
        let after = "after a create and a concurrent write that found the expired record before it";
        holds(&*handles[0], &key, &new, after).await?;
    }
    Ok(())
}

/// A touch changes the expiry only: it never brings back what a concurrent update replaced.
async fn a_touch_takes_no_update_back(cx: &Context) -> CaseResult {
    let (one, other) = (cx.backend().await?, cx.backend().await?);
    for round in 0..64 {
        let (key, old, new) = (key(), record("old"), record("new"));
        one.save(&key, &old, create(LONG)).await?;
        let (toucher, revision) = (Arc::clone(&other), old.revision);
        let touching = tokio::spawn(async move { toucher.touch(&key, revision, LONG * 2).await });
        a_moment(round).await;
        one.save(&key, &new, update(&old, None)).await?;
        let touched = touching.await.expect("a touch does not panic");
        if touched.is_err() {
            refused(touched, ErrorKind::Conflict, "a touch after a concurrent update")?;
        }
        holds(&*other, &key, &new, "after an update and a concurrent touch").await?;
    }
    Ok(())
}

/// An update without a ttl keeps the expiry, also that of a concurrent touch.
async fn an_update_takes_no_touch_back(cx: &Context) -> CaseResult {
    let (one, other) = (cx.backend().await?, cx.backend().await?);
    for round in 0..96 {
        let (key, old, new) = (key(), record("old"), record("new"));
        one.save(&key, &old, create(LONG)).await?;
        let (writer, next, write) = (Arc::clone(&one), new.clone(), update(&old, None));
        let updating = tokio::spawn(async move { writer.save(&key, &next, write).await });
        a_moment(round).await;
        let touched = other.touch(&key, old.revision, LONG * 2).await;
        updating.await.expect("an update does not panic")?;
        let left = holds(&*one, &key, &new, "after an update and a concurrent touch").await?;
        match touched {
            Ok(()) => ensure!(
                left.expires_in > LONG,
                "an update must keep the life that a concurrent touch gave, but {:?} are left of {:?}",
                left.expires_in,
                LONG * 2
            ),
            Err(_) => refused(touched, ErrorKind::Conflict, "a touch after a concurrent update")?,
        }
    }
    Ok(())
}

/// Stores keep large payloads in parts, or apart from the rest of the record.
async fn loads_see_large_records_whole(cx: &Context) -> CaseResult {
    const LARGE: usize = 300 << 10;
    const UPDATES: u64 = 40;
    let large = |n: u64| {
        let byte = n.to_le_bytes()[0];
        Record {
            revision: Revision::from_u64(n),
            ..record(vec![byte; LARGE + 64 * usize::from(byte)])
        }
    };
    let (writer, reader) = (cx.backend().await?, cx.backend().await?);
    let key = key();
    writer.save(&key, &large(0), create(LONG)).await?;
    let acknowledged = Arc::new(AtomicU64::new(0));
    let seen = Arc::clone(&acknowledged);
    let reading = tokio::spawn(async move {
        let mut last = 0;
        while last < UPDATES {
            let found = not_older(&*reader, &key, &seen).await?;
            last = found.revision.to_u64();
            same(&found, &large(last), "of 300 KiB that a concurrent load saw")?;
            tokio::task::yield_now().await;
        }
        Ok(())
    });
    for n in 1..=UPDATES {
        a_moment(usize::try_from(n).unwrap_or_default()).await;
        writer.save(&key, &large(n), update(&large(n - 1), None)).await?;
        acknowledged.store(n, Ordering::SeqCst);
    }
    reading.await.expect("a load does not panic")
}
