//! Sessions in SQLite, PostgreSQL, MySQL or MariaDB, on [sqlx](sqlx).
//!
//! One cargo feature per database, none by default: `sqlite`, `postgres`, `mysql` (also for MariaDB).
//! `tls` adds encrypted connections.
//!
#![cfg_attr(feature = "sqlite", doc = "```")]
#![cfg_attr(not(feature = "sqlite"), doc = "```ignore")]
//! use session_core::SessionStore;
//! use session_sql::SqliteBackend;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> session_core::Result<()> {
//! # let directory = tempfile::tempdir().unwrap();
//! # let url = format!("sqlite:{}", directory.path().join("sessions.db").display());
//! let backend = SqliteBackend::connect(&url).await?;
//! backend.migrate().await?;
//! let store = SessionStore::new(backend);
//!
//! let session = store.create();
//! session.insert("theme", &"dark")?;
//! store.save(&session).await?;
//! let cookie = store.cookie_value(&session).unwrap();
//! let again = store.load(cookie.as_str()).await?.unwrap();
//! assert_eq!(again.get::<String>("theme")?.as_deref(), Some("dark"));
//! # Ok(())
//! # }
//! ```
//!
//! # How operations travel
//!
//! Alone, an operation is one prepared statement and one round trip, at once. While a few batches of
//! one sort (loads, creates, updates, touches) are under way, those that arrive wait for the next
//! one: one statement, one commit, and for each its own verdict. Nothing waits for a timer.
//! `group_commit(false)` turns it off. A destroy and a rotation always have their own statement.
//!
//! A future that is dropped while it waits for a batch has done nothing; one that is dropped later does
//! not break off its operation, which the runtime carries on, and never takes others with it.
//!
//! # Errors
//!
//! | kind | when |
//! |---|---|
//! | `Unavailable` | no connection within 3 s, no answer within 4 s, a connection that broke, a database that is read-only, full or locked for too long |
//! | `InvalidConfig` | a wrong URL, user, password or right; a certificate that is not trusted; the table is missing: call `migrate()` |
//! | `TooLarge` | a limit of the database, for example MySQL's `max_allowed_packet` (`Unavailable` where the server closes the connection before its answer is read) |
//! | `Corrupt` | the row is no session; `destroy` removes it |
//!
//! A load whose connection broke is repeated once on another; a write is not, the handle finds out
//! what became of it.
#![cfg_attr(
    not(all(feature = "mysql", feature = "postgres", feature = "sqlite")),
    allow(
        dead_code,
        unused_imports,
        unused_macros,
        reason = "each uses its part of what is shared"
    )
)]

mod backend;
mod connections;
mod detached;
mod dialect;
mod engine;
mod fault;
mod kinds;
mod ladder;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(feature = "postgres")]
mod postgres;
mod queue;
#[cfg(feature = "sqlite")]
mod sqlite;
mod table;

use session_core::{Error, Result, SessionStore, global};

#[cfg(feature = "mysql")]
pub use mysql::MySqlBackend;
#[cfg(feature = "postgres")]
pub use postgres::PostgresBackend;
#[cfg(feature = "sqlite")]
pub use sqlite::SqliteBackend;

/// Connects to `sqlite:`, `postgres:` (`postgresql:`), `mysql:` or `mariadb:`, creates the table
/// `sessions` where it is missing, and makes the store the process's [global] one, with the default
/// configuration.
///
/// # Errors
/// `InvalidConfig` for another scheme and for one whose feature is off; else what `connect` and
/// `migrate` of the backend say.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
pub async fn start_session(url: &str) -> Result<SessionStore> {
    let store = match url.split_once(':').map_or("", |(scheme, _)| scheme) {
        #[cfg(feature = "sqlite")]
        "sqlite" => {
            let backend = SqliteBackend::connect(url).await?;
            backend.migrate().await?;
            SessionStore::new(backend)
        }
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => {
            let backend = PostgresBackend::connect(url).await?;
            backend.migrate().await?;
            SessionStore::new(backend)
        }
        #[cfg(feature = "mysql")]
        "mysql" | "mariadb" => {
            let backend = MySqlBackend::connect(url).await?;
            backend.migrate().await?;
            SessionStore::new(backend)
        }
        _ => {
            return Err(Error::invalid_config(
                "the URL begins with sqlite:, postgres: or mysql:, and the cargo feature of that \
                 name must be on",
            ));
        }
    };
    global::cache_store(store.clone());
    Ok(store)
}
