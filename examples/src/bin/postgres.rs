//! PostgreSQL with the application's own pool and migrations. `DATABASE_URL` names the database.

use std::time::Duration;

use axum::Router;
use axum::routing::get;
use session_sql::PostgresBackend;
use session_sql::sqlx::postgres::PgPoolOptions;
use session_sql::sqlx::{self, AssertSqlSafe};
use session_tower::session_core::SessionStore;
use session_tower::{Session, SessionFailure, SessionLayer};

async fn count(session: Session) -> Result<String, SessionFailure> {
    let count = session.update_and_save("count", |n: Option<u64>| n.unwrap_or(0) + 1).await?;
    Ok(count.to_string())
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let pool = PgPoolOptions::new()
        .max_connections(20)
        // The store notices broken connections by itself, and a ping per operation is a round trip.
        .test_before_acquire(false)
        .connect(&std::env::var("DATABASE_URL")?)
        .await?;
    let backend = PostgresBackend::from_pool(pool.clone()).with_table("web_sessions")?;
    // As one of the application's migrations. `backend.migrate()` does the same.
    sqlx::raw_sql(AssertSqlSafe(backend.schema())).execute(&pool).await?;
    let store = SessionStore::new(backend);
    // Off the requests' way: about every five minutes on each node.
    store.spawn_gc(Duration::from_secs(300));
    let sessions = SessionLayer::new(store).with_gc_probability(0.0)?;
    let app = Router::new().route("/", get(count)).layer(sessions);
    Ok(examples::serve(app).await?)
}
