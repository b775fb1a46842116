//! Logout, and the new id at login.

use std::time::Duration;

use session_core::{Config, ErrorKind, Saved};

use crate::case::{CaseResult, Context, LONG, cases, ensure, refused};
use crate::visitor::Visitor;

cases! { "logout":
    "the promise that logout always wins" => destroyed_session_is_none,
    "the promise that logout always wins" => destroyed_cookie_is_dead,
    "the promise that logout always wins" => save_after_destroy_is_gone,
    "the promise that logout always wins" => renewal_after_destroy_is_gone,
    "the promise that logout always wins" => regenerate_after_destroy_is_gone,
    "the promise that logout always wins" => destroy_at_once_needs_no_save,
    "the promise that logout always wins" => discard_does_not_forget_a_destroy,
    "the promise of a new id after logout" => values_after_destroy_get_a_new_id,
    "the promise that a session that is not stored can be destroyed" => destroy_of_unsaved_is_nothing,
    "the promise of a new id at login" => regenerate_keeps_data,
    "the promise of a new id at login" => regenerate_kills_the_old_id,
    "the promise that a failed request changes nothing" => discarded_regenerate_keeps_the_old_id,
}

async fn destroyed_session_is_none(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    let session = visitor.session().await?;
    session.destroy();
    let saved = visitor.save(&session).await?;
    ensure!(saved == Saved::Removed, "save after destroy must be Removed, but is {saved:?}");
    ensure!(
        store.cookie_value(&session).is_none(),
        "a destroyed session must have no cookie value"
    );
    ensure!(!session.exists(), "a destroyed session must not exist");
    Ok(())
}

async fn destroyed_cookie_is_dead(cx: &Context) -> CaseResult {
    cx.needs_revocation()?;
    let (store, elsewhere) =
        (cx.store(Config::default()).await?, cx.store(Config::default()).await?);
    let mut visitor = Visitor::known(&store).await?;
    let old = visitor.cookie()?.to_owned();
    let session = visitor.session().await?;
    ensure!(elsewhere.load(&old).await?.is_some(), "the session must load before its logout");
    session.destroy();
    visitor.save(&session).await?;
    for store in [store, elsewhere] {
        ensure!(store.load(&old).await?.is_none(), "a kept cookie must load None after a logout");
    }
    Ok(())
}

async fn save_after_destroy_is_gone(cx: &Context) -> CaseResult {
    cx.needs_revocation()?;
    let (slow, fast) = (cx.store(Config::default()).await?, cx.store(Config::default()).await?);
    let visitor = Visitor::known(&slow).await?;
    let in_flight = visitor.session().await?;
    let Some(logout) = fast.load(visitor.cookie()?).await? else {
        return Err(crate::case::Failure::Failed(
            "another handle must find the session".to_owned(),
        ));
    };
    fast.destroy(&logout).await?;
    in_flight.insert("late", 1)?;
    for _ in 0..2 {
        refused(slow.save(&in_flight).await, ErrorKind::Gone, "a save after a logout")?;
        ensure!(
            slow.cookie_value(&in_flight).is_none(),
            "a session that is gone must have no cookie value"
        );
        ensure!(visitor.load().await?.is_none(), "load must be None after a logout");
    }
    Ok(())
}

async fn renewal_after_destroy_is_gone(cx: &Context) -> CaseResult {
    cx.needs_revocation()?;
    let config = Config::default().idle_timeout(LONG).renew_after(0.0);
    let store = cx.store(config).await?;
    let visitor = Visitor::known(&store).await?;
    let in_flight = visitor.session().await?;
    store.destroy(&visitor.session().await?).await?;
    tokio::time::sleep(Duration::from_millis(2)).await;
    let _ = in_flight.contains("user");
    refused(store.save(&in_flight).await, ErrorKind::Gone, "a renewal after a logout")?;
    ensure!(visitor.load().await?.is_none(), "load must be None after a logout");
    Ok(())
}

