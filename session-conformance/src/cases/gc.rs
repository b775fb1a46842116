//! gc: removing expired records.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use session_core::{Backend, Error, ErrorKind, Key, Record};

use crate::case::{
    CaseResult, Context, LONG, SHORT, cases, create, ensure, holds, key, outlive, record, skip,
    together, too_late, update,
};

cases! { "gc":
    "clause 19" => of_nothing_is_zero,
    "clause 19" => removes_expired,
    "clause 19" => frees_the_storage,
    "clause 19" => keeps_live,
    "clause 19" => keeps_what_expires_soon,
    "clause 19" => respects_limit,
    "clause 19" => never_removes_renewed,
    "clause 19" => never_removes_replaced,
    "clause 19" => never_removes_renewed_meanwhile,
    "clause 19" => runs_on_many_nodes,
    "clause 19" => costs_what_expired,
}

const BRIEF: Duration = Duration::from_millis(30);

/// A limit that is greater than the number of records of any case.
const PLENTY: usize = 1_000;

async fn of_nothing_is_zero(cx: &Context) -> CaseResult {
    let removed = cx.backend().await?.gc(PLENTY).await?;
    ensure!(removed == 0, "gc of an empty store must remove 0, but says {removed}");
    Ok(())
}

async fn removes_expired(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    declares_gc(cx)?;
    expire(&*store, 7, b"x").await?;
    let removed = store.gc(PLENTY).await?;
    ensure!(removed == 7, "gc must remove 7 expired records, but says {removed}");
    let removed = store.gc(PLENTY).await?;
    ensure!(removed == 0, "a second gc must find nothing, but says {removed}");
    Ok(())
}

async fn frees_the_storage(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    declares_gc(cx)?;
    let Some(dump) = &cx.fixture.dump else {
        return Err(skip("the harness has no dump of the store"));
    };
    const COUNT: usize = 8;
    const SIZE: usize = 50_000;
    // Bytes that no store can compress.
    let mut payload = vec![0; SIZE];
    fastrand::fill(&mut payload);
    let empty = dump().await?.len();
    store.save(&key(), &record([b'L'; 5_000]), create(LONG)).await?;
    let with_live = dump().await?.len();
    ensure!(with_live > empty, "the dump must contain live records, but has {with_live} bytes");
    expire(&*store, COUNT, &payload).await?;
    store.gc(PLENTY).await?;
    let after = dump().await?;
    let piece = &payload[SIZE / 2..SIZE / 2 + 32];
    let left = after.windows(piece.len()).any(|window| window == piece);
    ensure!(!left, "gc must remove an expired record, but its payload is still in the dump");
    // A store that encrypts keeps other bytes of the same length.
    let at_most = with_live + SIZE / 2;
    ensure!(
        after.len() < at_most,
        "gc must free the storage of {COUNT} expired records of {SIZE} bytes, but the dump has {} bytes \
         instead of {with_live}",
        after.len()
    );
    Ok(())
}

async fn keeps_live(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let live: Vec<_> = (0..20).map(|n| (key(), record([n]))).collect();
    for (key, record) in &live {
        store.save(key, record, create(LONG)).await?;
    }
    expire(&*store, 3, b"x").await?;
    for _ in 0..3 {
        store.gc(PLENTY).await?;
    }
    for (key, record) in &live {
        holds(&*store, key, record, "after gc, though it is live").await?;
    }
    Ok(())
}

async fn keeps_what_expires_soon(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    for ttl in SHORT {
        let (key, record) = (key(), record("x"));
        let began = Instant::now();
        store.save(&key, &record, create(ttl)).await?;
        store.gc(PLENTY).await?;
        let found = store.load(&key).await?;
        if began.elapsed() + BRIEF >= ttl {
            continue;
        }
        ensure!(
            found.is_some(),
            "gc must keep a record until its expiry, but removed one that had a life of {ttl:?}"
        );
        return Ok(());
    }
    Err(crate::case::too_slow())
}

