//! Flash entries, which are delivered once.

use session_core::{Config, FlashMode, Level};

use crate::case::{CaseResult, Context, cases, ensure};
use crate::visitor::Visitor;

cases! { "flash":
    "the promise that a flash is delivered once" => value_is_delivered_once,
    "the promise that a flash is delivered once" => messages_are_delivered_once_in_order,
    "the promise that a flash is for a later request" => is_not_seen_by_its_own_request,
    "the promise that no flash is lost unread" => waits_for_the_first_reader,
    "the promise that peek does not remove a flash" => peek_leaves_it,
    "the promise that keep delivers a flash again" => kept_one_is_delivered_again,
    "the promise of the option NextRequest" => next_request_mode_drops_the_unread,
    "the promise that a request that uses no session leaves its flash" => unused_request_ages_nothing,
}

async fn leave(cx: &Context, mode: FlashMode) -> CaseResult<Visitor> {
    let store = cx.store(Config::default().flash(mode)).await?;
    let mut visitor = Visitor::known(&store).await?;
    let session = visitor.session().await?;
    session.flash().insert("notice", "saved")?;
    session.flash().message(Level::Info, "one");
    session.flash().message(Level::Error, "two");
    session.flash().message(Level::Custom("tip".into()), "three");
    session.flash().message(Level::Info, "four");
    visitor.save(&session).await?;
    Ok(visitor)
}

async fn value_is_delivered_once(cx: &Context) -> CaseResult {
    let mut visitor = leave(cx, FlashMode::UntilRead).await?;
    let session = visitor.session().await?;
    let notice = session.flash().take::<String>("notice")?;
    ensure!(notice.as_deref() == Some("saved"), "a flash must be delivered, but is {notice:?}");
    visitor.save(&session).await?;
    let again = visitor.session().await?.flash().take::<String>("notice")?;
    ensure!(again.is_none(), "a flash must be delivered once, but came twice");
    Ok(())
}

async fn messages_are_delivered_once_in_order(cx: &Context) -> CaseResult {
    let mut visitor = leave(cx, FlashMode::UntilRead).await?;
    let session = visitor.session().await?;
    let infos = session.flash().take_level(&Level::Info);
    let texts: Vec<_> = infos.iter().map(|message| message.text.as_str()).collect();
    ensure!(
        texts == ["one", "four"],
        "messages of a level must keep their order, but are {texts:?}"
    );
    visitor.save(&session).await?;
    let session = visitor.session().await?;
    let rest = session.flash().take_messages();
    let rest: Vec<_> = rest.iter().map(|m| (m.level.as_str(), m.text.as_str())).collect();
    ensure!(
        rest == [("error", "two"), ("tip", "three")],
        "the other messages must keep level and order, but are {rest:?}"
    );
    visitor.save(&session).await?;
    let again = visitor.session().await?.flash().take_messages();
    ensure!(again.is_empty(), "messages must be delivered once, but {} came again", again.len());
    Ok(())
}

async fn is_not_seen_by_its_own_request(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let session = store.create();
    session.flash().insert("notice", "saved")?;
    ensure!(!session.flash().contains("notice"), "a flash must be for a later request");
    let mut visitor = Visitor::new(&store);
    visitor.save(&session).await?;
    ensure!(visitor.session().await?.flash().contains("notice"), "a flash alone must be stored");
    Ok(())
}

async fn waits_for_the_first_reader(cx: &Context) -> CaseResult {
    let mut visitor = leave(cx, FlashMode::UntilRead).await?;
    for n in 0..3 {
        let session = visitor.session().await?;
        session.insert("n", n)?;
        visitor.save(&session).await?;
    }
    let session = visitor.session().await?;
    let (notice, messages) = (session.flash().contains("notice"), session.flash().peek_messages());
    ensure!(notice && messages.len() == 4, "a flash must wait until it is read");
    Ok(())
}

async fn peek_leaves_it(cx: &Context) -> CaseResult {
    let mut visitor = leave(cx, FlashMode::UntilRead).await?;
    for _ in 0..2 {
        let session = visitor.session().await?;
        let notice = session.flash().peek::<String>("notice")?;
        ensure!(
            notice.as_deref() == Some("saved"),
            "peek must not remove a flash, but it is {notice:?}"
        );
        visitor.save(&session).await?;
    }
    Ok(())
}

async fn kept_one_is_delivered_again(cx: &Context) -> CaseResult {
    let mut visitor = leave(cx, FlashMode::UntilRead).await?;
    let session = visitor.session().await?;
    let _ = session.flash().take::<String>("notice")?;
    session.flash().keep("notice");
    visitor.save(&session).await?;
    let notice = visitor.session().await?.flash().take::<String>("notice")?;
    ensure!(notice.as_deref() == Some("saved"), "a kept flash must come again, but is {notice:?}");
    Ok(())
}

async fn next_request_mode_drops_the_unread(cx: &Context) -> CaseResult {
    let mut visitor = leave(cx, FlashMode::NextRequest).await?;
    let session = visitor.session().await?;
    ensure!(session.flash().contains("notice"), "a flash must live for the next request");
    visitor.save(&session).await?;
    let session = visitor.session().await?;
    let left = session.flash().contains("notice") || !session.flash().peek_messages().is_empty();
    ensure!(!left, "with NextRequest a flash must live for one request only, read or not");
    Ok(())
}

async fn unused_request_ages_nothing(cx: &Context) -> CaseResult {
    let mut visitor = leave(cx, FlashMode::NextRequest).await?;
    let unused = visitor.session().await?;
    visitor.save(&unused).await?;
    let session = visitor.session().await?;
    ensure!(
        session.flash().contains("notice"),
        "a request that uses no session must leave its flash"
    );
    Ok(())
}
