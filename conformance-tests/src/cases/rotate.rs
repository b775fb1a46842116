//! A new key for a session: login.

use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::{Error, ErrorKind};

use crate::case::{
    Context, LONG, SLACK, Verdict, absent, cases, create, ensure, key, lives, outlive, over, owner,
    record, refused, standing, stands, together, update,
};

cases! { "rotate":
    "clause 20" => moves,
    "clause 20" => moves_owner,
    "clause 20" => of_missing_is_gone,
    "clause 20" => after_destroy_is_gone,
    "clause 20" => of_expired_is_gone,
    "clause 20" => of_other_revision_conflicts,
    "clause 20" => old_key_stays_dead,
    "clause 21" => keeps_deadline,
    "clause 20" => with_ttl_renews,
    "clause 22" => one_rotation_wins,
    "clause 22" => update_meanwhile_conflicts,
    "clause 22" => destroy_meanwhile_wins,
}

async fn moves(cx: &Context) -> Verdict {
    let store = cx.backend().await?;
    let (old_key, new_key, old, new) = (key(), key(), record("guest"), record("alice"));
    store.save(&old_key, &old, create(LONG)).await?;
    store.rotate(&old_key, &new_key, &new, over(&old, None)).await?;
    absent(&*store, &old_key, "of the old key after a rotation").await?;
    stands(&*store, &new_key, &new, "under the new key after a rotation").await?;
    Ok(())
}

async fn moves_owner(cx: &Context) -> Verdict {
    let store = cx.backend().await?;
    let (old_key, new_key, old, mut new) = (key(), key(), record("guest"), record("alice"));
    new.owner = Some(owner("alice"));
    store.save(&old_key, &old, create(LONG)).await?;
    store.rotate(&old_key, &new_key, &new, over(&old, None)).await?;
    stands(&*store, &new_key, &new, "after a rotation").await?;
    let (third_key, third) = (key(), record("nobody"));
    store.rotate(&new_key, &third_key, &third, over(&new, None)).await?;
    stands(&*store, &third_key, &third, "after a rotation").await?;
    Ok(())
}

async fn of_missing_is_gone(cx: &Context) -> Verdict {
    let store = cx.backend().await?;
    let (old_key, new_key, record) = (key(), key(), record("x"));
    let result = store.rotate(&old_key, &new_key, &record, over(&record, Some(LONG))).await;
    refused(result, ErrorKind::Gone, "a rotation where nothing stands")?;
    absent(&*store, &old_key, "of the old key after a refused rotation").await?;
    absent(&*store, &new_key, "of the new key after a refused rotation").await
}

async fn after_destroy_is_gone(cx: &Context) -> Verdict {
    let (slow, fast) = (cx.backend().await?, cx.backend().await?);
    let (old_key, new_key, old) = (key(), key(), record("x"));
    slow.save(&old_key, &old, create(LONG)).await?;
    fast.destroy(&old_key, None).await?;
    let result = slow.rotate(&old_key, &new_key, &record("y"), over(&old, None)).await;
    refused(result, ErrorKind::Gone, "a rotation after a destroy")?;
    absent(&*slow, &old_key, "of the old key after a refused rotation").await?;
    absent(&*slow, &new_key, "of the new key after a refused rotation").await
}

async fn of_expired_is_gone(cx: &Context) -> Verdict {
    let store = cx.backend().await?;
    let (old_key, new_key, old) = (key(), key(), record("x"));
    let ttl = Duration::from_millis(30);
    store.save(&old_key, &old, create(ttl)).await?;
    outlive(ttl).await;
    let result = store.rotate(&old_key, &new_key, &record("y"), over(&old, Some(LONG))).await;
    refused(result, ErrorKind::Gone, "a rotation of an expired record")?;
    absent(&*store, &new_key, "of the new key after a refused rotation").await
}

async fn of_other_revision_conflicts(cx: &Context) -> Verdict {
    let (slow, fast) = (cx.backend().await?, cx.backend().await?);
    let (old_key, new_key, old, new) = (key(), key(), record("old"), record("new"));
    slow.save(&old_key, &old, create(LONG)).await?;
    fast.save(&old_key, &new, update(&old, None)).await?;
    let result = slow.rotate(&old_key, &new_key, &record("late"), over(&old, Some(LONG * 2))).await;
    refused(result, ErrorKind::Conflict, "a rotation over another revision")?;
    let left = stands(&*slow, &old_key, &new, "after a refused rotation").await?;
    ensure!(
        left.expires_in <= LONG,
        "a refused rotation must leave the deadline, but {:?} are left of {LONG:?}",
        left.expires_in
    );
    absent(&*slow, &new_key, "of the new key after a refused rotation").await
}

async fn old_key_stays_dead(cx: &Context) -> Verdict {
    let (slow, fast) = (cx.backend().await?, cx.backend().await?);
    let (old_key, new_key, old, new) = (key(), key(), record("old"), record("new"));
    slow.save(&old_key, &old, create(LONG)).await?;
    fast.rotate(&old_key, &new_key, &new, over(&old, None)).await?;
    let late = record("of a slow request");
    for seen in [&old, &new] {
        let result = slow.save(&old_key, &late, update(seen, Some(LONG))).await;
        refused(result, ErrorKind::Gone, "an update of the old key")?;
    }
    let result = slow.touch(&old_key, LONG).await;
    refused(result, ErrorKind::Gone, "a touch of the old key")?;
    ensure!(
        !slow.destroy(&old_key, None).await?,
        "destroy of the old key must say false, but said true"
    );
    stands(&*slow, &new_key, &new, "after late requests with the old key").await?;
    Ok(())
}

