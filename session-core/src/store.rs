//! The handle: what applications hold.

mod attempt;
mod calls;
mod context;
mod deadline;
mod gc;
mod medium;
mod outcome;
mod queue;
mod rebase;
pub(crate) mod records;
mod save;
mod sealed;
mod server;
mod together;
mod write;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::context::Context;
use self::medium::Medium as _;
pub use self::outcome::{CookieChange, Found, Saved};
use self::sealed::Sealed;
use self::server::Server;
use crate::json::from_json;
use crate::session::{Session, Staleness};
use crate::{
    Backend, Config, CookieBackend, CookieName, CookieValue, Error, ErrorKind, Guarantees, Result,
};

/// A store of sessions, on any backend. Cheap to clone; clones are the same store.
///
/// All futures may be dropped at any await: the store holds the old session or the new one then,
/// and the next [`save`](Self::save) of the same [`Session`] finds out which.
///
/// Every operation keeps to [`Config::deadline`], and so does each step of [`gc`](Self::gc); beyond
/// it is `Unavailable`. They need a tokio runtime with its timer enabled.
#[derive(Clone)]
pub struct SessionStore(Arc<Inner>);

struct Inner {
    medium: Medium,
    context: Context,
    collecting: AtomicBool,
}

#[derive(Clone)]
enum Medium {
    Server(Server),
    Sealed(Sealed),
}

/// Calls the medium. Each has futures of its own, so none has to be boxed.
macro_rules! medium {
    ($store:expr, $medium:ident => $call:expr) => {
        match &$store.0.medium {
            Medium::Server($medium) => $call,
            Medium::Sealed($medium) => $call,
        }
    };
}

impl SessionStore {
    /// A store on a server side backend: the cookie holds the session id. Settings are the
    /// default ones, see [`with_config`](Self::with_config).
    pub fn new(backend: impl Backend) -> Self {
        Self::of(Medium::Server(Server::new(Arc::new(backend))), Config::default())
    }

    /// A store whose medium is the cookie: the cookie holds the sealed session.
    pub fn new_cookie(backend: impl CookieBackend) -> Self {
        Self::of(Medium::Sealed(Sealed(Arc::new(backend))), Config::default())
    }

    /// The same store with other settings.
    ///
    /// # Errors
    /// `InvalidConfig` when a setting is out of its range.
    pub fn with_config(self, config: Config) -> Result<Self> {
        let config = config.validate()?;
        medium!(self, medium => medium.check(&config))?;
        Ok(Self::of(self.0.medium.clone(), config))
    }

    fn of(medium: Medium, config: Config) -> Self {
        let (context, collecting) = (Context::new(config), AtomicBool::new(false));
        Self(Arc::new(Inner { medium, context, collecting }))
    }

    /// A new, empty session. No I/O; nothing is stored until something is put into it and saved.
    #[must_use]
    pub fn create(&self) -> Session {
        Session::new()
    }

    /// The session of a client's cookie value.
    ///
    /// `None` when there is none: unknown, expired, destroyed, replaced by another id, or not the form
    /// of a value at all, in which case the backend isn't even asked. Such a value is never adopted;
    /// continue with [`create`](Self::create).
    ///
    /// # Errors
    /// `Unavailable` when the store can't be asked, never `None`; `Corrupt` when what it holds is not
    /// a session, whose bytes are kept.
    pub async fn load(&self, cookie_value: &str) -> Result<Option<Session>> {
        Ok(match self.find(cookie_value).await? {
            Found::Session(session) => Some(session),
            Found::Rotated(_) | Found::Nothing => None,
        })
    }

    pub(crate) async fn find(&self, cookie_value: &str) -> Result<Found> {
        let found = medium!(self, medium => medium.find(&self.0.context, cookie_value).await);
        found.map_err(|error| self.explain(error, "load"))
    }

    /// Writes what changed, and only that; see [`Saved`] for what to tell the client.
    ///
    /// - Nothing changed: no I/O, or one `touch` when a renewal of the
    ///   [idle timeout](Config::idle_timeout) is due. A new session that is still empty is not stored.
    /// - Another request saved meanwhile: its values and this request's are merged; of one value the
    ///   later save wins, and [`update`](Session::update)s are applied again.
    /// - An acknowledgement is lost: the store is asked again and the write repeated only if it was not
    ///   carried out. No write is ever applied twice.
    ///
    /// The saves of one `Session` and its clones run one after another.
    ///
    /// # Errors
    /// - `Gone`: the session was destroyed, expired or got a new id meanwhile. Nothing was written;
    ///   logout wins.
    /// - `TooLarge`: beyond [`Config::max_record_size`]. Nothing was written.
    /// - `Conflict`: others saved again and again within the deadline.
    /// - `Unavailable`: the store refused the write
    ///   ([nothing was written](Error::nothing_was_written)), or it is not known whether it was
    ///   carried out. The session is consistent: save it again, and this is found out first. If
    ///   another request saved meanwhile, it can't be found out; the message says so.
    ///
    /// Where it can't be found out, and where another request gave the session a new id since it was
    /// loaded, the changes are given up: another `save` has nothing to write and succeeds
    /// ([`changed`](Session::changed) is `false`). After any other error they wait for the next save,
    /// which is `Gone` again if the session is.
    pub async fn save(&self, session: &Session) -> Result<Saved> {
        let saved = medium!(self, medium => medium.save(&self.0.context, session).await);
        saved.map_err(|error| self.explain(error, "save"))
    }

