//! The session: what was loaded and, apart, what this request changed.

mod changes;
pub(crate) mod flash;
mod life;
mod plan;
mod prepared;
mod state;
mod values;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(test)]
pub(crate) use changes::Changes;
pub(crate) use plan::{Plan, rotated};
pub(crate) use prepared::{Doubt, Identity, Prepared, Rotation, Target, Ticket, Version};
pub(crate) use state::{Ended, SealedAs, Staleness, State, Stored};

use crate::clock::unix_millis;

/// A visitor's session.
///
/// It comes from [`SessionStore::load`](crate::SessionStore::load) or, new,
/// from [`SessionStore::create`](crate::SessionStore::create), which costs no I/O. Its methods are
/// synchronous; only [`SessionStore::save`](crate::SessionStore::save) writes, and only what changed.
/// Clones share one session, so it can be passed to other tasks.
///
/// ```
/// use session_core::Session;
///
/// # fn main() -> session_core::Result<()> {
/// let session = Session::new();
/// session.insert("theme", "dark")?;
/// assert_eq!(session.get::<String>("theme")?.as_deref(), Some("dark"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Held during a save: the saves of one session run one after another.
    saving: tokio::sync::Mutex<()>,
}

impl Session {
    /// A new, empty session. Nothing is stored and no cookie is set until something is put into it.
    #[must_use]
    pub fn new() -> Self {
        Self::from_state(State::new(unix_millis()))
    }

    pub(crate) fn from_state(state: State) -> Self {
        Self(Arc::new(Shared { state: Mutex::new(state), saving: tokio::sync::Mutex::new(()) }))
    }

    /// Whether there is anything to save.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.state(|state| state.changes.any() || !state.ended.is_empty())
    }

    /// Forgets what was changed since the last save, as after a failed request. A
    /// [`destroy`](Self::destroy) is not forgotten: logout always wins.
    pub fn discard_changes(&self) {
        self.state(State::discard);
    }

    /// Reads the session on behalf of the application.
    pub(crate) fn read<T>(&self, read: impl FnOnce(&State) -> T) -> T {
        self.state(|state| {
            state.accessed = true;
            read(state)
        })
    }

    /// Changes the session on behalf of the application.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.state(|state| {
            state.accessed = true;
            change(state)
        })
    }

    /// The state as it is. No code of the application runs under the lock, nor is anything of the
    /// application dropped there, so a panic can't leave the state half changed and a poisoned lock
    /// does no harm.
    pub(crate) fn state<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        let mut state = self.0.state.lock().unwrap_or_else(PoisonError::into_inner);
        let result = f(&mut state);
        if state.changes.has_unneeded() {
            let unneeded = state.changes.take_unneeded();
            drop(state);
            drop(unneeded);
        }
        result
    }

    pub(crate) async fn turn_to_save(&self) -> tokio::sync::MutexGuard<'_, ()> {
        self.0.saving.lock().await
    }
}

impl Default for Session {
    fn default() -> Self {
        Self::new()
    }
}

impl fmt::Debug for Session {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (exists, changed, len) = self
            .state(|state| (state.exists(), state.changes.any(), state.changes.len(&state.base)));
        f.debug_struct("Session")
            .field("exists", &exists)
            .field("changed", &changed)
            .field("len", &len)
            .finish_non_exhaustive()
    }
}