async fn keeps_deadline(cx: &Context) -> Verdict {
    let store = cx.backend().await?;
    let (mut at, mut last) = (key(), record("0"));
    let before = Instant::now();
    store.save(&at, &last, create(LONG)).await?;
    let created = Instant::now();
    tokio::time::sleep(SLACK * 5).await;
    let rotating = Instant::now();
    for round in 1..=2 {
        let (next_key, next) = (key(), record(round.to_string()));
        store.rotate(&at, &next_key, &next, over(&last, None)).await?;
        (at, last) = (next_key, next);
    }
    // A rotation by steps reads what is left and gives it anew, a moment later.
    let tolerance = rotating.elapsed() + SLACK;
    let at_most = LONG + tolerance - created.elapsed();
    let left = stands(&*store, &at, &last, "after two rotations").await?.expires_in;
    ensure!(
        left <= at_most,
        "the deadline must move along with a rotation without ttl, but {left:?} are left where at most {at_most:?} can be"
    );
    lives(left, LONG, before, "a rotated record")
}

async fn with_ttl_renews(cx: &Context) -> Verdict {
    let store = cx.backend().await?;
    let (old_key, new_key, old, new) = (key(), key(), record("old"), record("new"));
    store.save(&old_key, &old, create(LONG)).await?;
    let before = Instant::now();
    store.rotate(&old_key, &new_key, &new, over(&old, Some(LONG * 2))).await?;
    let left = stands(&*store, &new_key, &new, "after a rotation").await?;
    lives(left.expires_in, LONG * 2, before, "a rotated record")
}

async fn one_rotation_wins(cx: &Context) -> Verdict {
    let handles = [cx.backend().await?, cx.backend().await?];
    for _ in 0..4 {
        let (old_key, old) = (key(), record("old"));
        handles[0].save(&old_key, &old, create(LONG)).await?;
        let rotations = (0..8).map(|task| {
            let (store, new_key) = (Arc::clone(&handles[task % 2]), key());
            let (new, write) = (record(task.to_string()), over(&old, None));
            async move {
                let result = store.rotate(&old_key, &new_key, &new, write).await;
                (new_key, new, result)
            }
        });
        let mut won = 0;
        for (new_key, new, result) in together(rotations).await {
            if result.is_ok() {
                won += 1;
                stands(&*handles[0], &new_key, &new, "of the rotation that won").await?;
            } else {
                lost(result, "a rotation that lost")?;
                absent(&*handles[0], &new_key, "of a rotation that lost").await?;
            }
        }
        ensure!(won == 1, "of 8 concurrent rotations 1 must succeed, but {won} did");
        absent(&*handles[0], &old_key, "of the old key after a rotation").await?;
    }
    Ok(())
}

async fn update_meanwhile_conflicts(cx: &Context) -> Verdict {
    let (one, other) = (cx.backend().await?, cx.backend().await?);
    for _ in 0..16 {
        let (old_key, new_key) = (key(), key());
        let (old, moved, updated) = (record("old"), record("moved"), record("updated"));
        one.save(&old_key, &old, create(LONG)).await?;
        let (rotation, update) = tokio::join!(
            one.rotate(&old_key, &new_key, &moved, over(&old, None)),
            other.save(&old_key, &updated, update(&old, None)),
        );
        ensure!(
            rotation.is_ok() != update.is_ok(),
            "of a rotation and an update at the same moment 1 must succeed, but: {rotation:?}, {update:?}"
        );
        if update.is_ok() {
            refused(rotation, ErrorKind::Conflict, "a rotation that an update forestalled")?;
            stands(&*one, &old_key, &updated, "that was acknowledged during a rotation").await?;
            absent(&*one, &new_key, "of the new key after a refused rotation").await?;
        } else {
            refused(update, ErrorKind::Gone, "an update that a rotation forestalled")?;
            stands(&*one, &new_key, &moved, "under the new key").await?;
            absent(&*one, &old_key, "of the old key after a rotation").await?;
        }
    }
    Ok(())
}

async fn destroy_meanwhile_wins(cx: &Context) -> Verdict {
    let (one, other) = (cx.backend().await?, cx.backend().await?);
    for _ in 0..16 {
        let (old_key, new_key, old, new) = (key(), key(), record("old"), record("new"));
        one.save(&old_key, &old, create(LONG)).await?;
        let (rotation, destroyed) = tokio::join!(
            one.rotate(&old_key, &new_key, &new, over(&old, None)),
            other.destroy(&old_key, None),
        );
        absent(&*one, &old_key, "of the old key after a rotation and a destroy").await?;
        if destroyed? {
            refused(rotation, ErrorKind::Gone, "a rotation that a destroy forestalled")?;
            absent(&*one, &new_key, "of the new key after a destroy of the old one").await?;
        } else {
            rotation?;
            standing(&*one, &new_key, "under the new key after a rotation").await?;
        }
    }
    Ok(())
}

fn lost(result: Result<(), Error>, what: &str) -> Verdict {
    match result {
        Err(error) if matches!(error.kind(), ErrorKind::Gone | ErrorKind::Conflict) => Ok(()),
        other => refused(other, ErrorKind::Gone, what),
    }
}
