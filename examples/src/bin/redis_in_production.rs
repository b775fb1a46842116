//! Redis with settings for production. `REDIS_URL` names one node, Sentinels (`redis+sentinel://…`) or a cluster
//! (`redis+cluster://…`); the last two need the cargo features of these names.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use session_redis::RedisBackend;
use session_tower::session_core::{Config, SessionStore};
use session_tower::{OptionalSession, Session, SessionFailure, SessionLayer};

async fn count(session: Session) -> Result<String, SessionFailure> {
    let count = session.update_and_save("count", |n: Option<u64>| n.unwrap_or(0) + 1).await?;
    Ok(count.to_string())
}

/// A page that is shown without the session, too.
async fn about(session: OptionalSession) -> Result<String, SessionFailure> {
    let count: Option<u64> = session.get("count")?;
    Ok(format!("available: {}, count: {count:?}", session.is_available()))
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    // Asked before each new connection: a password may be changed while the application runs.
    let backend = RedisBackend::connect_with(async || std::env::var("REDIS_URL")).await?;
    let backend = backend.prefix("shop:session:").timeout(Duration::from_secs(1));
    // With replicas, a sign-out should survive a failover:
    // let backend = backend.confirm_destroy(1, Duration::from_millis(200));
    let config = Config::default()
        .lifetime(Duration::from_secs(12 * 3600))
        .idle_timeout(Duration::from_secs(3600))
        .deadline(Duration::from_secs(3));
    let store = SessionStore::new(backend).with_config(config)?;
    let app = Router::new()
        .route("/", get(count))
        .route("/about", get(about))
        .layer(SessionLayer::new(store));
    Ok(examples::serve(app).await?)
}
