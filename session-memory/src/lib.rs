#![doc = include_str!("../README.md")]

mod backend;
mod clock;
mod entry;
mod owners;
mod shard;
#[cfg(test)]
mod tests;

use session_core::{SessionStore, global};

pub use backend::MemoryBackend;
pub use session_core;

/// Makes `backend` the process-wide store of [`session_core::global`], with default settings, and
/// returns the store. It replaces an earlier one.
///
/// ```
/// use session_memory::{MemoryBackend, start_session};
///
/// start_session(MemoryBackend::new());
/// assert_eq!(session_core::global::store()?.backend_name(), "memory");
/// # Ok::<(), session_core::Error>(())
/// ```
pub fn start_session(backend: MemoryBackend) -> SessionStore {
    let store = SessionStore::new(backend);
    global::cache_store(store.clone());
    store
}
