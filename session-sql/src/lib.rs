#![cfg_attr(docsrs, feature(doc_cfg))]
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
//! session.insert("theme", "dark")?;
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
//! An operation alone is one prepared statement. While many are in flight the handle sends them in
//! batches: one statement or one transaction for up to 64 operations, with a result for each. A
//! connection is used by one operation or batch at a time and given back before its outcome is known to
//! anybody.
//!
//! # The table
//!
//! | column | holds |
//! |---|---|
//! | `id_hash`, primary key | the SHA-256 of the session id, 32 bytes |
//! | `revision` | 64 random bits of the last writer |
//! | `expires_at` | the expiry, in milliseconds since 1970 UTC by the database's clock |
//! | `owner`, or null | the owner, UTF-8 |
//! | `payload` | the session's document, JSON in UTF-8 |
//!
//! No column is text: no collation, no case folding and no padding can make two keys one. gc finds what
//! expired by the index `<table>_expires_at`; `<table>_owner` finds the sessions of an owner.
//!
//! # Errors
//!
//! | kind | when |
//! |---|---|
//! | `Unavailable`, a refusal | no connection within 3 s; the database is read-only, full, or locked for too long; deadlocks and serialization failures that go on for 3 s; a statement that the server cancelled |
//! | `Unavailable` | no answer within 4 s, or a connection that broke while a statement was in flight |
//! | `InvalidConfig` | a wrong URL, user, password or right; a certificate that is not trusted; the table is missing: call `migrate()` |
//! | `TooLarge` | a limit of the database, for example MySQL's `max_allowed_packet`, less 512 bytes |
//! | `Corrupt` | the row is not a session; `destroy` removes it |
//!
//! A load whose connection broke is repeated on another one for up to 3 s. A write is not: the handle
//! finds out what became of it.
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod backend;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod connections;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod dialect;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod engine;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod failure;
#[cfg(any(feature = "mysql", feature = "sqlite"))]
mod ladder;
#[cfg(feature = "mysql")]
mod mysql;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod open;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod operation;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod place;
#[cfg(feature = "postgres")]
mod postgres;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod slots;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
mod table;

#[cfg(any(feature = "mysql", feature = "postgres", feature = "sqlite"))]
use session_core::{Error, Result, SessionStore, global};
pub use {session_core, sqlx};

/// Its examples are tests.
#[cfg(all(doctest, feature = "postgres"))]
#[doc = include_str!("../README.md")]
struct Readme;

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
    macro_rules! open {
        ($backend:ident) => {{
            let backend = $backend::connect(url).await?;
            backend.migrate().await?;
            SessionStore::new(backend)
        }};
    }
    let store = match url.split_once(':').map_or("", |(scheme, _)| scheme) {
        #[cfg(feature = "sqlite")]
        "sqlite" => open!(SqliteBackend),
        #[cfg(feature = "postgres")]
        "postgres" | "postgresql" => open!(PostgresBackend),
        #[cfg(feature = "mysql")]
        "mysql" | "mariadb" => open!(MySqlBackend),
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
