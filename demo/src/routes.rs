//! The application: its routes and what they do with the session.

use axum::Router;
use axum::extract::{Form, Query, State};
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::Markup;
use serde::{Deserialize, Serialize};
use session_core::{Level, Result, SessionStore};
use session_tower::{CookieConfig, OptionalSession, Session, SessionFailure, SessionLayer};

use crate::pages::{self, Page};
use crate::panel::Panel;
use crate::sign_in;

/// What the visitor chose.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(crate) enum Theme {
    #[default]
    Light,
    Dark,
}

pub(crate) fn router(store: SessionStore, cookie: CookieConfig) -> Result<Router> {
    let sessions = SessionLayer::new(store.clone()).with_cookie(cookie)?;
    let members = Router::new()
        .route("/account", get(account))
        .route_layer(middleware::from_fn(sign_in::members_only));
    let pages = Router::new()
        .route("/", get(home))
        .route("/visits", get(visits))
        .route("/theme", post(set_theme))
        .route("/sign-in", post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/increments", get(increments).post(increment))
        .route("/increments/reset", post(reset_increments))
        .route("/about", get(about))
        // These don't ask for the session: no store call, no cookie, no `Vary`.
        .route("/signed-out", get(|| async { pages::signed_out() }))
        .route("/style.css", get(|| asset("text/css", include_str!("../assets/style.css"))))
        .route(
            "/increments.js",
            get(|| asset("text/javascript", include_str!("../assets/increments.js"))),
        );
    Ok(pages
        .merge(members)
        .with_state(store)
        .layer(sessions)
        .layer(middleware::map_response(own_error_page))
        .layer(middleware::map_response(strict_browser)))
}

#[derive(Deserialize)]
pub(crate) struct HomeQuery {
    #[serde(default, rename = "sign-in")]
    sign_in: Option<String>,
}

async fn home(
    session: Session,
    State(store): State<SessionStore>,
    Query(query): Query<HomeQuery>,
) -> Result<Markup, SessionFailure> {
    let panel = Panel::new(&session, &store)?;
    let form = sign_in::Form::of(&session)?;
    let page = Page::of(&session)?;
    let loses_updates = !store.capabilities().detects_conflicts;
    Ok(pages::home(&page, &form, query.sign_in.is_some(), loses_updates, &panel))
}

/// Read, modify, write, applied again when another request was faster: no visit is lost.
async fn visits(
    session: Session,
    State(store): State<SessionStore>,
) -> Result<Markup, SessionFailure> {
    let visits = session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)?;
    let panel = Panel::new(&session, &store)?;
    Ok(pages::visits(&Page::of(&session)?, visits, &panel))
}

async fn account(
    session: Session,
    State(store): State<SessionStore>,
) -> Result<Markup, SessionFailure> {
    let panel = Panel::new(&session, &store)?;
    Ok(pages::account(&Page::of(&session)?, &panel))
}

#[derive(Deserialize)]
struct ThemeForm {
    theme: Theme,
}

async fn set_theme(
    session: Session,
    Form(form): Form<ThemeForm>,
) -> Result<Redirect, SessionFailure> {
    session.insert("theme", &form.theme)?;
    session.flash().message(Level::Info, "Your theme is saved.");
    Ok(Redirect::to("/"))
}

async fn increments(session: Session) -> Result<String, SessionFailure> {
    Ok(session.get::<u64>("increments")?.unwrap_or(0).to_string())
}

async fn increment(session: Session) -> Result<String, SessionFailure> {
    let increments = session.update("increments", |n: Option<u64>| n.unwrap_or(0) + 1)?;
    Ok(increments.to_string())
}

/// Also makes sure that there is a session: each of 50 requests without a cookie would begin one.
async fn reset_increments(session: Session) -> Result<StatusCode, SessionFailure> {
    session.insert("increments", &0)?;
    Ok(StatusCode::NO_CONTENT)
}

/// Worth showing without a session, so an outage of the store only costs it the theme.
async fn about(session: OptionalSession) -> Result<Markup, SessionFailure> {
    let theme = session.get("theme")?.unwrap_or_default();
    Ok(pages::about(theme, session.is_available()))
}

async fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind)], text)
}

/// Puts a helpful page in the place of the layer's plain answer.
async fn own_error_page(response: Response) -> Response {
    match response.extensions().get::<SessionFailure>() {
        Some(failure) => (failure.status(), pages::failure(failure.status())).into_response(),
        None => response,
    }
}

/// Nothing but our own files, and no embedding.
async fn strict_browser(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
                          connect-src 'self'; img-src data:; form-action 'self'; \
                          base-uri 'none'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
