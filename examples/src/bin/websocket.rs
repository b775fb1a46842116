//! A websocket that closes when its session ends elsewhere, for example by a sign-out in another tab.

use std::time::Duration;

use axum::Router;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use axum::routing::{get, post};
use session_memory::MemoryBackend;
use session_tower::session_core::{Owner, SessionStore};
use session_tower::{Session, SessionFailure, SessionLayer};

/// How long a socket may outlive its session. Each look costs one call to the store.
const LOOK: Duration = Duration::from_secs(1);

async fn connect(session: Session, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| talk(socket, session))
}

async fn talk(mut socket: WebSocket, session: Session) {
    let mut look = tokio::time::interval(LOOK);
    loop {
        tokio::select! {
            _ = look.tick() => match session.is_alive().await {
                Ok(true) => {}
                Ok(false) => break,
                // An outage of the store ends nothing: look again later.
                Err(error) => eprintln!("{error}"),
            },
            received = socket.recv() => match received {
                Some(Ok(Message::Text(text))) => {
                    if socket.send(Message::Text(text)).await.is_err() {
                        break;
                    }
                }
                Some(Ok(_)) => {}
                _ => break,
            },
        }
    }
}

async fn sign_in(session: Session) -> Result<(), SessionFailure> {
    session.sign_in(Owner::new("ann")?);
    Ok(())
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let store = SessionStore::new(MemoryBackend::new());
    let app = Router::new()
        .route("/socket", get(connect))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(|session: Session| async move { session.destroy() }))
        .layer(SessionLayer::new(store));
    examples::serve(app).await
}
