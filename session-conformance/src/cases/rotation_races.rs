//! Rotations during other requests, and rotations of which a step is lost.

use std::sync::Arc;
use std::time::Duration;

use session_core::{Config, Error, ErrorKind, Saved, Session, SessionStore};
use tokio::sync::oneshot;

use super::tombstone::{Scene, found};
use crate::case::{CaseResult, Context, Failure, cases, ensure, patient, refused, together};
use crate::spy::Injected;
use crate::visitor::Visitor;

cases! { "tombstone":
    "the promise that logout always wins" => logout_between_the_steps_wins,
    "the promise that no change is lost" => save_between_the_steps_is_not_lost,
    "the promise that one of two rotations wins" => rotation_between_the_steps_wins,
    "the promise that one of two rotations wins" => one_of_many_rotations_wins,
    "the promise that no change is lost" => acknowledged_saves_move_along,
    "the promise that no write is applied twice" => lost_steps_are_found_out,
    "the promise that no write is applied twice" => lost_save_is_carried_along,
    "the promise that logout always wins" => logout_during_the_inquiry_wins,
    "the promise that the old id works until the new one does" => crash_between_the_steps_keeps_the_old_id,
}

/// The result of another request's operation, which the spy ran between two calls of the rotation.
fn heard<T>(mut hears: oneshot::Receiver<Result<T, Error>>, moment: &str) -> CaseResult<T> {
    match hears.try_recv() {
        Ok(result) => Ok(result?),
        Err(_) => Err(Failure::Failed(format!("the other request must have run {moment}"))),
    }
}

/// Lets another request do this before the rotation's second write.
fn between<T: Send + 'static>(
    scene: &Scene,
    act: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> oneshot::Receiver<Result<T, Error>> {
    let (tells, hears) = oneshot::channel();
    scene.spy.before_write(1, async move { drop(tells.send(act.await)) });
    hears
}

async fn logout_between_the_steps_wins(cx: &Context) -> CaseResult {
    let mut scene = Scene::new(cx, Config::default()).await?;
    let (session, other, logout) =
        (scene.session().await?, scene.other.clone(), scene.elsewhere().await?);
    session.regenerate();
    let done = between(&scene, async move { other.destroy(&logout).await });
    let result = scene.visitor.save(&session).await;
    heard(done, "between the steps of the rotation")?;
    refused(result, ErrorKind::Gone, "a rotation after a concurrent logout")?;
    ensure!(
        scene.store.cookie_value(&session).is_none(),
        "a session that is gone must have no cookie value"
    );
    scene.old_id_is_dead().await?;
    let saves = scene.spy.saves();
    scene.visitor.cookie = None;
    scene.no_other_is_left(&saves).await
}

async fn save_between_the_steps_is_not_lost(cx: &Context) -> CaseResult {
    let mut scene = Scene::new(cx, Config::default()).await?;
    let (session, other, late) =
        (scene.session().await?, scene.other.clone(), scene.elsewhere().await?);
    session.insert("a", 1)?;
    session.regenerate();
    late.insert("b", 2)?;
    let done = between(&scene, async move { other.save(&late).await });
    let saved = scene.visitor.save(&session).await?;
    ensure!(
        heard(done, "between the steps of the rotation")? == Saved::Updated,
        "the other save must be Updated"
    );
    ensure!(saved == Saved::Issued, "a rotation must be Issued, but is {saved:?}");
    scene.has(&["a", "b", "user"]).await?;
    scene.old_id_is_dead().await?;
    let saves = scene.spy.saves();
    scene.no_other_is_left(&saves).await
}

async fn rotation_between_the_steps_wins(cx: &Context) -> CaseResult {
    let mut scene = Scene::new(cx, Config::default()).await?;
    let (session, other, faster) =
        (scene.session().await?, scene.other.clone(), scene.elsewhere().await?);
    session.insert("lost", 1)?;
    session.regenerate();
    faster.insert("won", 1)?;
    faster.regenerate();
    let done = between(&scene, async move {
        let saved = other.save(&faster).await?;
        Ok((saved, other.cookie_value(&faster)))
    });
    let result = scene.visitor.save(&session).await;
    let (saved, cookie) = heard(done, "between the steps of the rotation")?;
    ensure!(saved == Saved::Issued, "the first rotation must be Issued, but is {saved:?}");
    refused(result, ErrorKind::Gone, "a rotation after a concurrent rotation")?;
    ensure!(
        scene.store.cookie_value(&session).is_none(),
        "a rotation that lost must have no cookie value"
    );
    scene.visitor.cookie = None;
    let saves = scene.spy.saves();
    scene.no_other_is_left(&saves).await?;
    scene.visitor.cookie = cookie.map(session_core::CookieValue::into_string);
    scene.has(&["user", "won"]).await?;
    scene.old_id_is_dead().await
}

