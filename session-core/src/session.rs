//! The session: the loaded state and, separately, the changes of this request.

mod changes;
pub(crate) mod flash;
mod life;
mod plan;
mod prepared;
mod state;
mod values;
mod watch;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

#[cfg(test)]
pub(crate) use changes::Changes;
pub(crate) use plan::{Plan, rotated};
pub(crate) use prepared::{Doubt, Identity, Prepared, Rotation, Target, Ticket, Version};
pub(crate) use state::{Ended, SealedAs, Staleness, State, Stored};
pub(crate) use watch::Watched;

use crate::clock::unix_millis;

/// A visitor's session.
///
/// [`SessionStore::load`](crate::SessionStore::load) returns a stored session, and
/// [`SessionStore::create`](crate::SessionStore::create) a new one, without I/O. The methods are
/// synchronous and change the session in memory; [`SessionStore::save`](crate::SessionStore::save)
/// writes the changes. Clones share one session, so it can be passed to other tasks.
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
///
/// The session of a visitor who signs in:
///
/// ```
/// use std::time::Duration;
/// use session_core::{Owner, Result, Session};
///
/// fn sign_in(session: &Session, account: &str, remember: bool) -> Result<()> {
///     session.sign_in(Owner::new(account)?); // a new id, the account, and a full life
///     session.set_label(Some("Firefox on Linux"))?;
///     if remember {
///         session.set_lifetime(Duration::from_secs(30 * 86_400))?;
///     }
///     let cart: Option<Vec<u32>> = session.take("guest-cart")?;
///     session.insert("cart", cart.unwrap_or_default())
/// }
/// ```
#[derive(Clone)]
pub struct Session(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Locked during a save: the saves of one session run one after another.
    saving: tokio::sync::Mutex<()>,
}

impl Session {
    /// A new, empty session. As long as it is empty, it is not stored and needs no cookie.
    #[must_use]
    pub fn new() -> Self {
        Self::from_state(State::new(unix_millis()))
    }

    #[inline(always)]
    pub(crate) fn from_state(state: State) -> Self {
        Self(Arc::new(Shared { state: Mutex::new(state), saving: tokio::sync::Mutex::new(()) }))
    }

    /// Whether there is anything to save.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.state(|state| state.changes.any() || !state.ended.is_empty())
    }

    /// Discards all changes since the last save, for example after a failed request. A
    /// [`destroy`](Self::destroy) is not discarded: logout always wins.
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

    /// Locks the state for `f`, which must not run or drop code of the application. So a panic
    /// can't leave the state half changed, and a poisoned lock is harmless.
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

    pub(crate) async fn lock_for_save(&self) -> tokio::sync::MutexGuard<'_, ()> {
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
