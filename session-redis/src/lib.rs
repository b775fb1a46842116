#![doc = include_str!("../README.md")]

#[cfg(feature = "cluster")]
mod asking;
mod backend;
mod change;
mod clock;
mod failure;
mod guesses;
mod layout;
mod link;
mod load;
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
/// ```no_run
/// # async fn run() -> session_core::Result<()> {
/// session_redis::start_session("redis://127.0.0.1/").await?;
/// let session = session_core::global::load("the value of the cookie").await?;
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
