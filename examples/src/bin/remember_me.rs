//! "Remember me": most sessions end with the browser, those of visitors who ask for it live for 30 days.

use std::time::Duration;

use axum::Router;
use axum::extract::Query;
use axum::routing::{get, post};
use serde::Deserialize;
use session_memory::MemoryBackend;
use session_tower::session_core::{Config, Owner, SessionStore};
use session_tower::{CookieConfig, Session, SessionFailure, SessionLayer};

const A_MONTH: Duration = Duration::from_secs(30 * 86_400);

#[derive(Deserialize)]
struct Choice {
    #[serde(default)]
    remember: bool,
}

async fn sign_in(session: Session, Query(choice): Query<Choice>) -> Result<(), SessionFailure> {
    session.sign_in(Owner::new("ann")?);
    if choice.remember {
        session.set_lifetime(A_MONTH)?;
    }
    Ok(())
}

/// Undoes it, for example in the settings of the account.
async fn forget(session: Session) {
    session.reset_lifetime();
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = Config::default().lifetime(Duration::from_secs(12 * 3600));
    let store = SessionStore::new(MemoryBackend::new()).with_config(config)?;
    let cookie = CookieConfig::new().expire_on_close(true);
    let app = Router::new()
        .route("/sign-in", post(sign_in))
        .route("/forget", post(forget))
        .route("/", get(|session: Session| async move { format!("{:?}", session.expires_in()) }))
        .layer(SessionLayer::new(store).with_cookie(cookie)?);
    Ok(examples::serve(app).await?)
}
