//! PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use session_core::{
    Backend, BatchBackend, BatchLimits, Capabilities, CreateItem, DestroyItem, Key, Loaded, Record,
    Result, Revision, TouchItem, UpdateItem, Write, async_trait,
};
use sqlx::postgres::PgConnectOptions;
use sqlx::{ConnectOptions as _, PgPool};

use crate::backend::backend;
use crate::connections::Connections;
use crate::dialect::{Dialect, MAX_BATCH};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::table::Table;

mod operations;
mod statements;

use statements::Postgres;

const MAX_CONNECTIONS: usize = 10;

/// Sessions in PostgreSQL (12 or newer).
///
/// Cheap to clone; clones share connections. A future that is dropped while its statement is in flight
/// costs the connection; the server carries the statement out.
///
/// The table, as [`schema`](Self::schema) shows and [`migrate`](Self::migrate) creates it:
///
/// | column | type | holds |
/// |---|---|---|
/// | `id_hash` | `bytea`, primary key | the SHA-256 of the session id, 32 bytes |
/// | `revision` | `bigint` | 64 random bits of the last writer |
/// | `expires_at` | `bigint` | the expiry, in milliseconds since 1970 UTC by the server's clock |
/// | `owner` | `bytea`, or null | the owner, UTF-8 |
/// | `payload` | `bytea` | the session's document, JSON in UTF-8, up to 1 GB |
///
/// Indexes: the primary key; `<table>_expires_at`, by which gc finds what expired; `<table>_owner`,
/// where there is an owner. To read it in psql: `SELECT convert_from(payload, 'UTF8') FROM sessions`.
#[derive(Clone, Debug)]
pub struct PostgresBackend(Engine<Postgres>);

backend!(PostgresBackend, Postgres, PgPool);

impl PostgresBackend {
    /// Connects to `postgres://user:password@host:port/database`. The store opens up to 10 connections.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that is none and for a wrong user, password or database;
    /// `Unavailable` when the server can't be reached.
    pub async fn connect(url: &str) -> Result<Self> {
        let options: sqlx::Result<PgConnectOptions> = url.parse();
        let options = options.map_err(|error| {
            let failure = Failure::not_sent(error, Postgres::classify);
            failure.error().with_backend(Postgres::NAME).with_operation("connect")
        })?;
        let options = options.disable_statement_logging();
        let pool = PgPool::connect_lazy_with(options.clone());
        let most = MAX_CONNECTIONS;
        let connections = Connections::own(options, pool, most, false, Postgres::classify);
        let backend = Self::over(connections);
        backend.0.check().await?;
        Ok(backend)
    }

    /// Uses a pool that the application has. Its options are the application's:
    /// `test_before_acquire(false)` saves a round trip per operation, and an `acquire_timeout` of more
    /// than 3 s has no effect.
    #[must_use]
    pub fn from_pool(pool: PgPool) -> Self {
        Self::over(Connections::shared(pool, false, Postgres::classify))
    }

    fn over(connections: Connections<sqlx::Postgres>) -> Self {
        Self(Engine::new(Postgres::new(Table::default()), Arc::new(connections), true))
    }
}
