//! The handle that applications hold.

mod account;
mod attempt;
mod calls;
mod context;
mod deadline;
mod end_mark;
mod gc;
mod limit;
mod mark;
mod medium;
mod observe;
mod outcome;
pub(crate) mod owned;
mod queue;
mod rebase;
pub(crate) mod records;
mod save;
mod save_sealed;
mod sealed;
mod server;
mod server_medium;
mod together;
mod write;

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;
use serde::de::DeserializeOwned;

use self::context::Context;
use self::medium::Medium as _;
use self::observe::Operation;
pub use self::outcome::{CookieChange, Found, Saved};
use self::sealed::Sealed;
use self::server::Server;
use crate::json::from_json;
use crate::session::{Session, Staleness};
use crate::{
    Backend, Config, CookieBackend, CookieName, CookieValue, Error, ErrorKind, Guarantees, Result,
};

/// A store of sessions, on any backend. Clones are cheap and share the store.
///
/// Every future may be dropped at any await. The store then contains the old session or the new
/// one, and the next [`save`](Self::save) of the same [`Session`] finds out which.
///
/// Each operation has a `tracing` span with the fields `store`, `key` and `outcome`, of the level
/// `DEBUG` and the target `session_core`. `key` is a fingerprint that leads neither to the session id
/// nor to the key in the store. The target `session_core::events` has an event for each session that
/// was created, signed in, rotated, renewed or ended. With the feature `metrics`, operations are also
/// counted and timed. The page `docs/observability.md` lists everything.
///
/// Every operation, and each step of [`gc`](Self::gc), ends within [`Config::deadline`]; beyond it
/// the error is `Unavailable`. The operations need a tokio runtime with its timer enabled.
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

/// Calls the medium. The futures of the two media are different types, so none has to be boxed.
macro_rules! medium {
    ($store:expr, $medium:ident => $call:expr) => {
        match &$store.0.medium {
            Medium::Server($medium) => $call,
            Medium::Sealed($medium) => $call,
        }
    };
}

impl SessionStore {
    pub(crate) fn shares_ids_with(&self, other: &Self) -> bool {
        match (&self.0.medium, &other.0.medium) {
            (Medium::Server(one), Medium::Server(two)) => {
                Arc::ptr_eq(&one.backend, &two.backend)
                    && self.config().purpose == other.config().purpose
            }
            _ => false,
        }
    }

    /// A store on a server side backend: the cookie contains the session id. It has the default
    /// settings; see [`with_config`](Self::with_config).
    pub fn new(backend: impl Backend) -> Self {
        Self::of(Medium::Server(Server::new(Arc::new(backend))), Config::default())
    }

    /// A store in the cookie: the cookie contains the sealed session.
    pub fn new_cookie(backend: impl CookieBackend) -> Self {
        Self::of(Medium::Sealed(Sealed(Arc::new(backend))), Config::default())
    }

    /// The same store with other settings.
    ///
    /// # Errors
    /// `InvalidConfig` if a setting is out of its range or not supported by the store.
    pub fn with_config(self, config: Config) -> Result<Self> {
        let config = config.validate()?;
        medium!(self, medium => medium.check(&config))?;
        Ok(Self::of(self.0.medium.clone(), config))
    }

    fn of(medium: Medium, config: Config) -> Self {
        let (context, collecting) = (Context::new(config), AtomicBool::new(false));
        Self(Arc::new(Inner { medium, context, collecting }))
    }

    /// A new, empty session, without I/O. It is not stored until a value is inserted and the
    /// session is saved.
    #[must_use]
    pub fn create(&self) -> Session {
        Session::new()
    }

    /// Loads the session of a client's cookie value.
    ///
    /// `None` if there is no session: it is unknown, expired or destroyed, it has a new id, or the
    /// text does not have the form of a cookie value, in which case the backend is not called. The
    /// value is never adopted as the id of a new session; continue with [`create`](Self::create).
    ///
    /// # Errors
    /// `Unavailable` if the store can't be reached; this is never `None`. `Corrupt` if the stored
    /// bytes are not a session; they are kept.
    pub async fn load(&self, cookie_value: &str) -> Result<Option<Session>> {
        Ok(match self.find(cookie_value).await? {
            Found::Session(session) => Some(session),
            Found::Rotated(_) | Found::Nothing => None,
        })
    }

