//! The cookie value that the client gets.

use session_core::{Config, Saved};

use crate::case::{CaseResult, Context, cases, ensure};
use crate::visitor::Visitor;

cases! { "cookie_value":
    "the promise that only a stored session has a cookie" => of_a_new_session_is_none,
    "the promise that a new session is issued" => of_a_saved_session_loads_it,
    "the promise that a cookie changes only if necessary" => stays_while_it_is_right,
    "the promise that a cookie changes only if necessary" => has_only_cookie_characters,
    "the promise that every session has its own id" => differs_between_sessions,
    "the promise that Debug shows no secret" => is_in_no_debug_output,
}

async fn of_a_new_session_is_none(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let session = store.create();
    session.insert("not saved yet", 1)?;
    ensure!(store.cookie_value(&session).is_none(), "an unsaved session must have no cookie value");
    Ok(())
}

async fn of_a_saved_session_loads_it(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let mut visitor = Visitor::new(&store);
    let session = store.create();
    session.insert("user", "alice")?;
    let saved = visitor.save(&session).await?;
    ensure!(saved == Saved::Issued, "a new session must be Issued, but is {saved:?}");
    let user = visitor.session().await?.get::<String>("user")?;
    ensure!(
        user.as_deref() == Some("alice"),
        "the cookie must load the session, but user is {user:?}"
    );
    Ok(())
}

async fn stays_while_it_is_right(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let mut visitor = Visitor::known(&store).await?;
    let first = visitor.cookie()?.to_owned();
    let session = visitor.session().await?;
    session.insert("more", 1)?;
    let saved = visitor.save(&session).await?;
    let must = if cx.is_cookie() { Saved::Issued } else { Saved::Updated };
    ensure!(saved == must, "a changed session must be {must:?}, but is {saved:?}");
    if !cx.is_cookie() {
        let now = store.cookie_value(&session);
        let now = now.as_ref().map(session_core::CookieValue::as_str);
        ensure!(now == Some(first.as_str()), "an update must keep the cookie value");
    }
    ensure!(visitor.session().await?.contains("more"), "the cookie must load what was saved");
    Ok(())
}

async fn has_only_cookie_characters(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    for _ in 0..20 {
        let visitor = Visitor::known(&store).await?;
        let cookie = visitor.cookie()?;
        // RFC 6265bis, 4.1.1
        let good =
            |byte| matches!(byte, b'!' | b'#'..=b'+' | b'-'..=b':' | b'<'..=b'[' | b']'..=b'~');
        ensure!(
            !cookie.is_empty() && cookie.bytes().all(good),
            "a cookie value must have only the characters of RFC 6265"
        );
        ensure!(
            cx.is_cookie() || cookie.len() == 43,
            "an id must have 43 characters, but has {}",
            cookie.len()
        );
    }
    Ok(())
}

async fn differs_between_sessions(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let mut cookies = std::collections::BTreeSet::new();
    for _ in 0..50 {
        cookies.insert(Visitor::known(&store).await?.cookie()?.to_owned());
    }
    ensure!(cookies.len() == 50, "50 sessions must have 50 ids, but have {}", cookies.len());
    Ok(())
}

async fn is_in_no_debug_output(cx: &Context) -> CaseResult {
    let store = cx.store(Config::default()).await?;
    let visitor = Visitor::known(&store).await?;
    let session = visitor.session().await?;
    let value = store.cookie_value(&session);
    let shown = format!("{store:?} {session:?} {value:?} {:#?}", session.flash());
    ensure!(!shown.contains(visitor.cookie()?), "Debug must not show the cookie value");
    ensure!(!shown.contains("alice"), "Debug must not show the session's values");
    Ok(())
}
