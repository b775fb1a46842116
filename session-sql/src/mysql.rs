//! MySQL and MariaDB.

use std::sync::Arc;
use std::time::Duration;

use session_core::{
    Backend, Capabilities, Key, Loaded, Record, Result, Revision, Write, async_trait,
};
use sqlx::mysql::{MySqlConnectOptions, MySqlPoolOptions};
use sqlx::{ConnectOptions as _, MySqlPool};

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

/// Sessions in MySQL (8.0 or newer) or MariaDB (10.6 or newer), in InnoDB.
///
/// Cheap to clone; clones share connections and batches. A future that is dropped does not break
/// off its statement: what was sent is carried out.
///
/// The table, as [`schema`](Self::schema) shows and [`migrate`](Self::migrate) creates it:
///
/// | column | type | holds |
/// |---|---|---|
/// | `id_hash` | `BINARY(32)`, primary key | the SHA-256 of the session id |
/// | `revision` | `BIGINT` | 64 random bits of the last writer |
/// | `expires_at` | `BIGINT` | the deadline, in milliseconds since 1970 UTC by the server's clock |
/// | `owner` | `VARBINARY(255)`, or null | whose session it is, UTF-8 |
/// | `payload` | `LONGBLOB` | the session's document, JSON in UTF-8, up to `max_allowed_packet` |
///
/// No column is text: no collation, no case folding and no padding can make two keys one. Indexes:
/// the primary key; `<table>_expires_at`, by which gc finds what expired; `<table>_owner`. To read
/// it: `SELECT CONVERT(payload USING utf8mb4) FROM sessions`.
///
/// The server's time zone does not matter. With `binlog_format = STATEMENT` batches are refused by
/// the server, because they read what is committed; use `MIXED` or `ROW`, which are the defaults.
#[derive(Clone, Debug)]
pub struct MySqlBackend(Engine<Statements>);

backend!(MySqlBackend, MySqlPool);

impl MySqlBackend {
    /// Connects to `mysql://user:password@host:port/database` (also for MariaDB), with a pool of
    /// its own of up to 10 connections.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that is none and for a wrong user, password or database;
    /// `Unavailable` when the server can't be reached within 3 s.
    pub async fn connect(url: &str) -> Result<Self> {
        let options: sqlx::Result<MySqlConnectOptions> = url.parse();
        let options = options.map_err(|error| {
            let fault = Fault::new(error, Statements::classify);
            fault.error().with_backend(Statements::NAME).with_operation("connect")
        })?;
        let options = options.disable_statement_logging();
        let pool = MySqlPoolOptions::new().max_connections(MAX_CONNECTIONS);
        let keep = LANES * 2;
        let backend = Self::over(Connections::own(pool, options, false, keep), SETTINGS);
        backend.0.check().await?;
        Ok(backend)
    }
}

/// A server's records survive that it is closed.
fn durable(_: &MySqlPool) -> bool {
    true
}
