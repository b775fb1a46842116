//! Concurrent requests of one visitor.

use session_core::{ErrorKind, Level, Saved, SessionStore};

use crate::case::{CaseResult, Context, Failure, cases, ensure, patient, refused, together};
use crate::visitor::Visitor;

cases! { "merge":
    "the promise that no change is lost" => different_keys_survive,
    "the promise that the later save of a value wins" => later_save_of_a_key_wins,
    "the promise that no change is lost" => removal_and_insert_survive,
    "the promise that no increment is lost" => sixty_four_increments_are_64,
    "the promise that no increment is lost" => updates_are_applied_again,
    "the promise that no message is lost" => messages_of_both_survive,
    "the promise that no change is lost" => save_and_regenerate_survive,
    "the promise that the old id does not work" => save_after_regenerate_is_gone,
}

/// Two application servers with one store, and a visitor with a session.
async fn servers(cx: &Context) -> CaseResult<(SessionStore, SessionStore, Visitor)> {
    cx.needs_conflicts()?;
    two_stores(cx).await
}

async fn two_stores(cx: &Context) -> CaseResult<(SessionStore, SessionStore, Visitor)> {
    let (one, other) = (cx.store(patient()).await?, cx.store(patient()).await?);
    let visitor = Visitor::known(&one).await?;
    Ok((one, other, visitor))
}

async fn loaded(store: &SessionStore, visitor: &Visitor) -> CaseResult<session_core::Session> {
    let session = store.load(visitor.cookie()?).await?;
    session.ok_or_else(|| Failure::Failed("a saved session must load, but is None".to_owned()))
}

async fn different_keys_survive(cx: &Context) -> CaseResult {
    let (one, other, visitor) = servers(cx).await?;
    let (a, b) = (loaded(&one, &visitor).await?, loaded(&other, &visitor).await?);
    a.insert("a", 1)?;
    b.insert("b", 2)?;
    ensure!(one.save(&a).await? == Saved::Updated, "the first save must be Updated");
    ensure!(other.save(&b).await? == Saved::Updated, "the second save must be Updated");
    let after = visitor.session().await?;
    let found = (after.get::<i32>("a")?, after.get::<i32>("b")?);
    ensure!(
        found == (Some(1), Some(2)),
        "the changes of both requests must be stored, but (a, b) is {found:?}"
    );
    ensure!(after.contains("user"), "the other values must stay");
    Ok(())
}

async fn later_save_of_a_key_wins(cx: &Context) -> CaseResult {
    let (one, other, visitor) = servers(cx).await?;
    let (a, b) = (loaded(&one, &visitor).await?, loaded(&other, &visitor).await?);
    a.insert("theme", "light")?;
    b.insert("theme", "dark")?;
    other.save(&b).await?;
    one.save(&a).await?;
    let theme = visitor.session().await?.get::<String>("theme")?;
    ensure!(theme.as_deref() == Some("light"), "the later save must win, but theme is {theme:?}");
    Ok(())
}

async fn removal_and_insert_survive(cx: &Context) -> CaseResult {
    let (one, other, visitor) = servers(cx).await?;
    let (a, b) = (loaded(&one, &visitor).await?, loaded(&other, &visitor).await?);
    ensure!(a.remove("user"), "the value must exist before it is removed");
    b.insert("b", 2)?;
    other.save(&b).await?;
    one.save(&a).await?;
    let keys = visitor.session().await?.keys();
    ensure!(
        keys == ["b"],
        "the removal and the insert must both be stored, but names are {keys:?}"
    );
    Ok(())
}

async fn sixty_four_increments_are_64(cx: &Context) -> CaseResult {
    let (one, other, visitor) = servers(cx).await?;
    let mut requests = Vec::new();
    for _ in 0..32 {
        for store in [&one, &other] {
            requests.push((store.clone(), loaded(store, &visitor).await?));
        }
    }
    let requests = requests.into_iter().map(|(store, session)| async move {
        session.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
        store.save(&session).await
    });
    for saved in together(requests).await {
        let _ = saved?;
    }
    let n = visitor.session().await?.get::<u64>("n")?;
    ensure!(n == Some(64), "64 acknowledged increments must make 64, but n is {n:?}");
    Ok(())
}

async fn updates_are_applied_again(cx: &Context) -> CaseResult {
    let (one, other, visitor) = servers(cx).await?;
    let (a, b) = (loaded(&one, &visitor).await?, loaded(&other, &visitor).await?);
    a.update("n", |n: Option<u64>| n.unwrap_or(0) + 1)?;
    b.update("n", |n: Option<u64>| n.unwrap_or(10) * 2)?;
    other.save(&b).await?;
    one.save(&a).await?;
    let n = visitor.session().await?.get::<u64>("n")?;
    ensure!(
        n == Some(21),
        "the second update must be applied to the result of the first (20), but n is {n:?}"
    );
    Ok(())
}

async fn messages_of_both_survive(cx: &Context) -> CaseResult {
    let (one, other, visitor) = servers(cx).await?;
    let (a, b) = (loaded(&one, &visitor).await?, loaded(&other, &visitor).await?);
    a.flash().message(Level::Info, "from a");
    b.flash().message(Level::Info, "from b");
    one.save(&a).await?;
    other.save(&b).await?;
    let messages = visitor.session().await?.flash().take_messages();
    let mut texts: Vec<_> = messages.into_iter().map(|message| message.text).collect();
    texts.sort();
    ensure!(texts == ["from a", "from b"], "both messages must be stored, but they are {texts:?}");
    Ok(())
}

async fn save_and_regenerate_survive(cx: &Context) -> CaseResult {
    let (one, other, mut visitor) = servers(cx).await?;
    let (a, b) = (loaded(&one, &visitor).await?, loaded(&other, &visitor).await?);
    a.insert("a", 1)?;
    b.regenerate();
    b.insert("b", 2)?;
    one.save(&a).await?;
    visitor.store = other;
    visitor.save(&b).await?;
    let keys = visitor.session().await?.keys();
    ensure!(
        keys == ["a", "b", "user"],
        "a rotation must keep the changes that were acknowledged before, but names are {keys:?}"
    );
    Ok(())
}

async fn save_after_regenerate_is_gone(cx: &Context) -> CaseResult {
    cx.needs_revocation()?;
    let (one, other, mut visitor) = two_stores(cx).await?;
    let old = visitor.cookie()?.to_owned();
    let (a, b) = (loaded(&one, &visitor).await?, loaded(&other, &visitor).await?);
    b.regenerate();
    visitor.save(&b).await?;
    a.insert("late", 1)?;
    refused(one.save(&a).await, ErrorKind::Gone, "a save with the id from before a login")?;
    ensure!(one.cookie_value(&a).is_none(), "a session that is gone must have no cookie value");
    ensure!(one.load(&old).await?.is_none(), "the id from before a login must load None");
    let keys = visitor.session().await?.keys();
    ensure!(keys == ["user"], "a refused save must write nothing, but names are {keys:?}");
    Ok(())
}
