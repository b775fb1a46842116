//! The expiry of records.

use std::time::{Duration, Instant};

use session_core::{ErrorKind, MAX_TTL};

use crate::case::{
    CaseResult, Context, LONG, SHORT, SLACK, absent, cases, create, ensure, holds, key, lives,
    outlive, owner, record, refused, revision, too_late, update,
};

cases! { "expiry":
    "clause 12" => expired_is_none,
    "clause 12" => never_loaded_at_its_deadline,
    "clause 12" => reports_remaining_life,
    "clause 12" => each_record_has_its_own,
    "clause 7" => frequent_updates_do_not_prolong,
    "clause 7" => renewed_by_update_lives_on,
    "clause 16" => renewed_by_touch_lives_on,
    "clause 13" => update_of_expired_is_gone,
    "clause 13" => touch_of_expired_is_gone,
    "clause 13" => destroy_of_expired_is_false,
    "clause 14" => create_over_expired_succeeds,
    "clause 15" => zero_ttl_is_refused,
    "clause 15" => shortest_ttl_is_accepted,
    "clause 15" => huge_ttl_is_clamped,
}

const BRIEF: Duration = Duration::from_millis(30);

async fn expired_is_none(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let key = key();
    store.save(&key, &record("x"), create(BRIEF)).await?;
    outlive(BRIEF).await;
    absent(&*store, &key, "after the expiry").await
}

/// An expiry lasts only a moment, therefore many records expire one after another.
async fn never_loaded_at_its_deadline(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let mut live = Vec::new();
    for n in 0..120 {
        let key = key();
        store.save(&key, &record("x"), create(BRIEF + Duration::from_micros(n * 700))).await?;
        live.push(key);
    }
    let created = Instant::now();
    while !live.is_empty() {
        let mut left = Vec::new();
        for key in live {
            if let Some(loaded) = store.load(&key).await? {
                ensure!(
                    !loaded.expires_in.is_zero(),
                    "a record must not be loaded at its expiry, but was, with no time left"
                );
                left.push(key);
            }
        }
        live = left;
        ensure!(
            created.elapsed() < Duration::from_secs(10),
            "records with a ttl of about {BRIEF:?} must expire, but some are live after 10 s"
        );
        tokio::task::yield_now().await;
    }
    Ok(())
}

async fn reports_remaining_life(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, record, ttl) = (key(), record("x"), Duration::from_millis(9_750));
    let before = Instant::now();
    store.save(&key, &record, create(ttl)).await?;
    let created = Instant::now();
    let left = holds(&*store, &key, &record, "after a create").await?.expires_in;
    lives(left, ttl, before, "a record")?;
    tokio::time::sleep(SLACK * 3).await;
    let at_most = ttl - created.elapsed() + SLACK;
    let left = holds(&*store, &key, &record, "a moment later").await?.expires_in;
    ensure!(
        left <= at_most,
        "the remaining life must be exact to the millisecond and at most {at_most:?}, but is {left:?}"
    );
    lives(left, ttl, before, "a record")
}

async fn each_record_has_its_own(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (brief, long, record) = (key(), key(), record("x"));
    store.save(&long, &record, create(LONG)).await?;
    store.save(&brief, &record, create(BRIEF)).await?;
    outlive(BRIEF).await;
    absent(&*store, &brief, "after its expiry").await?;
    holds(&*store, &long, &record, "before its expiry").await?;
    Ok(())
}

async fn frequent_updates_do_not_prolong(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, mut last, ttl) = (key(), record("0"), SHORT[0]);
    store.save(&key, &last, create(ttl)).await?;
    let created = Instant::now();
    loop {
        let asked = created.elapsed();
        let next = record(format!("{asked:?}"));
        let result = store.save(&key, &next, update(&last, None)).await;
        if result.is_err() {
            refused(result, ErrorKind::Gone, "an update after the expiry")?;
            return absent(&*store, &key, "after the expiry").await;
        }
        ensure!(
            asked <= ttl + SLACK,
            "updates without ttl must not prolong a life of {ttl:?}, but one succeeded after {asked:?}"
        );
        last = next;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn renewed_by_update_lives_on(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    for ttl in SHORT {
        let (key, old, new) = (key(), record("old"), record("new"));
        let began = Instant::now();
        store.save(&key, &old, create(ttl)).await?;
        let renewed = store.save(&key, &new, update(&old, Some(LONG))).await;
        if too_late(&renewed, began, ttl) {
            continue;
        }
        renewed?;
        outlive(ttl).await;
        holds(&*store, &key, &new, "after the first expiry, though an update renewed it").await?;
        return Ok(());
    }
    Err(crate::case::too_slow())
}

async fn renewed_by_touch_lives_on(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    for ttl in SHORT {
        let (key, record) = (key(), record("x"));
        let began = Instant::now();
        store.save(&key, &record, create(ttl)).await?;
        let renewed = store.touch(&key, record.revision, LONG).await;
        if too_late(&renewed, began, ttl) {
            continue;
        }
        renewed?;
        outlive(ttl).await;
        holds(&*store, &key, &record, "after the first expiry, though a touch renewed it").await?;
        return Ok(());
    }
    Err(crate::case::too_slow())
}

async fn update_of_expired_is_gone(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, old) = (key(), record("old"));
    store.save(&key, &old, create(BRIEF)).await?;
    outlive(BRIEF).await;
    for ttl in [None, Some(LONG)] {
        let result = store.save(&key, &record("new"), update(&old, ttl)).await;
        refused(result, ErrorKind::Gone, "an update of an expired record")?;
        absent(&*store, &key, "after an update of an expired record").await?;
    }
    let result = store.save(&key, &old, update(&record("other"), Some(LONG))).await;
    refused(result, ErrorKind::Gone, "an update over another revision of an expired record")
}