    /// Changes a value, saves the session and returns the value **that was written**, for limits and
    /// counters that decide something: N parallel requests that increment get N different numbers.
    ///
    /// `f` may run several times, each time with the current value, and should do nothing else. The
    /// session's other changes are saved, too.
    ///
    /// # Errors
    /// As [`save`](Self::save), and as [`Session::update`]. `Gone` also when the session was destroyed
    /// by a clone meanwhile, and `Unavailable` when a clone discarded the change or its save reported that
    /// it was given up. After any error but these the change is still part of the session, like
    /// any other change.
    ///
    /// ```
    /// use session_core::{Result, Session, SessionStore};
    ///
    /// async fn may_try(store: &SessionStore, session: &Session) -> Result<bool> {
    ///     let tries = store.update(session, "tries", |n: Option<u32>| n.unwrap_or(0) + 1).await?;
    ///     Ok(tries <= 3)
    /// }
    /// ```
    pub async fn update<T, F>(&self, session: &Session, name: &str, f: F) -> Result<T>
    where
        T: Serialize + DeserializeOwned,
        F: Fn(Option<T>) -> T + Send + Sync + 'static,
    {
        let version = session.state(|state| state.version());
        let watched = session.update_watched(name, f)?;
        self.save(session).await?;
        if !session.state(|state| state.is_same_life(version)) {
            return Err(self.explain(Error::gone(), "update"));
        }
        if session.state(|state| state.given_up >= watched.number) {
            let message = "the change was discarded, or given up by another save of the session";
            return Err(self.explain(Error::unavailable(message), "update"));
        }
        from_json(name, &watched.result())
    }

    /// Ends a session at once. Other changes of this request are dropped, and what is put into the
    /// `Session` afterwards belongs to a new one. Destroying what is not there (any more) succeeds. If
    /// another request gave the session a new id meanwhile, it is ended under that id.
    ///
    /// # Errors
    /// `Unavailable` when it is not known whether the session is dead; the next
    /// [`save`](Self::save) or `destroy` of it tries again.
    pub async fn destroy(&self, session: &Session) -> Result<()> {
        session.destroy();
        let destroyed = medium!(self, medium => medium.destroy(&self.0.context, session).await);
        destroyed.map_err(|error| self.explain(error, "destroy"))
    }

    /// Whether the session is still alive under the id that this handle knows, for tasks that must end
    /// with it, for example a websocket's. One load.
    ///
    /// `false` after a logout or an expiry anywhere, and after another request gave it a new id; also
    /// for a session that is not stored yet. A cookie store without revocation knows of expiry only.
    ///
    /// # Errors
    /// `Unavailable` when the store can't be asked; `Corrupt`.
    pub async fn is_alive(&self, session: &Session) -> Result<bool> {
        let alive = medium!(self, medium => medium.is_alive(&self.0.context, session).await);
        alive.map_err(|error| self.explain(error, "load"))
    }

    /// What the client's cookie must hold: the session id, or the sealed session. `None` for a
    /// session that is not stored: new, destroyed or gone. For a changed session, ask after the save.
    #[must_use]
    pub fn cookie_value(&self, session: &Session) -> Option<CookieValue> {
        session.state(|state| {
            let stored = state.live()?;
            medium!(self, medium => medium.cookie_value(stored))
        })
    }

    /// What this store guarantees.
    #[must_use]
    pub fn guarantees(&self) -> Guarantees {
        medium!(self, medium => medium.guarantees())
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.context.config
    }

    /// The backend's name, for logs.
    #[must_use]
    pub fn backend_name(&self) -> &'static str {
        medium!(self, medium => medium.name())
    }

    pub(crate) fn instead_of(&self, cookie_value: &str) -> Session {
        medium!(self, medium => medium.instead_of(&self.0.context, cookie_value))
    }

    pub(crate) fn cookie_change(&self, session: &Session) -> CookieChange {
        session.state(|state| {
            let value = state
                .live()
                .and_then(|stored| medium!(self, medium => medium.cookie_value(stored)));
            let key = state.live().map(|stored| stored.identity.key);
            match value {
                Some(value) if state.client.cookie != key => CookieChange::Set(value),
                Some(value) => match state.client.stale {
                    Staleness::Nothing => CookieChange::Keep,
                    Staleness::Expiry => CookieChange::Renew(value),
                    Staleness::Value => CookieChange::Set(value),
                },
                None if state.stored.is_none()
                    && state.client.ended
                    && state.client.cookie.is_some() =>
                {
                    CookieChange::Remove
                }
                None => CookieChange::Keep,
            }
        })
    }

    pub(crate) fn cookie(&self) -> Option<(&CookieName, usize)> {
        medium!(self, medium => medium.cookie())
    }

    fn backend(&self) -> Option<&dyn Backend> {
        medium!(self, medium => medium.backend())
    }

    fn collecting(&self) -> &AtomicBool {
        &self.0.collecting
    }

    /// Names backend and operation in the error and leaves a trace. No error holds a secret.
    fn explain(&self, error: Error, operation: &'static str) -> Error {
        let error = error.with_operation(operation).with_backend(self.backend_name());
        let kind = error.kind();
        if kind == ErrorKind::Corrupt {
            tracing::warn!(?kind, %error, "a stored session can't be read");
        } else {
            tracing::debug!(?kind, %error, "a session operation failed");
        }
        error
    }
}

impl fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore")
            .field("backend", &self.backend_name())
            .field("config", self.config())
            .finish_non_exhaustive()
    }
}
