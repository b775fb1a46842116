//! A websocket that tells the page when its session has ended.

use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade};
use axum::response::Response;
use session_tower::Session;
use tokio::time::{MissedTickBehavior, interval};

/// How often the session is looked up, in one call to the store.
const EVERY: Duration = Duration::from_secs(1);
/// The close code of `assets/watch.js`. Applications choose from 4000 to 4999 (RFC 6455, 7.4.2).
const ENDED: u16 = 4001;

pub(crate) async fn watch(session: Session, upgrade: WebSocketUpgrade) -> Response {
    upgrade.on_upgrade(move |socket| until_it_ends(socket, session))
}

async fn until_it_ends(mut socket: WebSocket, session: Session) {
    let mut look = interval(EVERY);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        tokio::select! {
            // An outage of the store ends no session. The store has logged it.
            _ = look.tick() => if let Ok(false) = session.is_alive().await {
                let frame = CloseFrame { code: ENDED, reason: "the session has ended".into() };
                drop(socket.send(Message::Close(Some(frame))).await);
                return;
            },
            received = socket.recv() => match received {
                Some(Ok(_)) => {}
                Some(Err(_)) | None => return,
            },
        }
    }
}