/// Loads the visitor's session `count` times, with both stores alternately.
async fn requests(
    stores: [&SessionStore; 2],
    visitor: &Visitor,
    count: usize,
) -> CaseResult<Vec<(SessionStore, Session)>> {
    let mut requests = Vec::new();
    for store in stores.into_iter().cycle().take(count) {
        requests.push((store.clone(), found(store, visitor.cookie()?).await?));
    }
    Ok(requests)
}

async fn one_of_many_rotations_wins(cx: &Context) -> CaseResult {
    cx.needs_revocation()?;
    let (one, other) = (cx.store(patient()).await?, cx.store(patient()).await?);
    for _ in 0..8 {
        let visitor = Visitor::known(&one).await?;
        let rotations = requests([&one, &other], &visitor, 6).await?;
        let rotations = rotations.into_iter().map(|(store, session)| async move {
            session.regenerate();
            let result = store.save(&session).await;
            (result, store.cookie_value(&session))
        });
        let mut won = Vec::new();
        for (result, cookie) in together(rotations).await {
            match result {
                Ok(saved) => {
                    ensure!(saved == Saved::Issued, "a rotation must be Issued: {saved:?}");
                    won.extend(cookie.map(session_core::CookieValue::into_string));
                }
                lost => {
                    refused(lost, ErrorKind::Gone, "a rotation that lost")?;
                    ensure!(cookie.is_none(), "a rotation that lost must have no cookie value");
                }
            }
        }
        ensure!(won.len() == 1, "of 6 rotations 1 must win, but {} did", won.len());
        ensure!(
            found(&other, &won[0]).await?.contains("user"),
            "the session must have its values after the rotation that won"
        );
        ensure!(visitor.load().await?.is_none(), "the old id must load None");
    }
    Ok(())
}

async fn acknowledged_saves_move_along(cx: &Context) -> CaseResult {
    cx.needs_conflicts()?;
    let (one, other) = (cx.store(patient()).await?, cx.store(patient()).await?);
    for round in 0..12_u64 {
        let visitor = Visitor::known(&one).await?;
        let mut rotation = Visitor { store: other.clone(), cookie: visitor.cookie.clone() };
        let rotated = rotation.session().await?;
        rotated.regenerate();
        let writers = requests([&one, &other], &visitor, 6).await?.into_iter().enumerate();
        let writers = writers.map(|(n, (store, session))| async move {
            tokio::time::sleep(Duration::from_micros(fastrand::u64(..1 + round * 200))).await;
            session.insert(&n.to_string(), n)?;
            let saved = store.save(&session).await;
            Ok::<_, Error>((n, saved))
        });
        let writing = tokio::spawn(together(writers.collect::<Vec<_>>()));
        tokio::time::sleep(Duration::from_micros(fastrand::u64(..1 + round * 100))).await;
        let saved = rotation.save(&rotated).await?;
        ensure!(saved == Saved::Issued, "a rotation must be Issued, but is {saved:?}");
        let results = writing.await.expect("writers do not panic");
        let after = rotation.session().await?;
        for result in results {
            let (n, saved) = result?;
            let is_there = after.contains(&n.to_string());
            match saved {
                Ok(_) => {
                    ensure!(is_there, "a rotation must keep an acknowledged save, but lost it");
                }
                gone => {
                    refused(gone, ErrorKind::Gone, "a save after a rotation")?;
                    ensure!(!is_there, "a save that says Gone must have written nothing");
                }
            }
        }
    }
    Ok(())
}

async fn lost_steps_are_found_out(cx: &Context) -> CaseResult {
    use Injected::{LoseAnswer, LoseRequest, Nothing};
    let errors: [&[Injected]; 6] = [
        &[LoseAnswer],
        &[LoseRequest],
        &[Nothing, LoseAnswer],
        &[Nothing, LoseRequest],
        &[LoseAnswer, LoseAnswer],
        &[LoseRequest, Nothing, LoseRequest],
    ];
    for injected in errors {
        let mut scene = Scene::new(cx, Config::default()).await?;
        let session = scene.session().await?;
        session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
        session.regenerate();
        scene.spy.fail_writes(injected);
        let saved = scene.visitor.save(&session).await?;
        ensure!(saved == Saved::Issued, "{injected:?}: a rotation must be Issued, not {saved:?}");
        let n = scene.visitor.session().await?.get::<u64>("n")?;
        ensure!(n == Some(1), "{injected:?}: the change must be applied once, but n is {n:?}");
        scene.old_id_is_dead().await?;
    }
    Ok(())
}

