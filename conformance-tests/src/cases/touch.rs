//! A new life without a new record.

use std::time::{Duration, Instant};

use session_core::ErrorKind;

use crate::case::{
    Context, LONG, SLACK, Verdict, absent, cases, create, ensure, key, outlive, owner, record,
    refused, stands, update,
};

cases! { "touch":
    "clause 16" => renews,
    "clause 16" => shortens,
    "clause 16" => keeps_record,
    "clause 16" => keeps_the_revision_for_updates,
    "clause 16" => of_missing_is_gone,
    "clause 16" => after_destroy_is_gone,
    "clause 16" => leaves_other_records_alone,
}

async fn renews(cx: &Context) -> Verdict {
    let store = cx.backend().await?;
    let (key, record) = (key(), record("x"));
    store.save(&key, &record, create(LONG)).await?;
    let before = Instant::now();
    store.touch(&key, LONG * 2).await?;
    let left = stands(&*store, &key, &record, "after a touch").await?.expires_in;
    ensure!(
        left >= LONG * 2 - before.elapsed() - SLACK && left <= LONG * 2,
        "a touch of {:?} must begin a new life, but {left:?} are left",
        LONG * 2
    );
    Ok(())
}

async fn shortens(cx: &Context) -> Verdict {
    let store = cx.backend().await?;
    let (key, record, ttl) = (key(), record("x"), Duration::from_millis(100));
    store.save(&key, &record, create(LONG)).await?;
    store.touch(&key, ttl).await?;
    outlive(ttl).await;
    absent(&*store, &key, "after the shorter life of a touch").await
}

async fn keeps_record(cx: &Context) -> Verdict {
    let store = cx.backend().await?;
    let (key, mut record) = (key(), record(b"any\0bytes\xff"));
    record.owner = Some(owner("alice"));
    store.save(&key, &record, create(LONG)).await?;
    store.touch(&key, LONG).await?;
    stands(&*store, &key, &record, "after a touch").await?;
    Ok(())
}

async fn keeps_the_revision_for_updates(cx: &Context) -> Verdict {
    let (one, other) = (cx.backend().await?, cx.backend().await?);
    let (key, old, new) = (key(), record("old"), record("new"));
    one.save(&key, &old, create(LONG)).await?;
    other.touch(&key, LONG).await?;
    one.save(&key, &new, update(&old, None)).await?;
    stands(&*other, &key, &new, "after an update of a touched record").await?;
    Ok(())
}

async fn of_missing_is_gone(cx: &Context) -> Verdict {
    let store = cx.backend().await?;
    let key = key();
    refused(store.touch(&key, LONG).await, ErrorKind::Gone, "a touch where nothing stands")?;
    absent(&*store, &key, "after a touch where nothing stood").await
}

async fn after_destroy_is_gone(cx: &Context) -> Verdict {
    let (slow, fast) = (cx.backend().await?, cx.backend().await?);
    let key = key();
    slow.save(&key, &record("x"), create(LONG)).await?;
    fast.destroy(&key, None).await?;
    refused(slow.touch(&key, LONG).await, ErrorKind::Gone, "a touch after a destroy")?;
    absent(&*slow, &key, "after a touch of a destroyed record").await
}

async fn leaves_other_records_alone(cx: &Context) -> Verdict {
    let store = cx.backend().await?;
    let (one, other, record) = (key(), key(), record("x"));
    store.save(&one, &record, create(LONG)).await?;
    store.save(&other, &record, create(LONG)).await?;
    store.touch(&one, LONG * 2).await?;
    let left = stands(&*store, &other, &record, "after a touch of another").await?;
    ensure!(
        left.expires_in <= LONG,
        "a touch must leave other records alone, but {:?} are left of {LONG:?}",
        left.expires_in
    );
    Ok(())
}
