//! PostgreSQL.

use std::time::Duration;

use session_core::{
    Backend, BatchBackend, BatchLimits, Capabilities, CreateItem, DestroyItem, Key, Loaded, Owner,
    OwnerIndex, Record, Result, Revision, TouchItem, UpdateItem, Write, async_trait,
};
use sqlx::PgPool;

use crate::backend::backend;
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
#[derive(Clone, Debug)]
pub struct PostgresBackend(Engine<Postgres>);

backend!(PostgresBackend, Postgres, PgPool, durable: |_| true);

impl PostgresBackend {
    /// Connects to `postgres://user:password@host:port/database`. The store opens up to 10 connections.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that is none and for a wrong user, password or database;
    /// `Unavailable` when the server can't be reached.
    pub async fn connect(url: &str) -> Result<Self> {
        let options = Engine::<Postgres>::parse(url)?;
        let dialect = Postgres::new(Table::default());
        let engine = Engine::own(dialect, options, MAX_CONNECTIONS, true);
        engine.check().await?;
        Ok(Self(engine))
    }
}
