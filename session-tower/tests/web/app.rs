//! The application that the tests talk to.

use std::future::IntoFuture as _;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Path, Request, State};
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};
use session_core::{Config, Owner, SessionStore};
pub(crate) use session_tower::{CookieConfig, SameSite, SessionHeader, SessionLayer};
use session_tower::{OptionalSession, SessionFailure};
pub(crate) use session_tower::{Session, SessionHandle};
use tokio::sync::Notify;

use crate::stream::{self, Act};
use crate::support::{Client, Probe, number_if_it_is_one};

/// Whether the framework drops a handler whose client has disconnected.
pub(crate) const DROPS_HANDLERS: bool = true;

/// The page in place of that of a handler whose session could not be saved.
pub(crate) fn page_of_failed_save(_status: u16) -> &'static str {
    ""
}

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

pub(crate) fn app_without_a_layer() -> Router {
    routes_with(Slow::default())
}

/// A layer without garbage collection, so that calls can be counted.
pub(crate) fn quiet(store: SessionStore) -> SessionLayer {
    SessionLayer::new(store).with_gc_probability(0.0).unwrap()
}

/// Like [`quiet`], with an idle timeout.
pub(crate) fn quiet_with_idle_timeout(probe: &Probe) -> SessionLayer {
    let config = Config::default().lifetime(None).idle_timeout(Duration::from_secs(7200));
    quiet(probe.store().with_config(config).unwrap())
}

/// Serves the router on a free port until the test ends.
pub(crate) async fn serve(router: Router) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(axum::serve(listener, router).into_future());
    address
}

fn routes_with(slow: Slow) -> Router {
    let limited = Router::new()
        .route("/half", get(half))
        .route("/half-a-logout", get(half_a_logout))
        .layer(from_fn(time_limit));
    Router::new()
        .merge(limited)
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
        .route("/post/{value}", post(write_value))
        .route("/renew", get(slow_renewal))
        .route("/clear", get(|session: Session| async move { session.clear() }))
        .route("/both", get(|_: Session, _: OptionalSession, _: Session| async {}))
        .route("/own-save", get(own_save))
        .route("/stream/ask-and-set", get(stream_from_the_request))
        .route("/stream/{act}", get(stream_from_the_handler))
        .route("/length/{length}", get(of_length))
        .route("/number", get(number))
        .route("/number-or-remove", get(number_or_remove))
        .route("/number-or-remove/add", get(number_or_remove_and_add))
        .with_state(slow)
}

async fn read(session: Session, Path(key): Path<String>) -> Answer {
    Ok(session.get::<String>(&key)?.unwrap_or_else(|| "nothing".into()))
}

async fn write(session: Session, Path((key, value)): Path<(String, String)>) -> Answer {
    session.insert(&key, &value)?;
    Ok(value)
}

async fn write_value(session: Session, Path(value): Path<String>) -> Answer {
    session.insert("value", &value)?;
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

async fn slow_renewal(session: Session, State(slow): State<Slow>) -> &'static str {
    session.extend();
    slow.reached.notify_one();
    slow.go_on.notified().await;
    "renewed"
}

async fn own_save(session: Session) -> Result<(), SessionFailure> {
    session.insert("value", "late")?;
    Ok(session.save().await?)
}

async fn stream_from_the_handler(
    session: Session,
    State(slow): State<Slow>,
    Path(act): Path<String>,
) -> Body {
    Body::from_stream(stream::body(stream::From::Handler(session), Act::named(&act), slow))
}

async fn stream_from_the_request(handle: SessionHandle, State(slow): State<Slow>) -> Body {
    Body::from_stream(stream::body(stream::From::Request(handle), Act::Set, slow))
}

async fn of_length(session: Session, Path(length): Path<usize>) -> Result<(), SessionFailure> {
    Ok(session.insert("value", "x".repeat(length))?)
}

async fn number(session: Session) -> Answer {
    Ok(session.get::<u64>("value")?.unwrap_or_default().to_string())
}

async fn number_or_remove(session: Session) -> Answer {
    Ok(number_if_it_is_one(&session)?.to_string())
}

async fn number_or_remove_and_add(session: Session) -> Answer {
    number_if_it_is_one(&session)?;
    Ok(session.update("value", |value: Option<u64>| value.unwrap_or(0) + 1)?.to_string())
}

async fn time_limit(request: Request, next: Next) -> Response {
    let limited = tokio::time::timeout(Duration::from_millis(50), next.run(request)).await;
    limited.unwrap_or_else(|_| StatusCode::REQUEST_TIMEOUT.into_response())
}

async fn half(session: Session) {
    session.insert("value", "half").unwrap();
    session.regenerate();
    std::future::pending::<()>().await;
}

async fn half_a_logout(session: Session) {
    session.destroy();
    session.insert("value", "half").unwrap();
    std::future::pending::<()>().await;
}
