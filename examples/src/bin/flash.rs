//! A message that the next page shows once: the form is sent, the browser is led to a page, and the page shows it.

use axum::Router;
use axum::response::Redirect;
use axum::routing::{get, post};
use session_memory::MemoryBackend;
use session_tower::session_core::{Level, SessionStore};
use session_tower::{Session, SessionLayer};

async fn order(session: Session) -> Redirect {
    session.flash().message(Level::Info, "Your order is on its way.");
    Redirect::to("/")
}

async fn home(session: Session) -> String {
    let messages = session.flash().take_messages();
    let texts: Vec<&str> = messages.iter().map(|message| message.text.as_str()).collect();
    format!("Messages: {}", texts.join(" "))
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let store = SessionStore::new(MemoryBackend::new());
    let app = Router::new()
        .route("/", get(home))
        .route("/order", post(order))
        .layer(SessionLayer::new(store));
    examples::serve(app).await
}
