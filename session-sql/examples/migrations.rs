//! The table of the sessions among an application's own sqlx migrations.
//!
//! ```text
//! cargo run -p session-sql --features sqlite --example migrations
//! ```
//!
//! `schema()` is the text of the migration: write it into your directory of migrations once, as here
//! into `migrations/20260101000000_sessions.sql`, and commit it. `migrate()` is then not called.

use std::error::Error;

use session_core::SessionStore;
use session_sql::SqliteBackend;
use sqlx::migrate::Migrator;
use sqlx::sqlite::{SqliteConnectOptions, SqlitePool};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory = tempfile::tempdir()?;
    let options = SqliteConnectOptions::new()
        .filename(directory.path().join("app.db"))
        .create_if_missing(true);
    let pool = SqlitePool::connect_with(options).await?;
    let backend = SqliteBackend::from_pool(pool.clone()).with_table("web_sessions")?;

    let migrations = directory.path().join("migrations");
    std::fs::create_dir(&migrations)?;
    std::fs::write(migrations.join("20260101000000_sessions.sql"), backend.schema())?;
    // An application says `sqlx::migrate!().run(&pool)`.
    Migrator::new(migrations).await?.run(&pool).await?;

    let store = SessionStore::new(backend);
    let session = store.create();
    session.insert("theme", "dark")?;
    store.save(&session).await?;
    Ok(())
}
