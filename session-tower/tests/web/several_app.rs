//! Handlers that end their session while the client has others.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use session_core::{Level, SessionStore};
use session_tower::{Session, SessionFailure};
use tokio::sync::Notify;

use crate::app::{app_without_a_layer, quiet};

/// Where a handler waits after it has ended its session.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) destroyed: Arc<Notify>,
    pub(crate) go_on: Arc<Notify>,
}

type Shared = State<(SessionStore, Hooks)>;

/// The usual routes and these.
pub(crate) fn app(store: SessionStore, hooks: Hooks) -> Router {
    Router::new()
        .route("/logout-and-flash", get(logout_and_flash))
        .route("/destroyed-by-the-store", get(destroyed_by_the_store))
        .route("/destroyed-and-saved", get(destroyed_and_saved))
        .route("/logout-and-wait", get(logout_and_wait))
        .route("/logout-and-set", get(logout_and_set))
        .with_state((store.clone(), hooks))
        .merge(app_without_a_layer())
        .layer(quiet(store))
}

async fn logout_and_flash(session: Session) {
    session.destroy();
    session.flash().message(Level::Info, "Good bye");
}

async fn destroyed_by_the_store(
    State((store, _)): Shared,
    session: Session,
) -> Result<(), SessionFailure> {
    store.destroy(&session).await?;
    Ok(session.insert("value", "fresh")?)
}

async fn destroyed_and_saved(
    State((store, _)): Shared,
    session: Session,
) -> Result<(), SessionFailure> {
    store.destroy(&session).await?;
    session.insert("value", "fresh")?;
    Ok(session.save().await?)
}

async fn logout_and_wait(
    State((store, hooks)): Shared,
    session: Session,
) -> Result<(), SessionFailure> {
    store.destroy(&session).await?;
    hooks.destroyed.notify_one();
    hooks.go_on.notified().await;
    Ok(())
}

async fn logout_and_set(
    State((store, hooks)): Shared,
    session: Session,
) -> Result<(), SessionFailure> {
    store.destroy(&session).await?;
    session.insert("value", "fresh")?;
    session.save().await?;
    hooks.destroyed.notify_one();
    hooks.go_on.notified().await;
    Ok(())
}
