//! Renewals.

use std::time::{Duration, Instant};

use session_core::ErrorKind;

use crate::case::{
    CaseResult, Context, LONG, SHORT, absent, cases, create, ensure, holds, key, lives, outlive,
    owner, record, refused, revision, too_late, update,
};

cases! { "touch":
    "clause 16" => renews,
    "clause 16" => shortens,
    "clause 16" => keeps_record,
    "clause 16" => keeps_the_revision_for_updates,
    "clause 16" => of_missing_is_gone,
    "clause 16" => after_destroy_is_gone,
    "clause 16" => of_other_revision_conflicts,
    "clause 16" => of_replaced_record_conflicts,
    "clause 16" => never_prolongs_what_replaced_its_record,
    "clause 16" => leaves_other_records_alone,
}

async fn renews(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, record) = (key(), record("x"));
    store.save(&key, &record, create(LONG)).await?;
    let before = Instant::now();
    store.touch(&key, record.revision, LONG * 2).await?;
    let left = holds(&*store, &key, &record, "after a touch").await?.expires_in;
    lives(left, LONG * 2, before, "a touched record")
}

async fn shortens(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, record, ttl) = (key(), record("x"), Duration::from_millis(100));
    store.save(&key, &record, create(LONG)).await?;
    store.touch(&key, record.revision, ttl).await?;
    outlive(ttl).await;
    absent(&*store, &key, "after the shorter life of a touch").await
}

async fn keeps_record(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, mut record) = (key(), record(b"any\0bytes\xff"));
    record.owner = Some(owner("alice"));
    store.save(&key, &record, create(LONG)).await?;
    store.touch(&key, record.revision, LONG).await?;
    holds(&*store, &key, &record, "after a touch").await?;
    Ok(())
}

async fn keeps_the_revision_for_updates(cx: &Context) -> CaseResult {
    let (one, other) = (cx.backend().await?, cx.backend().await?);
    let (key, old, new) = (key(), record("old"), record("new"));
    one.save(&key, &old, create(LONG)).await?;
    for _ in 0..2 {
        other.touch(&key, old.revision, LONG).await?;
    }
    one.save(&key, &new, update(&old, None)).await?;
    holds(&*other, &key, &new, "after an update of a touched record").await?;
    Ok(())
}

async fn of_missing_is_gone(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let key = key();
    let result = store.touch(&key, revision(), LONG).await;
    refused(result, ErrorKind::Gone, "a touch without a record")?;
    absent(&*store, &key, "after a touch without a record").await
}

async fn after_destroy_is_gone(cx: &Context) -> CaseResult {
    let (slow, fast) = (cx.backend().await?, cx.backend().await?);
    let (key, record) = (key(), record("x"));
    slow.save(&key, &record, create(LONG)).await?;
    fast.destroy(&key, None).await?;
    let result = slow.touch(&key, record.revision, LONG).await;
    refused(result, ErrorKind::Gone, "a touch after a destroy")?;
    absent(&*slow, &key, "after a touch of a destroyed record").await
}

/// Revisions that differ in one bit are different.
async fn of_other_revision_conflicts(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, record) = (key(), record("x"));
    store.save(&key, &record, create(LONG)).await?;
    let number = record.revision.to_u64();
    let near = [0, 31, 32, 52, 62, 63].map(|bit| number ^ (1 << bit));
    for other in near.into_iter().chain([revision().to_u64(), 0]) {
        let expected = session_core::Revision::from_u64(other);
        for ttl in [LONG * 2, Duration::from_millis(1)] {
            let result = store.touch(&key, expected, ttl).await;
            refused(result, ErrorKind::Conflict, "a touch of another revision")?;
        }
    }
    let left = holds(&*store, &key, &record, "after a refused touch").await?.expires_in;
    ensure!(
        left <= LONG && left > LONG / 2,
        "a refused touch must leave the expiry, but {left:?} are left of {LONG:?}"
    );
    Ok(())
}

async fn of_replaced_record_conflicts(cx: &Context) -> CaseResult {
    let (slow, fast) = (cx.backend().await?, cx.backend().await?);
    let (key, old, new) = (key(), record("old"), record("new"));
    slow.save(&key, &old, create(LONG)).await?;
    fast.save(&key, &new, update(&old, Some(LONG))).await?;
    let result = slow.touch(&key, old.revision, LONG * 2).await;
    refused(result, ErrorKind::Conflict, "a touch of a replaced record")?;
    let left = holds(&*slow, &key, &new, "after a refused touch").await?.expires_in;
    ensure!(left <= LONG, "a refused touch must leave the expiry, but {left:?} are left");
    slow.touch(&key, new.revision, LONG * 2).await?;
    let left = holds(&*fast, &key, &new, "after a touch").await?.expires_in;
    ensure!(left > LONG, "a touch of the new record must renew it, but {left:?} are left");
    Ok(())
}

/// The small record with a short ttl that a rotation leaves expires on time, in spite of stale renewals.
async fn never_prolongs_what_replaced_its_record(cx: &Context) -> CaseResult {
    let (slow, fast) = (cx.backend().await?, cx.backend().await?);
    for ttl in SHORT {
        let (key, mut old, small) = (key(), record([7; 3_000]), record("rotated"));
        old.owner = Some(owner("alice"));
        slow.save(&key, &old, create(LONG)).await?;
        slow.touch(&key, old.revision, LONG * 2).await?;
        let began = Instant::now();
        fast.save(&key, &small, update(&old, Some(ttl))).await?;
        let late = slow.touch(&key, old.revision, LONG).await;
        if too_late(&late, began, ttl) {
            continue;
        }
        refused(late, ErrorKind::Conflict, "a touch of a replaced record")?;
        outlive(ttl).await;
        absent(&*fast, &key, "after the life of the record that replaced it").await?;
        let late = slow.touch(&key, old.revision, LONG).await;
        refused(late, ErrorKind::Gone, "a touch of a replaced record that expired")?;
        return absent(&*fast, &key, "after a touch of an expired record").await;
    }
    Err(crate::case::too_slow())
}

async fn leaves_other_records_alone(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (one, other, record) = (key(), key(), record("x"));
    store.save(&one, &record, create(LONG)).await?;
    store.save(&other, &record, create(LONG)).await?;
    store.touch(&one, record.revision, LONG * 2).await?;
    let left = holds(&*store, &other, &record, "after a touch of another").await?;
    ensure!(
        left.expires_in <= LONG,
        "a touch must leave other records alone, but {:?} are left of {LONG:?}",
        left.expires_in
    );
    Ok(())
}
