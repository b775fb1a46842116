#![doc = include_str!("../README.md")]

#[cfg(not(unix))]
compile_error!(
    "session-file needs a Unix system (file modes, `openat` and `flock`): use session-sql with SQLite"
);

mod backend;
mod bucket;
mod clock;
mod collect;
mod direct;
mod durability;
mod errors;
mod expiries;
mod format;
mod name;
mod owner_sweep;
mod owners;
mod queue;
mod read;
mod root;
mod store;
#[cfg(test)]
mod tests;

use session_core::{SessionStore, global};

pub use backend::FileBackend;
pub use durability::Durability;
pub use session_core;

/// Makes `backend` the process-wide store of [`session_core::global`], with default settings, and
/// returns the store. It replaces an earlier one.
///
/// ```
/// use session_file::{FileBackend, start_session};
///
/// # let directory = tempfile::tempdir().unwrap();
/// # let path = directory.path().join("sessions");
/// start_session(FileBackend::open(path)?);
/// assert_eq!(session_core::global::store()?.backend_name(), "file");
/// # Ok::<(), session_core::Error>(())
/// ```
pub fn start_session(backend: FileBackend) -> SessionStore {
    let store = SessionStore::new(backend);
    global::cache_store(store.clone());
    store
}
