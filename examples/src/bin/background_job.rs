//! A task that outlives the response and saves its result into the session.

use std::time::Duration;

use axum::Router;
use axum::routing::{get, post};
use session_memory::MemoryBackend;
use session_tower::session_core::{ErrorKind, SessionStore};
use session_tower::{Session, SessionFailure, SessionLayer};

async fn start(session: Session) -> Result<&'static str, SessionFailure> {
    session.insert("report", "in progress")?;
    // Saved now, so that the session exists when the task saves it again.
    session.save().await?;
    tokio::spawn(async move {
        tokio::time::sleep(Duration::from_millis(200)).await;
        let saved = async {
            session.insert("report", "ready")?;
            session.save().await
        };
        match saved.await {
            Ok(()) => {}
            // The visitor has signed out meanwhile.
            Err(error) if error.kind() == ErrorKind::Gone => {}
            Err(error) => eprintln!("the report was not saved: {error}"),
        }
    });
    Ok("started")
}

async fn state(session: Session) -> Result<String, SessionFailure> {
    Ok(session.get("report")?.unwrap_or_else(|| "none".to_owned()))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let store = SessionStore::new(MemoryBackend::new());
    let app = Router::new()
        .route("/", get(state))
        .route("/report", post(start))
        .layer(SessionLayer::new(store));
    examples::serve(app).await
}