/// The response to a save is lost, and another request rotates the session before the handle loads the record.
async fn lost_save_is_carried_along(cx: &Context) -> CaseResult {
    let mut scene = Scene::new(cx, Config::default()).await?;
    let (session, other) = (scene.session().await?, scene.other.clone());
    session.insert("saved", 1)?;
    let old = scene.old.clone();
    let (tells, hears) = oneshot::channel();
    scene.spy.fail_writes(&[Injected::LoseAnswer]);
    scene.spy.before_load(async move {
        let rotated = async {
            let faster = other.load(&old).await?.ok_or_else(Error::gone)?;
            faster.regenerate();
            other.save(&faster).await?;
            Ok(other.cookie_value(&faster))
        };
        drop(tells.send(rotated.await));
    });
    let saved = scene.store.save(&session).await;
    let cookie = heard(hears, "before the handle loaded the record")?;
    if let Err(error) = saved {
        ensure!(
            error.kind() != ErrorKind::Gone,
            "Gone says that nothing was written, but the save is part of the rotated session"
        );
        return Err(error.into());
    }
    scene.visitor.cookie = cookie.map(session_core::CookieValue::into_string);
    scene.has(&["saved", "user"]).await?;
    scene.old_id_is_dead().await
}

/// The rotation was carried out, and a logout with the old id then ended the session under its new id.
async fn logout_during_the_inquiry_wins(cx: &Context) -> CaseResult {
    let mut scene = Scene::new(cx, Config::default()).await?;
    let (session, other, logout) =
        (scene.session().await?, scene.other.clone(), scene.elsewhere().await?);
    session.regenerate();
    scene.spy.fail_writes(&[Injected::Nothing, Injected::LoseAnswer]);
    let (tells, hears) = oneshot::channel();
    scene.spy.before_load(async move { drop(tells.send(other.destroy(&logout).await)) });
    match scene.visitor.save(&session).await {
        Err(error) if error.kind() == ErrorKind::Gone => scene.visitor.cookie = None,
        saved => ensure!(saved? == Saved::Issued, "a rotation must be Issued or Gone"),
    }
    heard(hears, "after the lost response")?;
    ensure!(
        scene.visitor.load().await?.is_none(),
        "a logout must end a session whose rotation is in doubt"
    );
    scene.old_id_is_dead().await?;
    let saves = scene.spy.saves();
    scene.no_other_is_left(&saves).await
}

async fn crash_between_the_steps_keeps_the_old_id(cx: &Context) -> CaseResult {
    let mut scene = Scene::new(cx, Config::default()).await?;
    let before = scene.left().await?.record;
    let session = scene.session().await?;
    session.insert("half", 1)?;
    session.regenerate();
    scene.spy.fail_writes(&[Injected::Nothing, Injected::HangBefore]);
    let hangs = Arc::new(tokio::sync::Notify::new());
    let (tells, store, saving) = (Arc::clone(&hangs), scene.store.clone(), session.clone());
    scene.spy.before_write(1, async move { tells.notify_one() });
    let saving = tokio::spawn(async move { store.save(&saving).await });
    let limit = Duration::from_secs(10);
    let came = tokio::time::timeout(limit, hangs.notified()).await;
    ensure!(came.is_ok(), "a rotation must reach its second write");
    saving.abort();
    let _ = saving.await;
    let left = scene.left().await?.record;
    crate::case::same(&left, &before, "between the steps of a rotation")?;
    let elsewhere = scene.elsewhere().await?;
    ensure!(
        elsewhere.keys() == ["user"],
        "a rotation that stopped between its steps must leave the old session as it was"
    );
    scene.spy.fail_writes(&[]);
    let saved = scene.visitor.save(&session).await?;
    ensure!(saved == Saved::Issued, "a rotation that is tried again must be Issued: {saved:?}");
    scene.has(&["half", "user"]).await?;
    scene.old_id_is_dead().await
}
