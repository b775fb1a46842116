//! MySQL and MariaDB.

use std::future::Future;
use std::time::Duration;

use session_core::{
    Backend, BatchBackend, BatchLimits, Capabilities, CreateItem, DestroyItem, Key, Loaded, Owner,
    OwnerIndex, Record, Result, Revision, TouchItem, UpdateItem, Write, async_trait,
};
use sqlx::MySqlPool;
use sqlx::mysql::MySqlConnectOptions;

use crate::backend::{backend, server};
use crate::dialect::{Dialect, MAX_BATCH};
use crate::engine::Engine;
use crate::table::Table;

mod operations;
mod packet;
mod rows;
mod statements;
mod transaction;

use statements::MySql;

const MAX_CONNECTIONS: usize = 10;

/// Sessions in MySQL (8.0 or newer) or MariaDB (10.6 or newer), in InnoDB.
///
/// Cheap to clone; clones share connections. A future that is dropped while its statement is in flight
/// costs the connection; the server carries the statement out, or takes a batch back as a whole. To read
/// the table: `SELECT CONVERT(payload USING utf8mb4) FROM sessions`.
///
/// The server's time zone does not matter. Use `binlog_format = MIXED` or `ROW`, which are the defaults:
/// with `STATEMENT` the server refuses batches, because they read what is committed, and replicas
/// compute deadlines of their own.
///
/// ```no_run
/// use session_sql::session_core::{Result, SessionStore};
/// use session_sql::MySqlBackend;
/// use session_sql::sqlx;
///
/// /// The sessions share the application's pool and have a table of their own.
/// async fn store(pool: sqlx::MySqlPool) -> Result<SessionStore> {
///     let backend = MySqlBackend::from_pool(pool).with_table("web_sessions")?;
///     backend.migrate().await?;
///     Ok(SessionStore::new(backend))
/// }
/// ```
#[derive(Clone, Debug)]
pub struct MySqlBackend(Engine<MySql>);

backend!(MySqlBackend, MySql, MySqlPool, durable: |_| true);

server!(MySqlBackend, MySql, MySqlConnectOptions, "mysql://user:password@host:port/database");
