//! Lost responses, servers that hang, and saves that are dropped.

use std::time::{Duration, Instant};

use session_core::{Config, ErrorKind, Saved, Session, SessionStore};

use super::concurrency::poll_then_drop;
use crate::case::{CaseResult, Context, Failure, cases, ensure, refused};
use crate::spy::{Injected, Spy};
use crate::visitor::Visitor;

cases! { "errors":
    "the promise that no write is applied twice" => lost_answer_to_a_create,
    "the promise that no write is applied twice" => lost_answer_to_an_update,
    "the promise that no write is applied twice" => lost_answer_to_a_rotation,
    "the promise that no write is applied twice" => answers_lost_again_and_again,
    "the promise that logout always wins" => lost_answer_to_a_destroy,
    "the promise that a lost write is sent again" => lost_request_is_applied_once,
    "the promise that an outage is never an empty session" => outage_is_unavailable,
    "the promise that every wait is bounded" => hanging_store_is_unavailable_in_time,
    "the promise that a dropped save is all or nothing" => dropped_saves_apply_once,
}

/// A store whose outcomes the case can change, and a session in it with `n` = 1.
async fn spoiled(cx: &Context) -> CaseResult<(Spy, Visitor, Session)> {
    spoiled_with(cx, Config::default()).await
}

async fn spoiled_with(cx: &Context, config: Config) -> CaseResult<(Spy, Visitor, Session)> {
    let spy = Spy::new(cx.backend().await?);
    let store = SessionStore::new(spy.clone()).with_config(config)?;
    let mut visitor = Visitor::known(&store).await?;
    let session = visitor.session().await?;
    increment(&session)?;
    visitor.save(&session).await?;
    Ok((spy, visitor, session))
}

fn increment(session: &Session) -> CaseResult {
    session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
    Ok(())
}

async fn counts(visitor: &Visitor, must: u64) -> CaseResult {
    let n = visitor.session().await?.get::<u64>("n")?;
    ensure!(n == Some(must), "each acknowledged increment must count once: {must}, but n is {n:?}");
    Ok(())
}

async fn lost_answer_to_a_create(cx: &Context) -> CaseResult {
    let spy = Spy::new(cx.backend().await?);
    let store = SessionStore::new(spy.clone());
    let mut visitor = Visitor::new(&store);
    let session = store.create();
    increment(&session)?;
    spy.fail_writes(&[Injected::LoseAnswer]);
    let saved = visitor.save(&session).await?;
    ensure!(saved == Saved::Issued, "a create whose answer was lost must be found: {saved:?}");
    counts(&visitor, 1).await
}

async fn lost_answer_to_an_update(cx: &Context) -> CaseResult {
    let (spy, mut visitor, session) = spoiled(cx).await?;
    increment(&session)?;
    spy.fail_writes(&[Injected::LoseAnswer]);
    visitor.save(&session).await?;
    counts(&visitor, 2).await?;
    increment(&session)?;
    visitor.save(&session).await?;
    counts(&visitor, 3).await
}

async fn lost_answer_to_a_rotation(cx: &Context) -> CaseResult {
    let (spy, mut visitor, session) = spoiled(cx).await?;
    let old = visitor.cookie()?.to_owned();
    increment(&session)?;
    session.regenerate();
    spy.fail_writes(&[Injected::LoseAnswer]);
    let saved = visitor.save(&session).await?;
    ensure!(saved == Saved::Issued, "a rotation must be Issued, but is {saved:?}");
    counts(&visitor, 2).await?;
    let revived = visitor.store.load(&old).await?;
    ensure!(revived.is_none(), "the old id must not work after a rotation whose answer was lost");
    Ok(())
}

async fn answers_lost_again_and_again(cx: &Context) -> CaseResult {
    let (spy, mut visitor, session) = spoiled(cx).await?;
    for must in 2..6 {
        increment(&session)?;
        spy.fail_writes(&[Injected::LoseAnswer, Injected::LoseAnswer]);
        spy.fail_loads(&[Injected::LoseRequest]);
        let unknown = visitor.save(&session).await;
        refused(unknown, ErrorKind::Unavailable, "a save that can't find out its outcome")?;
        spy.fail_writes(&[]);
        visitor.save(&session).await?;
        counts(&visitor, must).await?;
    }
    Ok(())
}

async fn lost_answer_to_a_destroy(cx: &Context) -> CaseResult {
    let (spy, mut visitor, session) = spoiled(cx).await?;
    let old = visitor.cookie()?.to_owned();
    session.destroy();
    spy.fail_writes(&[
        Injected::LoseRequest,
        Injected::LoseRequest,
        Injected::LoseRequest,
        Injected::LoseRequest,
    ]);
    let undone = visitor.save(&session).await;
    ensure!(
        undone.is_err() || visitor.store.load(&old).await?.is_none(),
        "a destroy that was not carried out must not be reported as done"
    );
    spy.fail_writes(&[Injected::LoseAnswer]);
    let _ = visitor.save(&session).await;
    spy.fail_writes(&[]);
    visitor.save(&session).await?;
    ensure!(
        visitor.store.load(&old).await?.is_none(),
        "a repeated destroy must remove the session"
    );
    Ok(())
}

async fn lost_request_is_applied_once(cx: &Context) -> CaseResult {
    let (spy, mut visitor, session) = spoiled(cx).await?;
    increment(&session)?;
    spy.fail_writes(&[Injected::LoseRequest]);
    visitor.save(&session).await?;
    counts(&visitor, 2).await
}

async fn outage_is_unavailable(cx: &Context) -> CaseResult {
    let (spy, visitor, _) = spoiled(cx).await?;
    spy.fail_loads(&[Injected::LoseRequest; 8]);
    let loaded = visitor.store.load(visitor.cookie()?).await;
    refused(
        loaded.map(|session| session.is_some()),
        ErrorKind::Unavailable,
        "a load in an outage",
    )?;
    spy.fail_loads(&[]);
    counts(&visitor, 1).await
}

async fn hanging_store_is_unavailable_in_time(cx: &Context) -> CaseResult {
    let deadline = Duration::from_millis(1_500);
    let (spy, mut visitor, session) =
        spoiled_with(cx, Config::default().deadline(deadline)).await?;
    increment(&session)?;
    spy.fail_writes(&[Injected::Hang; 8]);
    spy.fail_loads(&[Injected::Hang; 8]);
    let began = Instant::now();
    refused(visitor.save(&session).await, ErrorKind::Unavailable, "a save to a store that hangs")?;
    let took = began.elapsed();
    ensure!(
        took < deadline + Duration::from_secs(3),
        "a deadline of {deadline:?} must end a save, but it took {took:?}"
    );
    spy.fail_writes(&[]);
    spy.fail_loads(&[]);
    visitor.save(&session).await?;
    counts(&visitor, 2).await
}

async fn dropped_saves_apply_once(cx: &Context) -> CaseResult {
    for polls in 0..24 {
        let (_, mut visitor, session) = spoiled(cx).await?;
        let regenerate = polls % 2 == 1;
        increment(&session)?;
        let ended = poll_then_drop(polls, visitor.store.save(&session)).await;
        match visitor.save(&session).await {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                return Err(Failure::Failed("a save after a dropped one must not conflict".into()));
            }
            saved => drop(saved?),
        };
        counts(&visitor, 2).await?;
        if regenerate {
            session.regenerate();
            visitor.save(&session).await?;
            counts(&visitor, 2).await?;
        }
        if ended {
            return Ok(());
        }
    }
    Ok(())
}
