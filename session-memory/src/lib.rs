#![doc = include_str!("../README.md")]

mod backend;
mod clock;
mod collect;
mod deadlines;
mod entry;
#[cfg(test)]
mod tests;

use session_core::{SessionStore, global};

pub use backend::MemoryBackend;

/// Makes `backend` the process-wide store of [`session_core::global`], with default settings, and
/// gives it back. An earlier one is replaced.
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
