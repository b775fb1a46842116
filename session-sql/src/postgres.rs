//! PostgreSQL.

use std::future::Future;
use std::time::Duration;

use session_core::{
    Backend, BatchBackend, BatchLimits, Capabilities, CreateItem, DestroyItem, Key, Loaded, Owner,
    OwnerIndex, Record, Result, Revision, TouchItem, UpdateItem, Write, async_trait,
};
use sqlx::PgPool;
use sqlx::postgres::PgConnectOptions;

use crate::backend::{backend, server};
use crate::dialect::{Dialect, MAX_BATCH};
use crate::engine::Engine;
use crate::table::Table;

mod operations;
mod statements;

use statements::Postgres;

const MAX_CONNECTIONS: usize = 10;

/// Sessions in PostgreSQL (12 or newer).
///
/// Cheap to clone; clones share connections. A future that is dropped while its statement is in flight
/// costs the connection; the server carries the statement out. To read the table in psql:
/// `SELECT convert_from(payload, 'UTF8') FROM sessions`.
///
/// ```no_run
/// use session_sql::session_core::{Result, SessionStore};
/// use session_sql::PostgresBackend;
/// use session_sql::sqlx;
///
/// /// The sessions share the application's pool and have a table of their own.
/// async fn store(pool: sqlx::PgPool) -> Result<SessionStore> {
///     let backend = PostgresBackend::from_pool(pool).with_table("web_sessions")?;
///     backend.migrate().await?;
///     Ok(SessionStore::new(backend))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct PostgresBackend(Engine<Postgres>);

backend!(PostgresBackend, Postgres, PgPool, durable: |_| true);

server!(PostgresBackend, Postgres, PgConnectOptions, "postgres://user:password@host:port/database");

impl PostgresBackend {
    /// As [`connect`](Self::connect), through a pooler that leads each transaction to any connection of the server and
    /// does not keep the prepared statements of its clients apart: PgBouncer in transaction mode before version 1.21
    /// or with `max_prepared_statements = 0`, and similar ones. `connect` refuses such a pooler.
    ///
    /// Each operation is a transaction of its own with a statement that is prepared for it: four round trips
    /// instead of one.
    ///
    /// # Errors
    /// As [`connect`](Self::connect).
    pub async fn connect_through_pooler(url: &str) -> Result<Self> {
        let options = Engine::<Postgres>::parse(url)?;
        let dialect = Postgres::new(Table::default()).through_pooler();
        Self::checked(Engine::own(dialect, options, MAX_CONNECTIONS, (true, None))).await
    }

    /// The same over the application's own pool.
    #[must_use]
    pub fn from_pool_through_pooler(pool: PgPool) -> Self {
        Self(Engine::shared(Postgres::new(Table::default()).through_pooler(), pool, true))
    }
}
