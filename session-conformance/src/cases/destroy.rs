//! Destroying records, as a logout does.

use crate::case::{
    CaseResult, Context, LONG, absent, cases, create, ensure, holds, key, record, update,
};

cases! { "destroy":
    "clause 17" => removes,
    "clause 17" => of_missing_is_false,
    "clause 17" => twice_is_false,
    "clause 17" => leaves_other_records_alone,
    "clause 18" => only_matching_revision,
    "clause 18" => only_of_missing_is_false,
}

async fn removes(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let key = key();
    store.save(&key, &record("x"), create(LONG)).await?;
    ensure!(
        store.destroy(&key, None).await?,
        "destroy of a live record must say true, but said false"
    );
    absent(&*store, &key, "after a destroy").await
}

async fn of_missing_is_false(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    ensure!(
        !store.destroy(&key(), None).await?,
        "destroy without a record must say false, but said true"
    );
    Ok(())
}

async fn twice_is_false(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let key = key();
    store.save(&key, &record("x"), create(LONG)).await?;
    store.destroy(&key, None).await?;
    ensure!(!store.destroy(&key, None).await?, "a second destroy must say false, but said true");
    absent(&*store, &key, "after two destroys").await
}

async fn leaves_other_records_alone(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (one, other, record) = (key(), key(), record("x"));
    store.save(&one, &record, create(LONG)).await?;
    store.save(&other, &record, create(LONG)).await?;
    store.destroy(&one, None).await?;
    holds(&*store, &other, &record, "after a destroy of another").await?;
    Ok(())
}

async fn only_matching_revision(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, old, new) = (key(), record("old"), record("new"));
    store.save(&key, &old, create(LONG)).await?;
    store.save(&key, &new, update(&old, None)).await?;
    ensure!(
        !store.destroy(&key, Some(old.revision)).await?,
        "destroy with another revision must say false, but said true"
    );
    holds(&*store, &key, &new, "after a destroy with another revision").await?;
    ensure!(
        store.destroy(&key, Some(new.revision)).await?,
        "destroy with the record's revision must say true, but said false"
    );
    absent(&*store, &key, "after a destroy with its revision").await
}

async fn only_of_missing_is_false(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    ensure!(
        !store.destroy(&key(), Some(record("x").revision)).await?,
        "destroy without a record must say false, but said true"
    );
    Ok(())
}
