//! Writing: create, and update as compare-and-swap.

use std::time::{Duration, Instant};

use session_core::ErrorKind;

use crate::case::{
    CaseResult, Context, LONG, SHORT, SLACK, absent, cases, create, ensure, holds, key, lives,
    outlive, owner, record, refused, same, update,
};

cases! { "save":
    "clause 5" => create_stores,
    "clause 5" => create_over_live_already_exists,
    "clause 5" => create_after_destroy_succeeds,
    "clause 6" => update_of_missing_is_gone,
    "clause 6" => update_after_destroy_is_gone,
    "clause 6" => update_of_other_revision_conflicts,
    "clause 6" => update_of_older_revision_conflicts,
    "clause 6" => update_leaves_other_records_alone,
    "clause 7" => update_without_ttl_keeps_deadline,
    "clause 7" => update_with_ttl_renews,
    "clause 7" => update_with_ttl_shortens,
    "clause 8" => update_replaces_payload,
    "clause 8" => update_to_a_small_record_is_complete,
    "clause 9" => identical_update_succeeds,
    "clause 9" => second_copy_of_an_update_changes_nothing,
    "clause 9" => late_copy_of_an_update_is_refused,
}

async fn create_stores(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, record) = (key(), record("hello"));
    store.save(&key, &record, create(LONG)).await?;
    holds(&*store, &key, &record, "after a create").await?;
    Ok(())
}

async fn create_over_live_already_exists(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, old) = (key(), record("old"));
    store.save(&key, &old, create(LONG)).await?;
    for intruder in [record("new"), old.clone()] {
        let result = store.save(&key, &intruder, create(LONG * 2)).await;
        refused(result, ErrorKind::AlreadyExists, "a create over a live record")?;
    }
    let left = holds(&*store, &key, &old, "after a refused create").await?;
    ensure!(
        left.expires_in <= LONG,
        "a refused create must not change the expiry, but {:?} are left of {LONG:?}",
        left.expires_in
    );
    Ok(())
}

async fn create_after_destroy_succeeds(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, old, new) = (key(), record("old"), record("new"));
    store.save(&key, &old, create(LONG)).await?;
    store.destroy(&key, None).await?;
    store.save(&key, &new, create(LONG)).await?;
    holds(&*store, &key, &new, "after a create of a destroyed key").await?;
    Ok(())
}

async fn update_of_missing_is_gone(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, record) = (key(), record("never created"));
    for ttl in [None, Some(LONG)] {
        let result = store.save(&key, &record, update(&record, ttl)).await;
        refused(result, ErrorKind::Gone, "an update without a record")?;
        absent(&*store, &key, "after a refused update").await?;
    }
    Ok(())
}

async fn update_after_destroy_is_gone(cx: &Context) -> CaseResult {
    let (slow, fast) = (cx.backend().await?, cx.backend().await?);
    let (key, loaded) = (key(), record("logged in"));
    slow.save(&key, &loaded, create(LONG)).await?;
    ensure!(fast.destroy(&key, None).await?, "the record must exist before it is destroyed");
    for ttl in [None, Some(LONG)] {
        let result = slow.save(&key, &record("of a slow request"), update(&loaded, ttl)).await;
        refused(result, ErrorKind::Gone, "an update after a destroy")?;
        absent(&*slow, &key, "after an update of a destroyed record").await?;
    }
    Ok(())
}

async fn update_of_other_revision_conflicts(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, old) = (key(), record("old"));
    store.save(&key, &old, create(LONG)).await?;
    let never_there = record("never there");
    for ttl in [None, Some(LONG * 2)] {
        let result = store.save(&key, &record("lost"), update(&never_there, ttl)).await;
        refused(result, ErrorKind::Conflict, "an update over another revision")?;
    }
    let left = holds(&*store, &key, &old, "after a refused update").await?;
    ensure!(
        left.expires_in <= LONG,
        "a refused update must not change the expiry, but {:?} are left of {LONG:?}",
        left.expires_in
    );
    Ok(())
}

async fn update_of_older_revision_conflicts(cx: &Context) -> CaseResult {
    let (slow, fast) = (cx.backend().await?, cx.backend().await?);
    let (key, old, new) = (key(), record("old"), record("new"));
    slow.save(&key, &old, create(LONG)).await?;
    fast.save(&key, &new, update(&old, None)).await?;
    let result = slow.save(&key, &record("late"), update(&old, None)).await;
    refused(result, ErrorKind::Conflict, "an update over an older revision")?;
    holds(&*slow, &key, &new, "after a refused update").await?;
    Ok(())
}

async fn update_leaves_other_records_alone(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let old = record("the same revision in both");
    let (one, other) = (key(), key());
    store.save(&one, &old, create(LONG)).await?;
    store.save(&other, &old, create(LONG)).await?;
    let new = record("new");
    store.save(&one, &new, update(&old, Some(LONG))).await?;
    holds(&*store, &one, &new, "after an update").await?;
    holds(&*store, &other, &old, "after an update of another key").await?;
    Ok(())
}

