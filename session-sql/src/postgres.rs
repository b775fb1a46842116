//! PostgreSQL.

use std::sync::Arc;
use std::time::Duration;

use session_core::{
    Backend, Capabilities, Key, Loaded, Record, Result, Revision, Write, async_trait,
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use sqlx::{ConnectOptions as _, PgPool};

use crate::backend::backend;
use crate::connections::Connections;
use crate::dialect::Dialect;
use crate::engine::{Engine, LANES, Settings};
use crate::fault::Fault;
use crate::table::Table;

mod operations;
mod statements;

use statements::Statements;

const MAX_CONNECTIONS: u32 = 10;
const SETTINGS: Settings = Settings { group_commit: true, durable: true };

/// Sessions in PostgreSQL (12 or newer).
///
/// Cheap to clone; clones share connections and batches. A future that is dropped does not break
/// off its statement: what was sent is carried out.
///
/// The table, as [`schema`](Self::schema) shows and [`migrate`](Self::migrate) creates it:
///
/// | column | type | holds |
/// |---|---|---|
/// | `id_hash` | `bytea`, primary key | the SHA-256 of the session id, 32 bytes |
/// | `revision` | `bigint` | 64 random bits of the last writer |
/// | `expires_at` | `bigint` | the deadline, in milliseconds since 1970 UTC by the server's clock |
/// | `owner` | `bytea`, or null | whose session it is, UTF-8 |
/// | `payload` | `bytea` | the session's document, JSON in UTF-8, up to 1 GB |
///
/// Indexes: the primary key; `<table>_expires_at`, by which gc finds what expired; `<table>_owner`,
/// where there is an owner. To read it in psql: `SELECT convert_from(payload, 'UTF8') FROM sessions`.
#[derive(Clone, Debug)]
pub struct PostgresBackend(Engine<Statements>);

backend!(PostgresBackend, PgPool);

impl PostgresBackend {
    /// Connects to `postgres://user:password@host:port/database`, with a pool of its own of up to 10
    /// connections.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that is none and for a wrong user, password or database;
    /// `Unavailable` when the server can't be reached within 3 s.
    pub async fn connect(url: &str) -> Result<Self> {
        let options: sqlx::Result<PgConnectOptions> = url.parse();
        let options = options.map_err(|error| {
            let fault = Fault::new(error, Statements::classify);
            fault.error().with_backend(Statements::NAME).with_operation("connect")
        })?;
        let options = options.disable_statement_logging();
        let pool = PgPoolOptions::new().max_connections(MAX_CONNECTIONS);
        let keep = LANES * 2;
        let backend = Self::over(Connections::own(pool, options, false, keep), SETTINGS);
        backend.0.check().await?;
        Ok(backend)
    }
}

/// A server's records survive that it is closed.
fn durable(_: &PgPool) -> bool {
    true
}