async fn touch_of_expired_is_gone(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, record) = (key(), record("x"));
    store.save(&key, &record, create(BRIEF)).await?;
    outlive(BRIEF).await;
    for expected in [record.revision, revision()] {
        let result = store.touch(&key, expected, LONG).await;
        refused(result, ErrorKind::Gone, "a touch of an expired record")?;
    }
    absent(&*store, &key, "after a touch of an expired record").await
}

async fn destroy_of_expired_is_false(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let record = record("x");
    for only in [None, Some(record.revision)] {
        let key = key();
        store.save(&key, &record, create(BRIEF)).await?;
        outlive(BRIEF).await;
        ensure!(
            !store.destroy(&key, only).await?,
            "destroy of an expired record must say false, but said true"
        );
        absent(&*store, &key, "after a destroy of an expired record").await?;
    }
    Ok(())
}

async fn create_over_expired_succeeds(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, mut old, new) = (key(), record("the old one was longer"), record("new"));
    old.owner = Some(owner("alice"));
    store.save(&key, &old, create(BRIEF)).await?;
    outlive(BRIEF).await;
    let before = Instant::now();
    store.save(&key, &new, create(LONG)).await?;
    let left = holds(&*store, &key, &new, "after a create over an expired one").await?;
    lives(left.expires_in, LONG, before, "the new record")
}

async fn zero_ttl_is_refused(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (fresh, taken, old) = (key(), key(), record("old"));
    let new = record("new");
    let zero = Duration::ZERO;
    let kind = ErrorKind::InvalidValue;
    refused(store.save(&fresh, &new, create(zero)).await, kind, "a create with a ttl of zero")?;
    absent(&*store, &fresh, "after a create with a ttl of zero").await?;
    store.save(&taken, &old, create(LONG)).await?;
    let result = store.save(&taken, &new, update(&old, Some(zero))).await;
    refused(result, kind, "an update with a ttl of zero")?;
    refused(store.touch(&taken, old.revision, zero).await, kind, "a touch with a ttl of zero")?;
    holds(&*store, &taken, &old, "after writes with a ttl of zero").await?;
    Ok(())
}

async fn shortest_ttl_is_accepted(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    for ttl in [Duration::from_nanos(1), Duration::from_millis(1)] {
        let key = key();
        store.save(&key, &record("x"), create(ttl)).await?;
        outlive(ttl).await;
        absent(&*store, &key, "after the shortest life").await?;
    }
    Ok(())
}

async fn huge_ttl_is_clamped(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let year = Duration::from_secs(365 * 86_400);
    let boundaries = [
        year * 20, // beyond 2038 and 2^31 seconds
        year * 90, // beyond 2106 and 2^32 seconds
        MAX_TTL - Duration::from_millis(1),
        MAX_TTL,
        MAX_TTL + Duration::from_millis(1),
        Duration::from_millis(i64::MAX.unsigned_abs()),
        Duration::from_millis(u64::MAX),
        Duration::MAX,
    ];
    for ttl in boundaries {
        let (key, old, new) = (key(), record("old"), record("new"));
        let counts_as = ttl.min(MAX_TTL);
        let before = Instant::now();
        store.save(&key, &old, create(ttl)).await?;
        let left = holds(&*store, &key, &old, "after a create with a huge ttl").await?;
        lives(left.expires_in, counts_as, before, "a record with a huge ttl")?;
        store.save(&key, &new, update(&old, Some(ttl))).await?;
        store.touch(&key, new.revision, ttl).await?;
        let left = holds(&*store, &key, &new, "after a touch with a huge ttl").await?;
        lives(left.expires_in, counts_as, before, "a record touched with a huge ttl")?;
    }
    Ok(())
}
