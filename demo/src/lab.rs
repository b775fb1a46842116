//! The page "Try it": experiments with what a session store has to stand.

use std::time::Duration;

use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Redirect};
use maud::{Markup, html};
use session_core::{Level, Result, SessionId};
use session_tower::{Session, SessionFailure};

use crate::app::App;
use crate::pages::Page;
use crate::panel::Panel;

/// How long a request works between reading and writing the session.
const WORK: Duration = Duration::from_millis(5);
/// The same for the slow request.
const SLOW: Duration = Duration::from_millis(1500);
/// How long the store is stopped.
const STOPPED: Duration = Duration::from_secs(8);

pub(crate) async fn page(
    session: Session,
    State(app): State<App>,
) -> std::result::Result<Markup, SessionFailure> {
    let panel = Panel::new(&session, &app.store)?;
    let page = Page::of(&session)?;
    let thief = Thief::of(&session, &app).await?;
    let main = html! {
        h1 { "Try it" }
        (race(session.contains("name")))
        (servers(&app))
        (outage(app.records.is_some()))
        (thief.render())
    };
    Ok(page.render("Try it", &main, &panel))
}

fn race(signed_in: bool) -> Markup {
    html! {
        section {
            h2 { "Sign out while a request runs" }
            p {
                "A request takes " (SLOW.as_millis()) " ms and then writes to the session. Meanwhile you sign "
                "out. In many session libraries the late write brings the session back."
            }
            @if signed_in {
                button #race type="button" { "Start the request, then sign out" }
                ol #timeline aria-live="polite" {}
                noscript { p.note { "This button needs JavaScript." } }
                script src="/race.js" defer {}
            } @else {
                p { a href="/" { "Sign in" } " first." }
            }
        }
    }
}

fn servers(app: &App) -> Markup {
    html! {
        section {
            h2 { "Several servers" }
            @if let [_] = &app.servers[..] {
                p {
                    "One server runs on this store. With " code { "--servers 2" } " there are two, and your "
                    "session is on both."
                }
            } @else {
                p #server {
                    "This page is from server " b { (app.place + 1) } " of " (app.servers.len())
                    ". They share nothing but the store. The browser sends the cookie to both, because a port "
                    "is no part of a cookie's site."
                }
                ul {
                    @for (place, url) in app.servers.iter().enumerate().filter(|(place, _)| *place != app.place) {
                        li { a #{ "server-" (place + 1) } href={ (url) "/lab" } { "This page from server " (place + 1) } }
                    }
                }
            }
        }
    }
}

fn outage(can_stop: bool) -> Markup {
    html! {
        section {
            h2 { "Stop the store" }
            @if can_stop {
                p {
                    "The store does not answer for " (STOPPED.as_secs()) " seconds. The pages then say so with "
                    "status 503, and the page " a href="/about" { "About" } " works without the session. "
                    "Afterwards you are still signed in."
                }
                form method="post" action="/lab/stop" { button #stop { "Stop the store" } }
            } @else {
                p { "There is nothing to stop: the sessions are in the browsers' cookies." }
            }
        }
    }
}

/// What somebody gets who steals the whole store.
struct Thief {
    found: Option<Stolen>,
    in_cookies: bool,
}

struct Stolen {
    key: String,
    payload: String,
    /// Whether the key is accepted in place of the cookie.
    opens: bool,
}

impl Thief {
    async fn of(session: &Session, app: &App) -> Result<Self> {
        let Some(records) = &app.records else {
            return Ok(Self { found: None, in_cookies: true });
        };
        let cookie = app.store.cookie_value(session);
        let id = cookie.and_then(|value| SessionId::parse(&value.into_string()));
        let Some(key) = id.map(|id| id.key()) else {
            return Ok(Self { found: None, in_cookies: false });
        };
        let found = records.load(&key).await?.map(|found| found.record);
        let key = key.to_hex();
        let opens = app.store.load(&key).await?.is_some();
        let stolen = |record: session_core::Record| Stolen {
            payload: String::from_utf8_lossy(&record.payload).into_owned(),
            key,
            opens,
        };
        Ok(Self { found: found.map(stolen), in_cookies: false })
    }

    fn render(&self) -> Markup {
        html! {
            section #thief {
                h2 { "What a thief finds in the store" }
                @if let Some(stolen) = &self.found {
                    p { "This is all that the store has of your session:" }
                    dl {
                        dt { "key" } dd { code #stolen-key { (stolen.key) } }
                        dt { "record" } dd { code { (stolen.payload) } }
                    }
                    p {
                        "The key is the SHA-256 of the id in your cookie. The server has just tried it as a "
                        "cookie: "
                        @if stolen.opens { b { "it opened the session." } }
                        @else { b #useless { "no session." } }
                        " The values can be read, so don't put passwords in a session."
                    }
                } @else if self.in_cookies {
                    p { "Marks of the sessions that signed out, and nothing else: the sessions are in the cookies." }
                } @else {
                    p { "Nothing: you have no session yet. Choose a theme or sign in, and look again." }
                }
            }
        }
    }
}

pub(crate) async fn stop(
    session: Session,
    State(app): State<App>,
) -> std::result::Result<Redirect, SessionFailure> {
    if app.records.is_none() {
        return Ok(Redirect::to("/lab"));
    }
    let text = format!("The store was stopped for {} seconds and is back.", STOPPED.as_secs());
    session.flash().message(Level::Info, text);
    session.save().await?;
    app.outage.begin(STOPPED);
    Ok(Redirect::to("/"))
}

/// For members: whoever signs out meanwhile stays signed out.
pub(crate) async fn slow(session: Session) -> std::result::Result<&'static str, SessionFailure> {
    tokio::time::sleep(SLOW).await;
    session.insert("slow request", "was here")?;
    session.save().await?;
    Ok("saved")
}

pub(crate) async fn increments(session: Session) -> std::result::Result<String, SessionFailure> {
    Ok(session.get::<u64>("increments")?.unwrap_or(0).to_string())
}

pub(crate) async fn increment(session: Session) -> std::result::Result<String, SessionFailure> {
    session.get::<u64>("increments")?;
    tokio::time::sleep(WORK).await;
    let increments = session.update_and_save("increments", |n: Option<u64>| n.unwrap_or(0) + 1);
    Ok(increments.await?.to_string())
}

/// Also makes sure that there is a session: each of 50 requests without a cookie would begin one.
pub(crate) async fn reset(
    session: Session,
    State(app): State<App>,
) -> std::result::Result<(), SessionFailure> {
    session.insert("increments", 0)?;
    app.naive.save(naive_number(&session), 0);
    Ok(())
}

pub(crate) async fn naive_increments(session: Session, State(app): State<App>) -> String {
    app.naive.load(naive_number(&session)).to_string()
}

/// The same work on a store without compare-and-swap.
pub(crate) async fn naive_increment(session: Session, State(app): State<App>) -> String {
    let number = naive_number(&session);
    let counter = app.naive.load(number) + 1;
    tokio::time::sleep(WORK).await;
    app.naive.save(number, counter);
    counter.to_string()
}

/// The same in all requests of a session.
fn naive_number(session: &Session) -> u64 {
    let since = session.created_at().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(0)
}

pub(crate) async fn metrics(State(app): State<App>) -> impl IntoResponse {
    app.metrics.run_upkeep();
    ([(CONTENT_TYPE, "text/plain; version=0.0.4")], app.metrics.render())
}
