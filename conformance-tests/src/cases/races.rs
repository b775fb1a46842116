//! Concurrent writes of several kinds, and concurrent writes of which some are dropped.

use std::sync::Arc;
use std::time::Duration;

use session_core::ErrorKind;

use super::concurrency::poll_then_drop;
use crate::case::{
    CaseResult, Context, LONG, absent, cases, create, ensure, holds, key, live, record, refused,
    same, together, update,
};

cases! { "concurrency":
    "clause 18" => destroy_or_update_wins,
    "clause 18" => destroy_ends_what_was_touched,
    "clause 11" => dropped_writes_take_no_others_along,
}

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
    for round in 0..6 {
        let writes = (0..32_usize).map(|n| {
            let store = Arc::clone(&handles[n % 2]);
            async move {
                let (key, old, new) = (key(), record("old"), record(n.to_be_bytes()));
                store.save(&key, &old, create(LONG)).await?;
                if n % 3 == round % 3 {
                    let polls = 1 + n / 3 % 3;
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
