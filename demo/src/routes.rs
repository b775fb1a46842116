//! The routes of the application, and the handlers that use the session.

use axum::Router;
use axum::extract::{DefaultBodyLimit, Form, Query, State};
use axum::http::header::{
    CACHE_CONTROL, CONTENT_LENGTH, CONTENT_SECURITY_POLICY, CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderValue, Method, StatusCode};
use axum::middleware;
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use maud::Markup;
use serde::Deserialize;
use session_core::{Level, Result, SessionStore};
use session_tower::{
    CookieConfig, OptionalSession, SameOriginLayer, Session, SessionFailure, SessionLayer,
};

use crate::app::App;
use crate::devices::{self, Devices};
use crate::lab;
use crate::pages::{self, Page};
use crate::panel::Panel;
use crate::sign_in;
use crate::theme::Theme;
use crate::watch;

/// The longest form has three short fields.
const MAX_FORM_BYTES: usize = 4096;

pub(crate) fn router(app: App, cookie: CookieConfig) -> Result<Router> {
    let sessions = SessionLayer::new(app.store.clone()).with_cookie(cookie)?;
    let members = Router::new()
        .route("/account", get(account))
        .route("/account/watch", get(watch::watch))
        .route("/account/slow", post(lab::slow))
        .route("/account/end", post(devices::end))
        .route("/account/end-others", post(devices::end_others))
        .route("/account/end-all", post(devices::end_all))
        .route_layer(middleware::from_fn(sign_in::members_only));
    let pages = Router::new()
        .route("/", get(home))
        .route("/visits", get(visits))
        .route("/lab", get(lab::page))
        .merge(members)
        .route_layer(middleware::map_response(not_kept));
    let router = Router::new()
        .merge(pages)
        .route("/theme", post(set_theme))
        .route("/sign-in", post(sign_in::sign_in))
        .route("/sign-out", post(sign_in::sign_out))
        .route("/increments", get(lab::increments).post(lab::increment))
        .route("/increments/naive", get(lab::naive_increments).post(lab::naive_increment))
        .route("/increments/reset", post(lab::reset))
        .route("/lab/stop", post(lab::stop))
        .route("/about", get(about))
        // These don't ask for the session: no store call, no cookie, no `Vary`.
        .fallback(async || (StatusCode::NOT_FOUND, pages::not_found()))
        .route("/signed-out", get(|| async { pages::signed_out() }))
        .route("/style.css", get(|| asset("text/css", include_str!("../assets/style.css"))))
        .route(
            "/increments.js",
            get(|| asset("text/javascript", include_str!("../assets/increments.js"))),
        )
        .route("/race.js", get(|| asset("text/javascript", include_str!("../assets/race.js"))))
        .route("/watch.js", get(|| asset("text/javascript", include_str!("../assets/watch.js"))))
        .route("/metrics", get(lab::metrics));
    Ok(router
        .with_state(app)
        .layer(DefaultBodyLimit::max(MAX_FORM_BYTES))
        .layer(sessions)
        .layer(SameOriginLayer)
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
    let loses_updates = !store.guarantees().detects_conflicts;
    Ok(pages::home(&page, &form, query.sign_in.is_some(), loses_updates, &panel))
}

/// Each visit has its own number, even if several tabs are opened at the same time. A HEAD request does not
/// count as a visit.
async fn visits(
    method: Method,
    session: Session,
    State(store): State<SessionStore>,
) -> Result<Markup, SessionFailure> {
    let visits = if method == Method::HEAD {
        session.get("visits")?.unwrap_or(0)
    } else {
        session.update_and_save("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1).await?
    };
    let panel = Panel::new(&session, &store)?;
    Ok(pages::visits(&Page::of(&session)?, visits, &panel))
}

async fn account(
    session: Session,
    State(store): State<SessionStore>,
) -> Result<Markup, SessionFailure> {
    let panel = Panel::new(&session, &store)?;
    let devices = Devices::of(&session).await?;
    Ok(pages::account(&Page::of(&session)?, &devices, &panel))
}

#[derive(Deserialize)]
struct ThemeForm {
    theme: Theme,
}

async fn set_theme(
    session: Session,
    Form(form): Form<ThemeForm>,
) -> Result<Redirect, SessionFailure> {
    session.insert("theme", form.theme)?;
    session.flash().message(Level::Info, "Your theme is saved.");
    Ok(Redirect::to("/"))
}

/// Worth showing without a session, so an outage of the store only costs it the theme.
async fn about(session: OptionalSession) -> Result<Markup, SessionFailure> {
    let theme = session.get("theme")?.unwrap_or_default();
    Ok(pages::about(theme, session.is_available()))
}

async fn asset(kind: &'static str, text: &'static str) -> impl IntoResponse {
    ([(CONTENT_TYPE, kind)], text)
}

/// Replaces the plain error response of the layer with a helpful page. The status and the headers stay,
/// because caches and the client's cookie depend on them.
async fn own_error_page(response: Response) -> Response {
    if response.extensions().get::<SessionFailure>().is_none() {
        return response;
    }
    let (mut kept, _) = response.into_parts();
    let (page, body) = pages::failure(kept.status).into_response().into_parts();
    kept.headers.remove(CONTENT_LENGTH);
    kept.headers.extend(page.headers);
    Response::from_parts(kept, body)
}

/// Pages about a visitor are not kept by the browser: after a sign-out, its back button asks for them again (OWASP
/// ASVS 5, 14.3.2).
async fn not_kept(mut response: Response) -> Response {
    response.headers_mut().insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

/// Allows only the application's own files, and forbids embedding.
async fn strict_browser(mut response: Response) -> Response {
    const POLICY: &str = "default-src 'none'; style-src 'self'; script-src 'self'; \
                          connect-src 'self'; img-src data:; form-action 'self'; \
                          base-uri 'none'; frame-ancestors 'none'";
    let headers = response.headers_mut();
    headers.insert(CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