async fn update_without_ttl_keeps_deadline(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, mut last) = (key(), record("0"));
    let before = Instant::now();
    store.save(&key, &last, create(LONG)).await?;
    let created = Instant::now();
    for round in 1..=10 {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let next = record(round.to_string());
        store.save(&key, &next, update(&last, None)).await?;
        last = next;
    }
    let at_most = LONG - created.elapsed() + SLACK;
    let left = holds(&*store, &key, &last, "after ten updates").await?.expires_in;
    ensure!(
        left <= at_most,
        "an update without ttl must keep the expiry, but prolonged it: {left:?} are left instead of at most {at_most:?}"
    );
    let at_least = LONG.saturating_sub(before.elapsed() + SLACK);
    ensure!(
        left >= at_least,
        "an update without ttl must keep the expiry, but shortened it: {left:?} are left instead of at least {at_least:?}"
    );
    Ok(())
}

async fn update_with_ttl_renews(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, old, new) = (key(), record("old"), record("new"));
    store.save(&key, &old, create(LONG)).await?;
    let before = Instant::now();
    store.save(&key, &new, update(&old, Some(LONG * 2))).await?;
    let left = holds(&*store, &key, &new, "after an update").await?.expires_in;
    let at_least = LONG * 2 - before.elapsed() - SLACK;
    ensure!(
        left >= at_least && left <= LONG * 2,
        "an update with a ttl of {:?} must begin a new life, but {left:?} are left",
        LONG * 2
    );
    Ok(())
}

async fn update_with_ttl_shortens(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, old, new) = (key(), record("old"), record("new"));
    let ttl = Duration::from_millis(100);
    store.save(&key, &old, create(LONG)).await?;
    store.save(&key, &new, update(&old, Some(ttl))).await?;
    outlive(ttl).await;
    absent(&*store, &key, "after the shorter life of an update").await
}

async fn update_replaces_payload(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, mut last) = (key(), record("a first payload of middling length"));
    store.save(&key, &last, create(LONG)).await?;
    for payload in [&b"short"[..], &[7; 5000], b"", b"tail"] {
        let next = record(payload);
        store.save(&key, &next, update(&last, None)).await?;
        holds(&*store, &key, &next, "after an update").await?;
        last = next;
    }
    Ok(())
}

/// Like a rotation, this replaces a large record with an owner and a long ttl by a small one without an owner
/// and with a short ttl. Nothing of the large record may remain or come back.
async fn update_to_a_small_record_is_complete(cx: &Context) -> CaseResult {
    let (one, other) = (cx.backend().await?, cx.backend().await?);
    for ttl in SHORT {
        let (key, mut large, small) = (key(), record(vec![b'L'; 70_000]), record("small"));
        large.owner = Some(owner("alice"));
        one.save(&key, &large, create(LONG)).await?;
        let before = Instant::now();
        one.save(&key, &small, update(&large, Some(ttl))).await?;
        let Some(found) = other.load(&key).await? else {
            ensure!(before.elapsed() + SLACK >= ttl, "a record of {ttl:?} must not end before");
            continue;
        };
        same(&found.record, &small, "after an update to a small record")?;
        lives(found.expires_in, ttl, before, "a small record that replaced a large one")?;
        outlive(ttl).await;
        absent(&*other, &key, "after the life of the small record").await?;
        let late = other.save(&key, &large, update(&large, Some(LONG))).await;
        refused(late, ErrorKind::Gone, "an update over a revision that was replaced and expired")?;
        return absent(&*one, &key, "after a late update").await;
    }
    Err(crate::case::too_slow())
}

async fn identical_update_succeeds(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, record) = (key(), record("as it was"));
    store.save(&key, &record, create(LONG)).await?;
    for ttl in [None, None, Some(LONG), Some(LONG)] {
        store.save(&key, &record, update(&record, ttl)).await?;
        holds(&*store, &key, &record, "after an identical update").await?;
    }
    Ok(())
}

/// A driver may send an update twice. A store may recognise the second copy by the revision that it writes.
async fn second_copy_of_an_update_changes_nothing(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, mut old, new) = (key(), record("old"), record("new"));
    old.owner = Some(owner("alice"));
    store.save(&key, &old, create(LONG)).await?;
    store.save(&key, &new, update(&old, None)).await?;
    for ttl in [None, Some(LONG * 2)] {
        let second = store.save(&key, &new, update(&old, ttl)).await;
        if second.is_err() {
            refused(second, ErrorKind::Conflict, "the second copy of an update")?;
        }
        let left =
            holds(&*store, &key, &new, "after the second copy of an update").await?.expires_in;
        ensure!(
            left <= LONG,
            "the second copy of an update must not change the expiry, but {left:?} are left of {LONG:?}"
        );
    }
    Ok(())
}

/// The exception for a second copy ends as soon as the record no longer has the revision of the update.
async fn late_copy_of_an_update_is_refused(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, old, new, newest) = (key(), record("old"), record("new"), record("newest"));
    store.save(&key, &old, create(LONG)).await?;
    store.save(&key, &new, update(&old, None)).await?;
    store.save(&key, &newest, update(&new, None)).await?;
    let late = store.save(&key, &new, update(&old, None)).await;
    refused(late, ErrorKind::Conflict, "a copy of an update whose record was replaced since")?;
    holds(&*store, &key, &newest, "after a late copy of an update").await?;
    store.destroy(&key, None).await?;
    let late = store.save(&key, &newest, update(&new, None)).await;
    refused(late, ErrorKind::Gone, "a copy of an update whose record was destroyed since")?;
    absent(&*store, &key, "after a late copy of an update").await
}