async fn respects_limit(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    declares_gc(cx)?;
    // More than one page of a store that removes them in pages.
    const EXPIRED: usize = 260;
    expire(&*store, EXPIRED, b"x").await?;
    let mut total = 0;
    for limit in [0, 1, 3, 70, 101, PLENTY, PLENTY] {
        let removed = store.gc(limit).await?;
        ensure!(
            removed <= limit as u64,
            "gc must remove at most {limit} records, but says {removed}"
        );
        total += removed;
    }
    let must = EXPIRED as u64;
    ensure!(total == must, "gc must remove {must} expired records, but says {total}");
    Ok(())
}

async fn never_removes_renewed(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    for ttl in SHORT {
        let (touched, updated, old, new) = (key(), key(), record("old"), record("new"));
        let began = Instant::now();
        store.save(&touched, &old, create(ttl)).await?;
        store.save(&updated, &old, create(ttl)).await?;
        let touch = store.touch(&touched, old.revision, LONG).await;
        let update = store.save(&updated, &new, update(&old, Some(LONG))).await;
        if too_late(&touch, began, ttl) || too_late(&update, began, ttl) {
            continue;
        }
        touch?;
        update?;
        outlive(ttl).await;
        let removed = store.gc(PLENTY).await?;
        holds(&*store, &touched, &old, "after gc, though a touch renewed it").await?;
        holds(&*store, &updated, &new, "after gc, though an update renewed it").await?;
        ensure!(removed == 0, "gc must not count renewed records, but says {removed}");
        return Ok(());
    }
    Err(crate::case::too_slow())
}

async fn never_removes_replaced(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, new) = (key(), record("new"));
    store.save(&key, &record("old"), create(BRIEF)).await?;
    outlive(BRIEF).await;
    store.save(&key, &new, create(LONG)).await?;
    store.gc(PLENTY).await?;
    holds(&*store, &key, &new, "after gc, though it replaced an expired one").await?;
    Ok(())
}

/// Records are renewed just before they expire and replaced just after, at different moments, while gc runs
/// on both handles.
async fn never_removes_renewed_meanwhile(cx: &Context) -> CaseResult {
    let handles = [cx.backend().await?, cx.backend().await?];
    let ended = Arc::new(AtomicBool::new(false));
    let collectors = handles.iter().map(|store| {
        let (store, ended) = (Arc::clone(store), Arc::clone(&ended));
        async move {
            while !ended.load(Ordering::Relaxed) {
                store.gc(PLENTY).await?;
                tokio::task::yield_now().await;
            }
            Ok::<_, Error>(())
        }
    });
    let collecting = tokio::spawn(together(collectors.collect::<Vec<_>>()));
    let mut renewals = Vec::new();
    for n in 0..RENEWALS {
        let store = Arc::clone(&handles[n % 2]);
        let ttl = BRIEF * 2 + Duration::from_micros(n as u64 * 500);
        renewals.push(async move { renew_or_replace(&*store, ttl, n).await });
    }
    let renewed = together(renewals).await;
    // A gc that began before a renewal may end after it.
    tokio::time::sleep(BRIEF).await;
    ended.store(true, Ordering::Relaxed);
    for collected in collecting.await.expect("gc does not panic") {
        collected?;
    }
    let mut compared = 0;
    for renewed in renewed {
        let (key, record) = match renewed {
            // The machine was too slow for this ttl.
            Err(error) if error.kind() == ErrorKind::Unavailable => continue,
            renewed => renewed?,
        };
        compared += 1;
        let after = "after gc, though it was renewed or replaced meanwhile";
        holds(&*handles[0], &key, &record, after).await?;
    }
    ensure!(compared > 0, "of {RENEWALS} records none could be renewed or replaced");
    Ok(())
}

/// The number of records that expire while gc runs.
const RENEWALS: usize = 240;

/// A record that is renewed immediately before its expiry, or replaced immediately after it.
async fn renew_or_replace(
    store: &dyn Backend,
    ttl: Duration,
    n: usize,
) -> Result<(Key, Record), Error> {
    let (key, old, new) = (key(), record([7; 64]), record("a later one"));
    store.save(&key, &old, create(ttl)).await?;
    let early = Duration::from_micros(n as u64 / 3 % 4 * 300);
    let left = store.load(&key).await?.map_or(Duration::ZERO, |loaded| loaded.expires_in);
    tokio::time::sleep(left.saturating_sub(early)).await;
    let renewed = match n % 3 {
        0 => store.touch(&key, old.revision, LONG).await.map(|()| old),
        1 => store.save(&key, &new, update(&old, Some(LONG))).await.map(|()| new),
        _ => Err(Error::gone()),
    };
    match renewed {
        Err(error) if error.kind() == ErrorKind::Gone => {}
        renewed => return renewed.map(|record| (key, record)),
    }
    // The record expired, so a create must succeed at once, whether or not gc has removed it.
    while store.load(&key).await?.is_some() {
        tokio::task::yield_now().await;
    }
    let new = record("replaces an expired one");
    store.save(&key, &new, create(LONG)).await?;
    Ok((key, new))
}

