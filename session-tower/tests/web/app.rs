//! The application that the tests talk to.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use session_core::Owner;
use session_tower::{OptionalSession, Session, SessionFailure, SessionLayer};
use tokio::sync::Notify;

use crate::support::{Client, Probe, quiet, serve};

type Answer = Result<String, SessionFailure>;

/// Where `/slow` waits between its read and its write.
#[derive(Clone, Default)]
pub(crate) struct Slow {
    pub(crate) reached: Arc<Notify>,
    pub(crate) go_on: Arc<Notify>,
}

/// A client of a new application over this store.
pub(crate) async fn start(probe: &Probe) -> Client {
    Client::new(serve(app(quiet(probe.store()))).await)
}

pub(crate) fn app(layer: SessionLayer) -> Router {
    app_with(layer, Slow::default())
}

pub(crate) fn app_with(layer: SessionLayer, slow: Slow) -> Router {
    routes_with(slow).layer(layer)
}

/// Without the layer.
#[allow(dead_code, reason = "not every test uses it")]
pub(crate) fn routes() -> Router {
    routes_with(Slow::default())
}

fn routes_with(slow: Slow) -> Router {
    Router::new()
        .route("/plain", get(|| async { "plain" }))
        .route("/ask", get(|_: Session| async { "asked" }))
        .route("/get/{key}", get(read))
        .route("/set/{key}/{value}", get(write))
        .route("/count", get(count))
        .route("/count-and-save", get(count_and_save))
        .route("/clear-and-set/{value}", get(clear_and_set))
        .route("/login/{name}", get(login))
        .route("/sign-in/{name}", get(sign_in))
        .route("/remember", get(remember))
        .route("/forget", get(|session: Session| async move { session.reset_lifetime() }))
        .route("/logout", get(logout))
        .route("/logout-and-set/{value}", get(logout_and_set))
        .route("/extend", get(|session: Session| async move { session.extend() }))
        .route("/state", get(state))
        .route("/fail/login", get(fail_login))
        .route("/fail/logout", get(fail_logout))
        .route("/fail/set/{value}", get(fail_write))
        .route("/panic/logout", get(panic_logout))
        .route("/optional", get(optional))
        .route("/optional/set/{value}", get(optional_write))
        .route("/too-large", get(too_large))
        .route("/slow/{value}", get(slow_write))
        .with_state(slow)
}

async fn read(session: Session, Path(key): Path<String>) -> Answer {
    Ok(session.get::<String>(&key)?.unwrap_or_else(|| "nothing".into()))
}

async fn write(session: Session, Path((key, value)): Path<(String, String)>) -> Answer {
    session.insert(&key, &value)?;
    Ok(value)
}

async fn count(session: Session) -> Answer {
    let count = session.update("count", |count: Option<u64>| count.unwrap_or(0) + 1)?;
    Ok(count.to_string())
}

async fn count_and_save(session: Session) -> Answer {
    let count = session.update_and_save("count", |count: Option<u64>| count.unwrap_or(0) + 1);
    Ok(count.await?.to_string())
}

async fn clear_and_set(session: Session, Path(value): Path<String>) -> Answer {
    session.clear();
    session.insert("value", &value)?;
    Ok(value)
}

async fn login(session: Session, Path(name): Path<String>) -> Answer {
    session.regenerate();
    session.insert("user", &name)?;
    Ok(name)
}

async fn sign_in(session: Session, Path(name): Path<String>) -> Answer {
    session.sign_in(Owner::new(name.as_str())?);
    session.insert("user", &name)?;
    Ok(name)
}

async fn remember(session: Session) -> Result<(), SessionFailure> {
    session.insert("remembered", true)?;
    Ok(session.set_lifetime(Duration::from_secs(30 * 86_400))?)
}

async fn logout(session: Session) {
    session.destroy();
}

async fn logout_and_set(session: Session, Path(value): Path<String>) -> Answer {
    session.destroy();
    session.insert("value", &value)?;
    Ok(value)
}

async fn state(session: Session) -> String {
    format!("exists: {}, empty: {}", session.exists(), session.is_empty())
}

async fn fail_login(session: Session) -> Result<StatusCode, SessionFailure> {
    session.regenerate();
    session.insert("user", "admin")?;
    Ok(StatusCode::INTERNAL_SERVER_ERROR)
}

async fn fail_logout(session: Session) -> Result<(StatusCode, &'static str), SessionFailure> {
    session.destroy();
    session.insert("value", "unwanted")?;
    Ok((StatusCode::BAD_GATEWAY, "the handler's page"))
}

async fn fail_write(
    session: Session,
    Path(value): Path<String>,
) -> Result<(StatusCode, &'static str), SessionFailure> {
    session.insert("value", &value)?;
    Ok((StatusCode::INTERNAL_SERVER_ERROR, "the handler's page"))
}

async fn panic_logout(session: Session) -> String {
    session.destroy();
    panic!("on purpose");
}

async fn optional(session: OptionalSession) -> Answer {
    let value = session.get::<String>("value")?;
    Ok(format!("available: {}, value: {value:?}", session.is_available()))
}

async fn optional_write(session: OptionalSession, Path(value): Path<String>) -> Answer {
    session.insert("value", &value)?;
    Ok(value)
}

async fn too_large(session: Session) -> Answer {
    session.insert("value", "x".repeat(2 << 20))?;
    Ok("written".into())
}

async fn slow_write(
    session: Session,
    State(slow): State<Slow>,
    Path(value): Path<String>,
) -> Answer {
    slow.reached.notify_one();
    slow.go_on.notified().await;
    session.insert("value", &value)?;
    Ok(value)
}
