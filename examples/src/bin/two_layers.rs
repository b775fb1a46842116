//! Visitors and administrators over one store: two purposes, so an id of one is none of the other, and two cookies.

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use session_memory::MemoryBackend;
use session_tower::session_core::{Config, Owner, SessionStore};
use session_tower::{CookieConfig, SameSite, Session, SessionFailure, SessionHandle, SessionLayer};

async fn who(session: Session) -> String {
    session.owner().map_or("nobody".to_owned(), |owner| owner.as_str().to_owned())
}

/// The session of the layer around the innermost one.
async fn as_visitor(handle: SessionHandle) -> Result<String, SessionFailure> {
    let visitors =
        handle.named("__Host-id").expect("the layer of the visitors is around all routes");
    Ok(who(visitors.session().await?).await)
}

async fn sign_in(session: Session) -> Result<(), SessionFailure> {
    session.sign_in(Owner::new("ann")?);
    Ok(())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let visitors = SessionStore::new(MemoryBackend::new());
    let short = Config::default().purpose("admin").idle_timeout(Duration::from_secs(600));
    let admins = visitors.clone().with_config(short)?;
    let cookie = CookieConfig::new().name("__Host-admin").same_site(SameSite::Strict);
    let admin = Router::new()
        .route("/admin", get(who))
        .route("/admin/as-visitor", get(as_visitor))
        .route("/admin/sign-in", post(sign_in))
        .layer(SessionLayer::new(admins).with_cookie(cookie)?);
    let app = Router::new()
        .route("/", get(who))
        .route("/sign-in", post(sign_in))
        .merge(admin)
        .layer(SessionLayer::new(visitors));
    Ok(examples::serve(app).await?)
}