async fn regenerate_after_destroy_is_gone(cx: &Context) -> CaseResult {
    cx.needs_revocation()?;
    let store = cx.store(Config::default()).await?;
    let visitor = Visitor::known(&store).await?;
    let in_flight = visitor.session().await?;
    store.destroy(&visitor.session().await?).await?;
    in_flight.regenerate();
    in_flight.insert("admin", true)?;
    refused(store.save(&in_flight).await, ErrorKind::Gone, "a rotation after a logout")?;
    ensure!(
        store.cookie_value(&in_flight).is_none(),
        "a session that is gone must have no cookie value"
    );
    ensure!(visitor.load().await?.is_none(), "load must be None after a logout");
    Ok(())
}

async fn destroy_at_once_needs_no_save(cx: &Context) -> CaseResult {
    cx.needs_revocation()?;
    let store = cx.store(Config::default()).await?;
    let visitor = Visitor::known(&store).await?;
    let session = visitor.session().await?;
    store.destroy(&session).await?;
    ensure!(visitor.load().await?.is_none(), "load must be None after SessionStore::destroy");
    store.destroy(&session).await?;
    Ok(())
}

async fn discard_does_not_forget_a_destroy(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    let session = visitor.session().await?;
    session.destroy();
    session.insert("of a failed request", 1)?;
    session.discard_changes();
    let saved = visitor.save(&session).await?;
    ensure!(
        saved == Saved::Removed,
        "a destroy must outlast discard_changes, but save is {saved:?}"
    );
    Ok(())
}

async fn values_after_destroy_get_a_new_id(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    let old = visitor.cookie()?.to_owned();
    let session = visitor.session().await?;
    session.destroy();
    session.insert("message", "good bye")?;
    let saved = visitor.save(&session).await?;
    ensure!(
        saved == Saved::Issued,
        "a save with values after a destroy must be Issued, but is {saved:?}"
    );
    ensure!(visitor.cookie()? != old, "values after a destroy must get a new id");
    let keys = visitor.session().await?.keys();
    ensure!(
        keys == ["message"],
        "the values of the destroyed session must not come back, but names are {keys:?}"
    );
    if cx.is_revocable() {
        ensure!(store.load(&old).await?.is_none(), "the old id must load None after a logout");
    }
    Ok(())
}

async fn destroy_of_unsaved_is_nothing(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let session = store.create();
    session.insert("never saved", 1)?;
    session.destroy();
    store.save(&session).await?;
    store.destroy(&session).await?;
    ensure!(
        store.cookie_value(&session).is_none(),
        "a session never saved must have no cookie value"
    );
    Ok(())
}

async fn regenerate_keeps_data(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    let old = visitor.cookie()?.to_owned();
    let session = visitor.session().await?;
    session.regenerate();
    session.insert("admin", true)?;
    let saved = visitor.save(&session).await?;
    ensure!(saved == Saved::Issued, "a new id must be Issued, but save is {saved:?}");
    ensure!(visitor.cookie()? != old, "regenerate must change the cookie value");
    let keys = visitor.session().await?.keys();
    ensure!(keys == ["admin", "user"], "regenerate must keep the values, but names are {keys:?}");
    Ok(())
}

async fn regenerate_kills_the_old_id(cx: &Context) -> CaseResult {
    cx.needs_revocation()?;
    let (store, elsewhere) =
        (cx.store(Config::default()).await?, cx.store(Config::default()).await?);
    let mut visitor = Visitor::known(&store).await?;
    let old = visitor.cookie()?.to_owned();
    let session = visitor.session().await?;
    ensure!(elsewhere.load(&old).await?.is_some(), "the session must load before its rotation");
    session.regenerate();
    visitor.save(&session).await?;
    for store in [store, elsewhere] {
        ensure!(store.load(&old).await?.is_none(), "the id from before a login must load None");
    }
    Ok(())
}

async fn discarded_regenerate_keeps_the_old_id(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    let session = visitor.session().await?;
    session.regenerate();
    session.insert("admin", true)?;
    session.discard_changes();
    let saved = visitor.save(&session).await?;
    ensure!(saved == Saved::Unchanged, "a discarded change must not be saved, but is {saved:?}");
    let keys = visitor.session().await?.keys();
    ensure!(keys == ["user"], "a failed request must change nothing, but names are {keys:?}");
    Ok(())
}
