//! The session: what was loaded and, apart, what this request changed.

mod life;
mod plan;
mod state;
mod values;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

pub(crate) use plan::{Pending, Plan, Target};
pub(crate) use state::{SealedAs, State, Stored, later};
pub(crate) use values::{from_json, to_json};

use crate::Flash;

/// A visitor's session.
///
/// It comes from [`SessionStore::load`](crate::SessionStore::load) or, new,
/// from [`SessionStore::create`](crate::SessionStore::create), which costs no I/O. Its methods are
/// synchronous; only [`SessionStore::save`](crate::SessionStore::save) writes, and only what changed.
/// Clones share one session, so it can be handed to other tasks.
///
/// ```
/// use session_core::Session;
///
/// # fn main() -> session_core::Result<()> {
/// let session = Session::new();
/// session.insert("theme", "dark")?;
/// let visits = session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)?;
/// assert_eq!(visits, 1);
/// assert_eq!(session.get::<String>("theme")?.as_deref(), Some("dark"));
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Session(Arc<Shared>);

struct Shared {
    state: Mutex<State>,
    /// Held during a save: the saves of one session go one after another.
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

    /// The flash: values and messages for a later request.
    #[must_use]
    pub fn flash(&self) -> Flash<'_> {
        Flash(self)
    }

    /// Whether this request used the session: what it answers depends on the cookie then
    /// (`Vary: Cookie`). Every method that shows or changes the session counts.
    #[must_use]
    pub fn accessed(&self) -> bool {
        self.state(|state| state.accessed)
    }

    /// Whether something waits to be saved.
    #[must_use]
    pub fn changed(&self) -> bool {
        self.state(|state| state.changes.any() || !state.doomed.is_empty())
    }

    /// Forgets what was changed since the last save, as after a failed request. A
    /// [`destroy`](Self::destroy) is not forgotten: logout always wins.
    pub fn discard_changes(&self) {
        self.state(State::discard);
    }

    /// Looks into the session on behalf of the application.
    pub(crate) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        self.state(|state| {
            state.accessed = true;
            look(state)
        })
    }

    /// Changes the session on behalf of the application.
    pub(crate) fn write<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        self.state(|state| {
            state.accessed = true;
            change(state)
        })
    }

    /// The state as it is. No code of the application's runs inside, so a panic can't leave it half
    /// changed and a poisoned lock is not poisonous.
    pub(crate) fn state<T>(&self, f: impl FnOnce(&mut State) -> T) -> T {
        f(&mut self.0.state.lock().unwrap_or_else(PoisonError::into_inner))
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

/// This machine's wall clock, in milliseconds since 1970.
pub(crate) fn unix_millis() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