    pub(crate) async fn find(&self, cookie_value: &str) -> Result<Found> {
        let context = self.context();
        let operation = Operation::load(self.context(), self.backend_name());
        operation.begins_with(context, cookie_value);
        let found =
            medium!(self, medium => operation.run(pin!(medium.find(context, cookie_value))).await);
        let found = found.map_err(|error| self.explain_in(&operation, error, "load"))?;
        operation.found(&found);
        Ok(found)
    }

    /// Saves the changes of the session. The result says what to do with the client's cookie.
    ///
    /// - Without changes there is no I/O, or one `touch` if a renewal of the [idle
    ///   timeout](Config::idle_timeout) is due. An empty new session is not stored.
    /// - If another request saved the session meanwhile, the changes of both are merged: for each
    ///   value the later save wins, and [`update`](Session::update)s are applied again.
    /// - If an acknowledgement is lost, the record is loaded, and the write is sent again only if
    ///   it was not carried out. No write is applied twice.
    ///
    /// The saves of one `Session` and its clones run one after another.
    ///
    /// # Errors
    /// - `Gone`: the session was destroyed, expired or got a new id meanwhile. Nothing was written;
    ///   logout wins.
    /// - `TooLarge`: beyond [`Config::max_record_size`]. Nothing was written.
    /// - `TooManySessions`: beyond [`Config::owner_limit`].
    /// - `Conflict`: other requests saved the session again and again until the deadline.
    /// - `Unavailable`: the store refused the write ([nothing was
    ///   written](Error::nothing_was_written)), or the write is in doubt. The session stays
    ///   consistent: the next save first finds out whether the write was carried out. If another
    ///   request saved the session meanwhile, this can't be found out, and the message says so.
    ///
    /// Where it can't be found out, and where another request gave the session a new id since it was
    /// loaded, the changes are given up: another `save` has nothing to write and succeeds
    /// ([`changed`](Session::changed) is `false`). After any other error they wait for the next save,
    /// which is `Gone` again if the session is.
    pub async fn save(&self, session: &Session) -> Result<Saved> {
        let operation = Operation::save(self.context(), self.backend_name());
        let before = operation.before(session);
        let saved = medium!(self, medium => operation.run(pin!(medium.save(self.context(), session))).await);
        let saved = saved.map_err(|error| self.explain_in(&operation, error, "save"))?;
        if let Some(before) = before {
            operation.saved(&before, session, saved);
        }
        Ok(saved)
    }

