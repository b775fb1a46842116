//! The number of store calls.

use std::time::Duration;

use session_core::{Config, Saved, SessionStore};

use crate::case::{CaseResult, Context, cases, ensure, owner};
use crate::spy::Spy;
use crate::visitor::Visitor;

cases! { "calls":
    "the promise of few store calls" => a_read_is_one,
    "the promise of few store calls" => a_read_and_a_write_are_two,
    "the promise of few store calls" => a_create_is_one,
    "the promise of few store calls" => a_sign_in_is_three,
    "the promise of few store calls" => a_logout_is_two,
    "the promise of few store calls" => an_unused_session_is_none,
    "the promise of few store calls" => renewal_is_one_touch_a_window,
    "the promise of few store calls" => malformed_ids_are_none,
}

async fn watched(cx: &Context, config: Config) -> CaseResult<(Spy, SessionStore)> {
    let spy = Spy::new(cx.backend().await?);
    let store = SessionStore::new(spy.clone()).with_config(config)?;
    Ok((spy, store))
}

async fn a_read_is_one(cx: &Context) -> CaseResult {
    let (spy, store) = watched(cx, Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    spy.asked();
    let session = visitor.session().await?;
    let _ = session.get::<String>("user")?;
    visitor.save(&session).await?;
    let asked = spy.asked();
    ensure!(asked == ["load"], "a request that reads must cost one load, but cost {asked:?}");
    Ok(())
}

async fn a_read_and_a_write_are_two(cx: &Context) -> CaseResult {
    let (spy, store) = watched(cx, Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    spy.asked();
    let session = visitor.session().await?;
    session.insert("n", 1)?;
    visitor.save(&session).await?;
    let asked = spy.asked();
    ensure!(asked == ["load", "save"], "read and write must cost two calls, but cost {asked:?}");
    Ok(())
}

async fn a_create_is_one(cx: &Context) -> CaseResult {
    let (spy, store) = watched(cx, Config::default()).await?;
    Visitor::known(&store).await?;
    let asked = spy.asked();
    ensure!(asked == ["save"], "a new session must cost one save, but cost {asked:?}");
    Ok(())
}

async fn a_sign_in_is_three(cx: &Context) -> CaseResult {
    let (spy, store) = watched(cx, Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    spy.asked();
    let session = visitor.session().await?;
    session.sign_in(owner("alice"));
    visitor.save(&session).await?;
    let asked = spy.asked();
    ensure!(
        asked == ["load", "save", "save"],
        "a sign-in must cost a load and two writes, but cost {asked:?}"
    );
    Ok(())
}

async fn a_logout_is_two(cx: &Context) -> CaseResult {
    let (spy, store) = watched(cx, Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    spy.asked();
    let session = visitor.session().await?;
    session.destroy();
    visitor.save(&session).await?;
    let asked = spy.asked();
    ensure!(asked == ["load", "destroy"], "a logout must cost two calls, but cost {asked:?}");
    Ok(())
}

async fn an_unused_session_is_none(cx: &Context) -> CaseResult {
    let (spy, store) = watched(cx, Config::default()).await?;
    let session = store.create();
    store.save(&session).await?;
    let _ = session.get::<u8>("nothing")?;
    store.save(&session).await?;
    let asked = spy.asked();
    ensure!(asked.is_empty(), "a new and empty session must cost nothing, but cost {asked:?}");
    Ok(())
}

async fn renewal_is_one_touch_a_window(cx: &Context) -> CaseResult {
    let window = Duration::from_millis(400);
    let config = Config::default().lifetime(None).idle_timeout(window * 100).renew_after(0.01);
    let (spy, store) = watched(cx, config).await?;
    let mut visitor = Visitor::known(&store).await?;
    tokio::time::sleep(window + window / 4).await;
    spy.asked();
    let began = std::time::Instant::now();
    for round in 0..8 {
        let session = visitor.session().await?;
        let _ = session.get::<String>("user")?;
        let saved = visitor.save(&session).await?;
        let must = if round == 0 { Saved::Issued } else { Saved::Unchanged };
        // If the machine was too slow, the next window has begun.
        ensure!(
            saved == must || began.elapsed() > window,
            "round {round} of a renewal window must be {must:?}, but is {saved:?}"
        );
    }
    let asked = spy.asked();
    let touches = asked.iter().filter(|&&name| name == "touch").count();
    ensure!(asked.iter().all(|&name| name != "save"), "a renewal must rewrite no data: {asked:?}");
    ensure!(
        touches == 1 || began.elapsed() > window,
        "a renewal window must cost one touch, but cost {touches}"
    );
    Ok(())
}

async fn malformed_ids_are_none(cx: &Context) -> CaseResult {
    let (spy, store) = watched(cx, Config::default()).await?;
    let visitor = Visitor::known(&store).await?;
    spy.asked();
    for malformed in super::ids::malformed(visitor.cookie()?) {
        let found = store.load(&malformed).await?;
        ensure!(found.is_none(), "a malformed id must load None: {malformed:?}");
    }
    let asked = spy.asked();
    ensure!(asked.is_empty(), "a malformed id must not reach the store, but cost {asked:?}");
    Ok(())
}
