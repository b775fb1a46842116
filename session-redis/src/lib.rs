#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

#[cfg(feature = "cluster")]
mod asking;
mod backend;
mod confirm;
mod connect;
mod exchange;
mod failure;
mod layout;
mod link;
mod operations;
mod owners;
mod scripts;
mod server;
mod source;

/// The crates whose types this one takes and returns.
pub use {redis, session_core};

pub use backend::RedisBackend;
pub use confirm::NotConfirmed;

use session_core::{Result, SessionStore, global};

/// Connects, and makes the store the [global] one of the process, with the default configuration.
///
/// ```no_run
/// # async fn run() -> session_redis::session_core::Result<()> {
/// session_redis::start_session("redis://127.0.0.1/").await?;
/// let session = session_redis::session_core::global::load("the value of the cookie").await?;
/// # Ok(()) }
/// ```
///
/// # Errors
/// See [`RedisBackend::connect`].
pub async fn start_session(url: &str) -> Result<SessionStore> {
    let store = SessionStore::new(RedisBackend::connect(url).await?);
    global::cache_store(store.clone());
    Ok(store)
}