    /// Changes a value, saves the session and returns the value **that was written**. Use it for
    /// limits and counters: N parallel requests that increment a number get N different numbers.
    ///
    /// `f` may run several times, each time with the current value, so it should have no side
    /// effects. The other changes of the session are saved, too.
    ///
    /// # Errors
    /// As [`save`](Self::save) and [`Session::update`]. Clones of the session can interfere:
    /// - `Gone` if a clone destroyed the session meanwhile, also if the value was written before.
    /// - `Unavailable` if the value was not written, or it is not known whether it was, because a
    ///   clone discarded the change, replaced the value or removed it, or because a clone's save
    ///   gave the change up. If the value was written before that, this is no error.
    ///
    /// After any other error the change is still part of the session, as any other change.
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
        let (number, watch) = session.update_watched(name, f)?;
        let saved = self.save(session).await;
        let (is_same_life, given_up) =
            session.state(|state| (state.is_same_life(version), state.given_up >= number));
        let written = watch.written().filter(|_| is_same_life);
        match (written, saved) {
            // Also if the save failed: a clone's save had written the change before, and this one
            // met an error of other changes, which remain.
            (Some(written), _) => from_json(name, &written),
            (None, Ok(_)) if !is_same_life => Err(self.explain(Error::gone(), "update")),
            // A clone's save may have sent the change before and given it up, so it is not certain
            // that nothing was written.
            (None, Err(error))
                if given_up && error.nothing_was_written() && error.kind() != ErrorKind::Gone =>
            {
                Err(self.explain(not_known(), "update"))
            }
            (None, Err(error)) => Err(error),
            (None, Ok(_)) => Err(self.explain(not_known(), "update")),
        }
    }

    /// Destroys a session at once. Other changes of this request are discarded, and values that are
    /// inserted into the `Session` afterwards belong to a new session. Destroying a session that is
    /// not stored succeeds. If another request gave the session a new id meanwhile, the session is
    /// destroyed under its new id.
    ///
    /// # Errors
    /// `Unavailable` if it is not known whether the session was destroyed. The next
    /// [`save`](Self::save) or `destroy` of it tries again.
    pub async fn destroy(&self, session: &Session) -> Result<()> {
        session.destroy();
        let operation = Operation::destroy(self.context(), self.backend_name());
        let before = operation.before(session);
        let destroyed = medium!(self, medium => operation.run(pin!(medium.destroy(self.context(), session))).await);
        destroyed.map_err(|error| self.explain_in(&operation, error, "destroy"))?;
        if let Some(before) = before {
            operation.destroyed(&before);
        }
        Ok(())
    }

    /// Whether the session is still alive, with one load. It is for tasks that must end with the
    /// session, for example of a websocket.
    ///
    /// `false` if the session was destroyed or has expired, if another request gave it a new id, or
    /// if it is not stored yet. A cookie store without a revocation store detects the expiry only.
    ///
    /// # Errors
    /// `Unavailable` if the store can't be reached; `Corrupt`.
    pub async fn is_alive(&self, session: &Session) -> Result<bool> {
        let operation = Operation::is_alive(self.context(), self.backend_name());
        operation.before(session);
        let alive = medium!(self, medium => operation.run(pin!(medium.is_alive(self.context(), session))).await);
        let alive = alive.map_err(|error| self.explain_in(&operation, error, "load"))?;
        operation.alive(alive);
        Ok(alive)
    }

    /// The value for the client's cookie: the session id, or the sealed session. `None` if the
    /// session is not stored: it is new, destroyed or gone. Call it after the save.
    #[must_use]
    pub fn cookie_value(&self, session: &Session) -> Option<CookieValue> {
        session.state(|state| {
            let stored = state.live()?;
            medium!(self, medium => medium.cookie_value(stored))
        })
    }

    /// The guarantees of this store.
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
            let Some(stored) = state.live() else {
                let is_removed = state.stored.is_none() && state.client.ended;
                return match is_removed && state.client.cookie.is_some() {
                    true => CookieChange::Remove,
                    false => CookieChange::Keep,
                };
            };
            let has_other = state.client.cookie != Some(stored.identity.key);
            let change = match state.client.stale {
                _ if has_other => CookieChange::Set,
                // Most requests end here. The value is not computed for them.
                Staleness::Nothing => return CookieChange::Keep,
                Staleness::Expiry => CookieChange::Renew,
                Staleness::Value => CookieChange::Set,
            };
            let value = medium!(self, medium => medium.cookie_value(stored));
            value.map_or(CookieChange::Keep, change)
        })
    }

    pub(crate) fn cookie(&self) -> Option<(&CookieName, usize)> {
        medium!(self, medium => medium.cookie())
    }

    fn backend(&self) -> Option<&dyn Backend> {
        medium!(self, medium => medium.backend())
    }

    fn context(&self) -> &Context {
        &self.0.context
    }

    fn collecting(&self) -> &AtomicBool {
        &self.0.collecting
    }

    /// [`explain`](Self::explain) in the span of the operation.
    fn explain_in(&self, operation: &Operation<'_>, error: Error, name: &'static str) -> Error {
        operation.inside(|| self.explain(error, name))
    }

    /// Names backend and operation in the error and emits a `tracing` event. No error contains a
    /// secret.
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

fn not_known() -> Error {
    Error::unavailable(
        "a clone of the session discarded or replaced the change, or its save gave the change up",
    )
}

impl fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore")
            .field("backend", &self.backend_name())
            .field("config", self.config())
            .finish_non_exhaustive()
    }
}
