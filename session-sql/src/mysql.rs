//! MySQL and MariaDB.

use std::sync::Arc;
use std::time::Duration;

use session_core::{
    Backend, BatchBackend, BatchLimits, Capabilities, CreateItem, DestroyItem, Key, Loaded, Record,
    Result, Revision, TouchItem, UpdateItem, Write, async_trait,
};
use sqlx::mysql::MySqlConnectOptions;
use sqlx::{ConnectOptions as _, MySqlPool};

use crate::backend::backend;
use crate::connections::Connections;
use crate::dialect::{Dialect, MAX_BATCH};
use crate::engine::Engine;
use crate::failure::Failure;
use crate::table::Table;

mod operations;
mod statements;

use statements::MySql;

const MAX_CONNECTIONS: usize = 10;

/// Sessions in MySQL (8.0 or newer) or MariaDB (10.6 or newer), in InnoDB.
///
/// Cheap to clone; clones share connections. A future that is dropped while its statement is in flight
/// costs the connection; the server carries the statement out, or takes a batch back as a whole.
///
/// The table, as [`schema`](Self::schema) shows and [`migrate`](Self::migrate) creates it:
///
/// | column | type | holds |
/// |---|---|---|
/// | `id_hash` | `BINARY(32)`, primary key | the SHA-256 of the session id |
/// | `revision` | `BIGINT` | 64 random bits of the last writer |
/// | `expires_at` | `BIGINT` | the expiry, in milliseconds since 1970 UTC by the server's clock |
/// | `owner` | `VARBINARY(255)`, or null | the owner, UTF-8 |
/// | `payload` | `LONGBLOB` | the session's document, JSON in UTF-8, up to `max_allowed_packet` |
///
/// No column is text: no collation, no case folding and no padding can make two keys one. Indexes:
/// the primary key; `<table>_expires_at`, by which gc finds what expired; `<table>_owner`. To read
/// it: `SELECT CONVERT(payload USING utf8mb4) FROM sessions`.
///
/// The server's time zone does not matter. Use `binlog_format = MIXED` or `ROW`, which are the defaults:
/// with `STATEMENT` the server refuses batches, because they read what is committed, and replicas
/// compute deadlines of their own.
#[derive(Clone, Debug)]
pub struct MySqlBackend(Engine<MySql>);

backend!(MySqlBackend, MySql, MySqlPool);

impl MySqlBackend {
    /// Connects to `mysql://user:password@host:port/database` (also for MariaDB). The store opens up to
    /// 10 connections.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL that is none and for a wrong user, password or database;
    /// `Unavailable` when the server can't be reached.
    pub async fn connect(url: &str) -> Result<Self> {
        let options: sqlx::Result<MySqlConnectOptions> = url.parse();
        let options = options.map_err(|error| {
            let failure = Failure::not_sent(error, MySql::classify);
            failure.error().with_backend(MySql::NAME).with_operation("connect")
        })?;
        let options = options.disable_statement_logging();
        let pool = MySqlPool::connect_lazy_with(options.clone());
        let most = MAX_CONNECTIONS;
        let connections = Connections::own(options, pool, most, false, MySql::classify);
        let backend = Self::over(connections);
        backend.0.check().await?;
        Ok(backend)
    }

    /// Uses a pool that the application has. Its options are the application's:
    /// `test_before_acquire(false)` saves a round trip per operation, and an `acquire_timeout` of more
    /// than 3 s has no effect.
    #[must_use]
    pub fn from_pool(pool: MySqlPool) -> Self {
        Self::over(Connections::shared(pool, false, MySql::classify))
    }

    fn over(connections: Connections<sqlx::MySql>) -> Self {
        Self(Engine::new(MySql::new(Table::default()), Arc::new(connections), true))
    }
}
