//! A struct in the session, and what to do when its fields change in a deploy.

use axum::Router;
use axum::extract::Path;
use axum::routing::{get, post};
use serde::{Deserialize, Serialize};
use session_memory::MemoryBackend;
use session_tower::session_core::{ErrorKind, Result, SessionStore};
use session_tower::{Session, SessionFailure, SessionLayer};

/// One name for one value, and one place that knows its type.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
struct Cart {
    items: Vec<String>,
    /// New in this version: sessions of the last one have no such field.
    #[serde(default)]
    coupon: Option<String>,
}

impl Cart {
    const NAME: &str = "cart";

    /// A value that can't be read any more counts as an empty cart. It is removed, so the next save gets rid of it; a
    /// value of the last version should be worth a `#[serde(default)]` first.
    fn of(session: &Session) -> Result<Self> {
        match session.get(Self::NAME) {
            Ok(cart) => Ok(cart.unwrap_or_default()),
            Err(error) if error.kind() == ErrorKind::InvalidValue => {
                session.remove(Self::NAME);
                Ok(Self::default())
            }
            Err(error) => Err(error),
        }
    }
}

async fn add(
    session: Session,
    Path(item): Path<String>,
) -> std::result::Result<(), SessionFailure> {
    // A cart that can't be read any more is removed first: `update` would refuse it.
    Cart::of(&session)?;
    // Parallel requests each add their item: the closure runs again on what the other one stored.
    session.update(Cart::NAME, move |cart: Option<Cart>| {
        let mut cart = cart.unwrap_or_default();
        cart.items.push(item.clone());
        cart
    })?;
    Ok(())
}

async fn show(session: Session) -> std::result::Result<String, SessionFailure> {
    let cart = Cart::of(&session)?;
    Ok(format!("{} items, coupon: {}", cart.items.len(), cart.coupon.is_some()))
}

/// What a version of last year stored under the same name.
async fn old_version(session: Session) -> std::result::Result<(), SessionFailure> {
    Ok(session.insert(Cart::NAME, "a list of items")?)
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let store = SessionStore::new(MemoryBackend::new());
    let app = Router::new()
        .route("/", get(show))
        .route("/add/{item}", post(add))
        .route("/old-version", post(old_version))
        .layer(SessionLayer::new(store));
    examples::serve(app).await
}
