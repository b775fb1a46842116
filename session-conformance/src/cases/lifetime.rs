//! The lifetime and the idle timeout of sessions.

use std::time::{Duration, Instant};

use session_core::{Config, ErrorKind};

use crate::case::{CaseResult, Context, SHORT, SLACK, cases, ensure, lives, outlive, refused};
use crate::visitor::Visitor;

cases! { "lifetime":
    "the promise that use does not prolong the lifetime" => fixed_stays_fixed_when_written_often,
    "the promise that use renews a session" => idle_timeout_is_renewed,
    "the promise that no session outlives the lifetime" => ends_however_busy,
    "the promise that an expired session is gone" => save_of_expired_is_gone,
    "the promise that an idle session expires" => idle_session_expires,
    "the promise of a lifetime for one session" => set_lifetime_is_for_this_session,
    "the promise that extend renews" => extend_renews,
    "the promise that created_at stays" => created_at_stays,
}

const STEP: Duration = Duration::from_millis(10);

async fn fixed_stays_fixed_when_written_often(cx: &Context) -> CaseResult {
    let lifetime = SHORT[0] * 2;
    let store = cx.store(Config::default().lifetime(lifetime)).await?;
    let mut visitor = Visitor::known(&store).await?;
    let created = Instant::now();
    loop {
        let asked = created.elapsed();
        let Some(session) = visitor.load().await? else {
            return Ok(());
        };
        ensure!(
            asked <= lifetime + SLACK,
            "use must not prolong a lifetime of {lifetime:?}, but the session is alive after {asked:?}"
        );
        session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
        let saved = visitor.save(&session).await;
        if saved.as_ref().is_err_and(|error| error.kind() != ErrorKind::Gone) {
            let _ = saved?;
        }
        tokio::time::sleep(STEP).await;
    }
}

async fn idle_timeout_is_renewed(cx: &Context) -> CaseResult {
    for lifetime in SHORT {
        let config = Config::default().lifetime(None).idle_timeout(lifetime).renew_after(0.1);
        let store = cx.store(config).await?;
        let mut visitor = Visitor::known(&store).await?;
        let began = Instant::now();
        let mut last = began;
        let lost = loop {
            if began.elapsed() > lifetime * 2 {
                return Ok(());
            }
            let Some(session) = visitor.load().await? else {
                break last.elapsed();
            };
            let _ = session.contains("user");
            match visitor.save(&session).await {
                Err(error) if error.kind() == ErrorKind::Gone => break last.elapsed(),
                saved => drop(saved?),
            };
            last = Instant::now();
            tokio::time::sleep(STEP).await;
        };
        // The machine was too slow for this idle timeout: the next one is longer.
        ensure!(
            lost + lifetime / 5 >= lifetime,
            "a session with {lifetime:?} that was used {lost:?} ago must be alive, but has expired"
        );
    }
    Err(crate::case::too_slow())
}

async fn ends_however_busy(cx: &Context) -> CaseResult {
    let (timeout, limit) = (SHORT[0], SHORT[0] * 2);
    let config = Config::default().idle_timeout(timeout).renew_after(0.0).lifetime(limit);
    let store = cx.store(config).await?;
    let mut visitor = Visitor::known(&store).await?;
    let created = Instant::now();
    // The rest of the lifetime is computed before a save is sent, and counted from when it arrives.
    let mut slowest = Duration::ZERO;
    loop {
        let asked = created.elapsed();
        let Some(session) = visitor.load().await? else {
            return Ok(());
        };
        ensure!(
            asked <= limit + slowest + SLACK,
            "a lifetime of {limit:?} must end a session, but it is alive after {asked:?}"
        );
        session.extend();
        session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
        let began = Instant::now();
        let saved = visitor.save(&session).await;
        slowest = slowest.max(began.elapsed());
        if saved.as_ref().is_err_and(|error| error.kind() != ErrorKind::Gone) {
            let _ = saved?;
        }
        tokio::time::sleep(STEP).await;
    }
}

async fn save_of_expired_is_gone(cx: &Context) -> CaseResult {
    for lifetime in SHORT {
        let store = cx.store(Config::default().lifetime(lifetime)).await?;
        let mut visitor = Visitor::known(&store).await?;
        let Some(session) = visitor.load().await? else {
            continue;
        };
        outlive(lifetime).await;
        session.insert("late", 1)?;
        let saved = visitor.save(&session).await;
        // A cookie may be sealed once more, with the same expiry.
        if !cx.is_cookie() || saved.is_err() {
            refused(saved, ErrorKind::Gone, "a save of an expired session")?;
        }
        ensure!(visitor.load().await?.is_none(), "an expired session must load None");
        return Ok(());
    }
    Err(crate::case::too_slow())
}

async fn idle_session_expires(cx: &Context) -> CaseResult {
    let lifetime = SHORT[0];
    let store = cx.store(Config::default().idle_timeout(lifetime)).await?;
    let visitor = Visitor::known(&store).await?;
    outlive(lifetime).await;
    ensure!(visitor.load().await?.is_none(), "an idle session must expire after {lifetime:?}");
    Ok(())
}

async fn set_lifetime_is_for_this_session(cx: &Context) -> CaseResult {
    let (usual, longer) = (Duration::from_secs(60), Duration::from_secs(30 * 86_400));
    let store = cx.store(Config::default().lifetime(usual)).await?;
    let (mut remembered, other) = (Visitor::known(&store).await?, Visitor::known(&store).await?);
    let session = remembered.session().await?;
    session.set_lifetime(longer)?;
    let before = Instant::now();
    remembered.save(&session).await?;
    let left = remembered.session().await?.expires_in().unwrap_or_default();
    lives(left, longer, before, "a session with its own lifetime")?;
    let left = other.session().await?.expires_in().unwrap_or_default();
    ensure!(left <= usual, "another session must keep its {usual:?}, but has {left:?}");
    Ok(())
}

async fn extend_renews(cx: &Context) -> CaseResult {
    let lifetime = Duration::from_secs(60);
    let store = cx.store(Config::default().idle_timeout(lifetime)).await?;
    let mut visitor = Visitor::known(&store).await?;
    tokio::time::sleep(SLACK * 4).await;
    let session = visitor.session().await?;
    session.extend();
    let before = Instant::now();
    visitor.save(&session).await?;
    let left = visitor.session().await?.expires_in().unwrap_or_default();
    lives(left, lifetime, before, "an extended session")
}

async fn created_at_stays(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    let created = visitor.session().await?.created_at();
    tokio::time::sleep(STEP).await;
    let session = visitor.session().await?;
    session.insert("more", 1)?;
    session.regenerate();
    visitor.save(&session).await?;
    let after = visitor.session().await?.created_at();
    ensure!(after == created, "created_at must stay {created:?}, but is {after:?}");
    Ok(())
}
