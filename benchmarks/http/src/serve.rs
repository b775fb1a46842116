//! One application server. It prints its port, and ends when its standard input is closed.

use axum::Router;
use axum::routing::get;
use bench_harness::values;
use clap::Args;
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;

use crate::Stack;

#[derive(Args)]
pub(crate) struct Serve {
    #[arg(long)]
    stack: Stack,
    #[arg(long)]
    url: String,
}

pub(crate) async fn run(serve: Serve) {
    let postgres = serve.url.starts_with("postgres");
    let app = match (serve.stack, postgres) {
        (Stack::Ours, false) => ours::app(ours::redis(&serve.url).await),
        (Stack::Ours, true) => ours::app(ours::postgres(&serve.url).await),
        (Stack::TowerSessions, false) => theirs::app(theirs::redis(&serve.url).await),
        (Stack::TowerSessions, true) => theirs::app(theirs::postgres(&serve.url).await),
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
    println!("{}", listener.local_addr().expect("it is bound").port());
    tokio::spawn(async move { axum::serve(listener, app).await.expect("it serves") });
    // The driver ends this process by closing the pipe.
    let _ = tokio::io::stdin().read_to_end(&mut Vec::new()).await;
}

mod ours {
    use session_core::SessionStore;
    use session_redis::RedisBackend;
    use session_sql::PostgresBackend;
    use session_tower::{CookieConfig, Session, SessionFailure, SessionLayer};

    use super::{Router, get, values};

    pub(super) async fn redis(url: &str) -> SessionStore {
        SessionStore::new(RedisBackend::connect(url).await.expect("Redis answers"))
    }

    pub(super) async fn postgres(url: &str) -> SessionStore {
        let backend = PostgresBackend::connect(url).await.expect("PostgreSQL answers");
        backend.migrate().await.expect("the table can be made");
        SessionStore::new(backend)
    }

    pub(super) fn app(store: SessionStore) -> Router {
        let cookie = CookieConfig::new().name("id").secure(false);
        let layer = SessionLayer::new(store).with_cookie(cookie).expect("the cookie is valid");
        Router::new()
            .route("/new", get(create))
            .route("/write", get(write))
            .route("/count", get(count))
            .layer(layer.with_gc_probability(0.0).expect("0 is a probability"))
    }

    async fn create(session: Session) -> Result<(), SessionFailure> {
        for (name, value) in values() {
            session.insert(name, value)?;
        }
        Ok(())
    }

    async fn write(session: Session) -> Result<(), SessionFailure> {
        session.update("writes", |writes: Option<u64>| writes.unwrap_or(0) + 1)?;
        Ok(())
    }

    async fn count(session: Session) -> Result<String, SessionFailure> {
        Ok(session.get::<u64>("writes")?.unwrap_or(0).to_string())
    }
}

mod theirs {
    use tower_sessions::cookie::time::Duration;
    use tower_sessions::{Expiry, Session, SessionManagerLayer, SessionStore};
    use tower_sessions_redis_store::RedisStore;
    use tower_sessions_redis_store::fred::prelude::{ClientLike as _, Config, Pool};
    use tower_sessions_sqlx_store::PostgresStore;
    use tower_sessions_sqlx_store::sqlx::postgres::PgPoolOptions;

    use super::{Router, get, values};

    pub(super) async fn redis(url: &str) -> RedisStore<Pool> {
        let config = Config::from_url(url).expect("the URL is valid");
        let pool = Pool::new(config, None, None, None, 2).expect("a pool can be made");
        pool.init().await.expect("Redis answers");
        RedisStore::new(pool)
    }

    pub(super) async fn postgres(url: &str) -> PostgresStore {
        let pool = PgPoolOptions::new().max_connections(10).connect(url).await.expect("it answers");
        let store = PostgresStore::new(pool);
        store.migrate().await.expect("the table can be made");
        store
    }

    pub(super) fn app(store: impl SessionStore + Clone) -> Router {
        let layer = SessionManagerLayer::new(store)
            .with_secure(false)
            .with_expiry(Expiry::OnInactivity(Duration::hours(2)));
        Router::new()
            .route("/new", get(create))
            .route("/write", get(write))
            .route("/count", get(count))
            .layer(layer)
    }

    async fn create(session: Session) {
        for (name, value) in values() {
            session.insert(name, value).await.expect("insert works");
        }
    }

    async fn write(session: Session) {
        let writes = session.get::<u64>("writes").await.expect("get works").unwrap_or(0);
        session.insert("writes", writes + 1).await.expect("insert works");
    }

    async fn count(session: Session) -> String {
        session.get::<u64>("writes").await.expect("get works").unwrap_or(0).to_string()
    }
}
