//! Sessions in Redis and Valkey: one node, Sentinel or Cluster.
mod backend;
mod failure;
mod layout;
mod link;
mod operations;
mod scripts;
mod server;
mod sharing;
mod source;

pub use backend::{NotConfirmed, RedisBackend};

use session_core::{Result, SessionStore, global};

pub(crate) const NAME: &str = "redis";

/// Connects, and makes the store the process's [global] one, with the default configuration.
///
/// # Errors
/// See [`RedisBackend::connect`].
pub async fn start_session(url: &str) -> Result<SessionStore> {
    let store = SessionStore::new(RedisBackend::connect(url).await?);
    global::cache_store(store.clone());
    Ok(store)
}
