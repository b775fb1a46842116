//! The pages of an application on tower-sessions 0.15.

use std::collections::BTreeMap;
use std::sync::Arc;

use axum::extract::{Query, State};
use axum::http::StatusCode;
use axum::routing::get;
use axum::{Extension, Router};
use time::{Duration, OffsetDateTime};
use tokio::sync::Semaphore;
use tower_sessions::session::Error;
use tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore};

type Answer = Result<String, (StatusCode, String)>;

/// Opens and shuts a page in the midst of a request.
#[derive(Clone)]
pub(crate) struct Gate {
    arrived: Arc<Semaphore>,
    open: Arc<Semaphore>,
}

impl Gate {
    pub(crate) fn new() -> Self {
        Self { arrived: Arc::new(Semaphore::new(0)), open: Arc::new(Semaphore::new(0)) }
    }

    pub(crate) async fn wait(&self) {
        self.arrived.add_permits(1);
        self.open.acquire().await.unwrap().forget();
    }

    /// Waits until a request is in the midst of the page.
    pub(crate) async fn arrival(&self) {
        self.arrived.acquire().await.unwrap().forget();
    }

    pub(crate) fn open(&self) {
        self.open.add_permits(1);
    }
}

pub(crate) fn layer<S: SessionStore>(store: S) -> SessionManagerLayer<S> {
    SessionManagerLayer::new(store).with_secure(false)
}

pub(crate) fn app<S: SessionStore + Clone>(layer: SessionManagerLayer<S>) -> Router {
    gated(layer, &Gate::new())
}

pub(crate) fn gated<S: SessionStore + Clone>(layer: SessionManagerLayer<S>, gate: &Gate) -> Router {
    Router::new()
        .route("/unused", get(|| async { "hello" }))
        .route("/insert", get(insert))
        .route("/slow-insert", get(slow_insert))
        .route("/get", get(read))
        .route("/remove", get(remove))
        .route("/clear", get(clear))
        .route("/flush", get(flush))
        .route("/flush-and-insert", get(flush_and_insert))
        .route("/delete", get(delete))
        .route("/cycle", get(cycle))
        .route("/expire", get(expire))
        .layer(layer)
        .layer(Extension(gate.clone()))
        .with_state(())
}

type Pairs = Query<BTreeMap<String, String>>;

fn answer(error: Error) -> (StatusCode, String) {
    (StatusCode::SERVICE_UNAVAILABLE, error.to_string())
}

async fn insert(session: Session, Query(pairs): Pairs) -> Answer {
    for (name, value) in pairs {
        session.insert(&name, value).await.map_err(answer)?;
    }
    Ok(String::new())
}

/// Reads the session, is held up, and changes it then.
async fn slow_insert(
    session: Session,
    Extension(gate): Extension<Gate>,
    Query(pairs): Pairs,
) -> Answer {
    session.get::<String>("any").await.map_err(answer)?;
    gate.wait().await;
    insert(session, Query(pairs)).await
}

/// The value of each name that was asked for.
async fn read(session: Session, State(()): State<()>, Query(names): Pairs) -> Answer {
    let mut found = Vec::new();
    for name in names.keys() {
        let value = session.get::<String>(name).await.map_err(answer)?;
        found.push(value.unwrap_or_else(|| "none".to_owned()));
    }
    Ok(found.join(","))
}

async fn remove(session: Session, Query(names): Pairs) -> Answer {
    let mut removed = Vec::new();
    for name in names.keys() {
        let value = session.remove::<String>(name).await.map_err(answer)?;
        removed.push(value.unwrap_or_else(|| "none".to_owned()));
    }
    Ok(removed.join(","))
}

async fn clear(session: Session) {
    session.clear().await;
}

async fn flush(session: Session) -> Answer {
    session.flush().await.map_err(answer)?;
    Ok(String::new())
}

async fn flush_and_insert(session: Session, pairs: Pairs) -> Answer {
    session.flush().await.map_err(answer)?;
    insert(session, pairs).await
}

async fn delete(session: Session) -> Answer {
    session.delete().await.map_err(answer)?;
    Ok(String::new())
}

async fn cycle(session: Session) -> Answer {
    session.cycle_id().await.map_err(answer)?;
    Ok(String::new())
}

/// Ends the session at a date, given in milliseconds from now.
async fn expire(session: Session, Query(pairs): Pairs) -> Answer {
    let millis: i64 = pairs["ms"].parse().unwrap();
    let date = OffsetDateTime::now_utc() + Duration::milliseconds(millis);
    session.set_expiry(Some(Expiry::AtDateTime(date)));
    insert(session, Query([("expires".to_owned(), "yes".to_owned())].into())).await
}
