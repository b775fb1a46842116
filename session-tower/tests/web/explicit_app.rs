//! Handlers that save or destroy the session themselves.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use session_core::SessionStore;
use session_tower::{Session, SessionFailure};

use crate::app::quiet;

pub(crate) fn app(store: SessionStore) -> Router {
    Router::new()
        .route("/login/{status}", get(login))
        .route("/logout", get(logout))
        .route("/save-after-a-logout-elsewhere", get(save_after_a_logout_elsewhere))
        .route("/logout-and-too-large", get(logout_and_too_large))
        .with_state(store.clone())
        .layer(quiet(store))
}

async fn login(
    State(store): State<SessionStore>,
    session: Session,
    Path(status): Path<u16>,
) -> Result<StatusCode, SessionFailure> {
    session.regenerate();
    session.insert("user", "ann")?;
    store.save(&session).await?;
    Ok(StatusCode::from_u16(status).unwrap())
}

async fn logout(State(store): State<SessionStore>, session: Session) -> Result<(), SessionFailure> {
    Ok(store.destroy(&session).await?)
}

async fn logout_and_too_large(
    State(store): State<SessionStore>,
    session: Session,
) -> Result<(), SessionFailure> {
    store.destroy(&session).await?;
    Ok(session.insert("huge", "x".repeat(2 << 20))?)
}

async fn save_after_a_logout_elsewhere(
    State(store): State<SessionStore>,
    session: Session,
) -> Result<(), SessionFailure> {
    let value = store.cookie_value(&session).unwrap();
    let elsewhere = store.load(value.as_str()).await?.unwrap();
    session.insert("user", "bob")?;
    store.destroy(&elsewhere).await?;
    store.save(&session).await?;
    Ok(())
}
