//! Loading records, and the capabilities of a store.

use std::time::Instant;

use session_core::{Capabilities, Config, ErrorKind};

use crate::case::{
    CaseResult, Context, LONG, SLACK, absent, cases, create, ensure, holds, key, record, refused,
    same, update,
};

cases! { "load":
    "the harness's declaration" => capabilities_are_as_declared,
    "clause 3" => missing_is_none,
    "clause 3" => of_missing_creates_nothing,
    "clause 12" => does_not_renew,
    "clause 1" => gives_the_same_each_time,
    "clause 1" => every_handle_sees_the_same,
    "the claim `durable`" => finds_records_after_reopening,
}

async fn capabilities_are_as_declared(cx: &Context) -> CaseResult {
    let Capabilities { durable, expires_natively } = cx.capabilities;
    if !cx.is_cookie() {
        let claimed = cx.backend().await?.capabilities();
        ensure!(
            claimed == cx.capabilities,
            "the store must claim {:?}, as the harness expects, but claims {claimed:?}",
            cx.capabilities
        );
    }
    let guaranteed = cx.store(Config::default()).await?.guarantees();
    let found = (guaranteed.durable, guaranteed.expires_natively);
    ensure!(
        found == (durable, expires_natively),
        "the handle must guarantee what the store claims, but guarantees {guaranteed:?}"
    );
    let found = (guaranteed.detects_conflicts, guaranteed.revocable);
    ensure!(
        found == (!cx.is_cookie(), cx.is_revocable()),
        "every store on a server detects conflicts and can revoke, a cookie store only with a \
         revocation store, but the handle guarantees {guaranteed:?}"
    );
    Ok(())
}

async fn missing_is_none(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    store.save(&key(), &record("another session"), create(LONG)).await?;
    absent(&*store, &key(), "of a key that was never saved").await
}

async fn of_missing_creates_nothing(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let key = key();
    absent(&*store, &key, "of a key that was never saved").await?;
    let seen = record("never saved");
    let result = store.save(&key, &seen, update(&seen, None)).await;
    refused(result, ErrorKind::Gone, "an update after such a load")
}

async fn does_not_renew(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, record) = (key(), record("x"));
    store.save(&key, &record, create(LONG)).await?;
    let created = Instant::now();
    tokio::time::sleep(SLACK * 3).await;
    for _ in 0..2 {
        let elapsed = created.elapsed();
        let loaded = holds(&*store, &key, &record, "after a load").await?;
        ensure!(
            loaded.expires_in <= LONG - elapsed + SLACK,
            "a load must not change the expiry, but {:?} are left of {LONG:?} after {elapsed:?}",
            loaded.expires_in
        );
    }
    Ok(())
}

async fn gives_the_same_each_time(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    let (key, record) = (key(), record("the same each time"));
    store.save(&key, &record, create(LONG)).await?;
    for _ in 0..3 {
        holds(&*store, &key, &record, "of a repeated load").await?;
    }
    Ok(())
}

/// Both handles load before and after each write: neither may return the record that it loaded before.
async fn every_handle_sees_the_same(cx: &Context) -> CaseResult {
    let (one, other) = (cx.backend().await?, cx.backend().await?);
    for (writer, reader) in [(&one, &other), (&other, &one)] {
        let (key, first, second) = (key(), record("first"), record("second"));
        for handle in [writer, reader] {
            absent(&**handle, &key, "of a key that was never saved").await?;
        }
        writer.save(&key, &first, create(LONG)).await?;
        for handle in [writer, reader] {
            holds(&**handle, &key, &first, "that another handle created").await?;
        }
        writer.save(&key, &second, update(&first, None)).await?;
        for handle in [reader, writer] {
            holds(&**handle, &key, &second, "that another handle updated").await?;
        }
        writer.touch(&key, second.revision, LONG * 2).await?;
        let left = holds(&**reader, &key, &second, "that another handle renewed").await?.expires_in;
        ensure!(left > LONG, "a renewal by another handle must be visible, but {left:?} are left");
        ensure!(writer.destroy(&key, None).await?, "the record must exist before it is destroyed");
        for handle in [reader, writer] {
            absent(&**handle, &key, "after another handle destroyed it").await?;
        }
    }
    Ok(())
}

async fn finds_records_after_reopening(cx: &Context) -> CaseResult {
    let store = cx.backend().await?;
    if !cx.capabilities.durable {
        return Err(crate::case::skip("the store does not claim to be durable"));
    }
    let (key, gone, record) = (key(), crate::case::key(), record("durable"));
    store.save(&key, &record, create(LONG)).await?;
    store.save(&gone, &record, create(LONG)).await?;
    store.destroy(&gone, None).await?;
    drop(store);
    let store = cx.backend().await?;
    let Some(loaded) = store.load(&key).await? else {
        return Err(crate::case::Failure::Failed("a record is missing after reopening".to_owned()));
    };
    same(&loaded.record, &record, "after reopening")?;
    ensure!(
        loaded.expires_in <= LONG,
        "reopening must not change the expiry, but {:?} are left of {LONG:?}",
        loaded.expires_in
    );
    absent(&*store, &gone, "of a destroyed record after reopening").await
}
