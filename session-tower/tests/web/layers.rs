//! Several layers: two of sessions, and those of tower-http around and within.

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use session_core::{Config, Owner, SessionStore};
use session_memory::MemoryBackend;
use session_tower::{CookieConfig, SameOriginLayer, Session, SessionFailure, SessionHandle};
use tower::ServiceBuilder;
use tower_http::compression::CompressionLayer;
use tower_http::limit::RequestBodyLimitLayer;
use tower_http::timeout::TimeoutLayer;
use tower_http::trace::TraceLayer;

use crate::app::{quiet, serve};
use crate::support::{Client, Probe};

async fn count(session: Session) -> Result<String, SessionFailure> {
    let count = session.update_and_save("count", |n: Option<u64>| n.unwrap_or(0) + 1).await?;
    Ok(format!("{count}{}", " ".repeat(2_000)))
}

/// No layer asks for what the other's body is not.
#[tokio::test]
async fn with_the_layers_of_tower_http_in_any_order() {
    let time_limit = || {
        TimeoutLayer::with_status_code(
            axum::http::StatusCode::REQUEST_TIMEOUT,
            Duration::from_secs(5),
        )
    };
    let session = || quiet(Probe::default().store());
    let routes = || Router::new().route("/", get(count));
    // The time limit of tower-http asks the body within it for a default, which that of its own limit has not.
    let outside = ServiceBuilder::new()
        .layer(session())
        .layer(TraceLayer::new_for_http())
        .layer(RequestBodyLimitLayer::new(4_096))
        .layer(CompressionLayer::new())
        .layer(time_limit());
    let inside = ServiceBuilder::new()
        .layer(CompressionLayer::new())
        .layer(RequestBodyLimitLayer::new(4_096))
        .layer(TraceLayer::new_for_http())
        .layer(time_limit())
        .layer(session());
    let between = ServiceBuilder::new()
        .layer(TraceLayer::new_for_http())
        .layer(CompressionLayer::new())
        .layer(time_limit())
        .layer(session())
        .layer(RequestBodyLimitLayer::new(4_096));
    for app in [routes().layer(outside), routes().layer(inside), routes().layer(between)] {
        let client = Client::new(serve(app).await);
        let compressed = client.get_with_headers("/", &[("accept-encoding", "gzip")]).await;
        assert_eq!(compressed.header("content-encoding"), Some("gzip"));
        let cookie = format!("__Host-id={}", compressed.session_cookie().unwrap());
        assert_eq!(client.get_with("/", Some(&cookie)).await.text.trim(), "2");
    }
}

async fn both(handle: SessionHandle) -> Result<String, SessionFailure> {
    let (admin, visitor) =
        (handle.named("__Host-admin").unwrap(), handle.named("__Host-id").unwrap());
    assert!(handle.named("__Host-other").is_none());
    let name = async |handle: SessionHandle| -> Result<String, SessionFailure> {
        let owner = handle.session().await?.owner();
        Ok(owner.map_or_else(|| "nobody".to_owned(), |owner| owner.as_str().to_owned()))
    };
    Ok(format!("{}, {}", name(admin).await?, name(visitor).await?))
}

async fn sign_in(session: Session) -> Result<(), SessionFailure> {
    session.sign_in(Owner::new("ann")?);
    Ok(())
}

fn of_purpose(store: &SessionStore, purpose: &'static str) -> SessionStore {
    store.clone().with_config(Config::default().purpose(purpose)).unwrap()
}

/// The session of one layer is none of the other.
#[tokio::test]
async fn two_layers_with_two_purposes_have_two_sessions() {
    let store = SessionStore::new(MemoryBackend::new());
    let admin = quiet(of_purpose(&store, "admin"));
    let admin = admin.with_cookie(CookieConfig::new().name("__Host-admin")).unwrap();
    let app = Router::new()
        .route("/admin/sign-in", get(sign_in))
        .route("/admin/both", get(both))
        .layer(admin)
        .route("/sign-in", get(sign_in))
        .layer(quiet(store));
    let client = Client::new(serve(app).await);
    let reply = client.get_with("/admin/sign-in", None).await;
    let cookie = reply.set_cookie().unwrap().split(';').next().unwrap().to_owned();
    assert!(cookie.starts_with("__Host-admin="));
    assert_eq!(client.get_with("/admin/both", Some(&cookie)).await.text, "ann, nobody");
    let stolen = cookie.replace("__Host-admin", "__Host-id");
    assert_eq!(client.get_with("/admin/both", Some(&stolen)).await.text, "nobody, nobody");
}

#[tokio::test]
async fn two_layers_that_would_share_sessions_are_refused() {
    let store = SessionStore::new(MemoryBackend::new());
    let other = SessionStore::new(MemoryBackend::new());
    let named = |store: &SessionStore, name: &'static str| {
        quiet(store.clone()).with_cookie(CookieConfig::new().name(name)).unwrap()
    };
    for (inner, works) in [
        (named(&other, "__Host-id"), false),
        (named(&store, "__Host-admin"), false),
        (named(&of_purpose(&store, "admin"), "__Host-id"), false),
        (named(&of_purpose(&store, "admin"), "__Host-admin"), true),
        (named(&other, "__Host-admin"), true),
    ] {
        let app = Router::new()
            .route("/", get(sign_in))
            .route("/plain", get(|| async { "plain" }))
            .layer(inner)
            .layer(quiet(store.clone()));
        let client = Client::new(serve(app).await);
        let reply = client.get_with("/", None).await;
        assert_eq!(
            (reply.status, reply.set_cookie().is_some()),
            (if works { 200 } else { 500 }, works)
        );
        assert_eq!(client.get_with("/plain", None).await.status, 200);
    }
}

#[tokio::test]
async fn requests_of_other_origins_are_refused() {
    let app = Router::new()
        .route("/", post(|| async { "done" }).get(|| async { "shown" }))
        .layer(SameOriginLayer);
    let client = Client::new(serve(app).await);
    let cross = ("sec-fetch-site", "cross-site");
    assert_eq!(client.send("POST", "/", &[cross]).await.status, 403);
    assert_eq!(client.send("POST", "/", &[("origin", "http://elsewhere")]).await.status, 403);
    assert_eq!(client.send("GET", "/", &[cross]).await.text, "shown");
    assert_eq!(client.send("POST", "/", &[("sec-fetch-site", "same-origin")]).await.text, "done");
    assert_eq!(client.send("POST", "/", &[]).await.text, "done");
}