async fn runs_on_many_nodes(cx: &Context) -> CaseResult {
    let handles = [cx.backend().await?, cx.backend().await?];
    let (live, record) = (key(), record("live"));
    handles[0].save(&live, &record, create(LONG)).await?;
    expire(&*handles[0], 40, b"x").await?;
    let nodes = (0..4).map(|node| {
        let store = Arc::clone(&handles[node % 2]);
        async move {
            let mut total = 0;
            for _ in 0..5 {
                total += store.gc(7).await?;
            }
            Ok::<_, Error>(total)
        }
    });
    let mut total = 0;
    for removed in together(nodes).await {
        total += removed?;
    }
    while !cx.capabilities.expires_natively && total < 40 {
        let removed = handles[1].gc(PLENTY).await?;
        ensure!(removed > 0, "gc on 4 nodes must remove 40 records, but counts {total}");
        total += removed;
    }
    ensure!(total <= 40, "gc on 4 nodes must count each of 40 records once, but counts {total}");
    holds(&*handles[1], &live, &record, "after gc on 4 nodes, though it is live").await?;
    Ok(())
}

fn declares_gc(cx: &Context) -> CaseResult {
    if cx.capabilities.expires_natively {
        return Err(skip("the server removes expired records by itself"));
    }
    Ok(())
}

/// Leaves `count` expired records.
async fn expire(store: &dyn Backend, count: usize, payload: &[u8]) -> CaseResult {
    // One of many creates may have to wait, and a life begins with the request.
    let ttl = if count > 50 { BRIEF * 10 } else { BRIEF };
    for _ in 0..count {
        store.save(&key(), &record(payload), create(ttl)).await?;
    }
    outlive(ttl).await;
    Ok(())
}

/// gc runs on every node, every few minutes: it finds the expired records without a look at each live one.
async fn costs_what_expired(cx: &Context) -> CaseResult {
    const FEW: usize = 32;
    const MANY: usize = 64 * FEW;
    // A store may be a few times slower when it is full, and the machine may be busy.
    const TIMES: u32 = 8;
    const PAUSE: Duration = Duration::from_millis(25);
    let handles = [cx.backend().await?, cx.backend().await?];
    declares_gc(cx)?;
    fill(&handles, FEW).await?;
    let few = fastest_gc(&*handles[0]).await?;
    fill(&handles, MANY - FEW).await?;
    let many = fastest_gc(&*handles[0]).await?;
    ensure!(
        many <= few * TIMES + PAUSE,
        "a gc that finds nothing must not cost more with {MANY} live records than with {FEW}, but took {many:?} \
         instead of {few:?}"
    );
    Ok(())
}

/// Creates live records, with several tasks.
async fn fill(handles: &[Arc<dyn Backend>; 2], count: usize) -> CaseResult {
    const TASKS: usize = 16;
    let creates = (0..TASKS).map(|task| {
        let store = Arc::clone(&handles[task % 2]);
        async move {
            for _ in 0..count / TASKS {
                store.save(&key(), &record("live"), create(LONG)).await?;
            }
            Ok::<_, Error>(())
        }
    });
    for created in together(creates).await {
        created?;
    }
    Ok(())
}

/// The shortest time of several collections, none of which finds a record.
async fn fastest_gc(store: &dyn Backend) -> CaseResult<Duration> {
    let mut fastest = Duration::MAX;
    for _ in 0..8 {
        let before = Instant::now();
        let removed = store.gc(PLENTY).await?;
        fastest = fastest.min(before.elapsed());
        ensure!(removed == 0, "gc of live records must remove 0, but says {removed}");
    }
    Ok(fastest)
}
