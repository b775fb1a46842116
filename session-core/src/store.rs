//! The handle: what applications hold.

mod batched;
mod deadline;
mod gc;
mod lanes;
mod outcome;
mod save;
mod save_cookie;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::AtomicBool;
use std::time::{Duration, Instant, SystemTime};

use self::deadline::{ALL, Deadline, HALF};
use self::lanes::Lanes;
pub use self::outcome::{CookieChange, Saved};
use crate::document::Document;
use crate::session::{SealedAs, Session, State, Stored, later, unix_millis};
use crate::{
    Backend, Capabilities, Config, CookieBackend, CookieValue, Error, ErrorKind, Guarantees,
    Loaded, Result, SessionId,
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
    kind: Kind,
    config: Config,
    lanes: Lanes,
    collecting: AtomicBool,
}

#[derive(Clone)]
enum Kind {
    Server(Arc<dyn Backend>),
    Cookie(Arc<dyn CookieBackend>),
}

impl SessionStore {
    /// A store on a server side backend: the cookie holds the session id. Settings are the
    /// default ones, see [`with_config`](Self::with_config).
    pub fn new(backend: impl Backend) -> Self {
        Self::of(Kind::Server(batched::batched(Arc::new(backend))), Config::default())
    }

    /// A store whose place is the cookie: the cookie holds the sealed session.
    pub fn new_cookie(backend: impl CookieBackend) -> Self {
        Self::of(Kind::Cookie(Arc::new(backend)), Config::default())
    }

    /// The same store with other settings.
    ///
    /// # Errors
    /// `InvalidConfig` when a setting is out of its range.
    pub fn with_config(self, config: Config) -> Result<Self> {
        Ok(Self::of(self.0.kind.clone(), config.validate()?))
    }

    fn of(kind: Kind, config: Config) -> Self {
        let (lanes, collecting) = (Lanes::new(), AtomicBool::new(false));
        Self(Arc::new(Inner { kind, config, lanes, collecting }))
    }

    /// A new, empty session. No I/O; nothing is stored until something is put into it and saved.
    #[must_use]
    pub fn create(&self) -> Session {
        Session::new()
    }

    /// A new, empty session in place of one that [`load`](Self::load) could not read (`Corrupt`). The
    /// unreadable record is kept, and what is put into this session gets an id of its own; but
    /// destroying this one destroys the other, too, so that a logout works.
    #[must_use]
    pub fn create_instead_of(&self, cookie_value: &str) -> Session {
        match (&self.0.kind, SessionId::parse(cookie_value)) {
            (Kind::Server(_), Some(id)) => {
                Session::from_state(State::instead_of(unix_millis(), id.key()))
            }
            _ => self.create(),
        }
    }

    /// The session of a client's cookie value.
    ///
    /// `None` when there is none: unknown, expired, destroyed, or not the form of a value at all, in
    /// which case the backend isn't even asked. Such a value is never adopted; continue with
    /// [`create`](Self::create).
    ///
    /// # Errors
    /// `Unavailable` when the store can't be asked, never `None`; `Corrupt` when what it holds is not
    /// a session, whose bytes are kept.
    pub async fn load(&self, cookie_value: &str) -> Result<Option<Session>> {
        let loaded = match &self.0.kind {
            Kind::Server(backend) => self.load_server(&**backend, cookie_value).await,
            Kind::Cookie(backend) => self.load_cookie(&**backend, cookie_value).await,
        };
        loaded.map_err(|error| self.explain(error, "load"))
    }

    async fn load_server(&self, backend: &dyn Backend, value: &str) -> Result<Option<Session>> {
        let Some(id) = SessionId::parse(value) else {
            return Ok(None);
        };
        let key = id.key();
        let deadline = Deadline::after(self.0.config.deadline);
        let Some(loaded) = deadline.within(ALL, backend.time_limit(), backend.load(&key)).await?
        else {
            return Ok(None);
        };
        let Loaded { record, expires_in } = loaded;
        if expires_in.is_zero() {
            return Ok(None);
        }
        let stored = Stored {
            id,
            key,
            revision: record.revision,
            owner: record.owner,
            deadline: later(Instant::now(), expires_in),
            gone: false,
            sealed: None,
        };
        let document = Document::decode(record.payload)?;
        Ok(Some(Session::from_state(State::loaded(stored, document))))
    }

    async fn load_cookie(
        &self,
        cookie: &dyn CookieBackend,
        value: &str,
    ) -> Result<Option<Session>> {
        let Some(opened) = cookie.open(value)? else {
            return Ok(None);
        };
        let key = opened.id.key();
        if let Some(revoked) = cookie.revocation() {
            let deadline = Deadline::after(self.0.config.deadline);
            if deadline.limit(revoked.load(&key)).await?.is_some() {
                return Ok(None);
            }
        }
        let left = opened.expires_at.duration_since(SystemTime::now()).unwrap_or_default();
        let stored = Stored {
            id: opened.id,
            key,
            revision: opened.record.revision,
            owner: opened.record.owner,
            deadline: later(Instant::now(), left),
            gone: false,
            sealed: Some(SealedAs {
                value: value.into(),
                expires_at: opened.expires_at,
                reseal: opened.reseal,
                mark: None,
            }),
        };
        let document = Document::decode(opened.record.payload)?;
        if let Some(limit) = self.0.config.absolute_lifetime {
            let end = Duration::from_millis(document.created).saturating_add(limit);
            if end.saturating_add(cookie.leeway()) <= Duration::from_millis(unix_millis()) {
                return Ok(None);
            }
        }
        Ok(Some(Session::from_state(State::loaded(stored, document))))
    }

    /// Writes what changed, and only that; see [`Saved`] for what to tell the client.
    ///
    /// - Nothing changed: no I/O, or one `touch` when [sliding](Config::sliding) is on and due. A new
    ///   session that is still empty is not stored.
    /// - Another request saved meanwhile: its values and this request's are merged; of one key the
    ///   later save wins, and [`update`](Session::update)s are applied again.
    /// - An acknowledgement is lost: the store is asked again and the write repeated only if it was not
    ///   carried out. No write is ever applied twice.
    ///
    /// The saves of one `Session` and its clones go one after another.
    ///
    /// # Errors
    /// - `Gone`: the session was destroyed or expired meanwhile. Nothing was written; logout wins.
    /// - `TooLarge`: beyond [`Config::max_record_size`]. Nothing was written.
    /// - `Conflict`: others saved again and again within the deadline.
    /// - `Unavailable`: no answer in time, and it is not known whether the write was carried out. The
    ///   session is consistent: save it again, and this is found out first.
    pub async fn save(&self, session: &Session) -> Result<Saved> {
        let saved = match &self.0.kind {
            Kind::Server(backend) => save::save(&self.0, &**backend, session).await,
            Kind::Cookie(cookie) => save_cookie::save(&self.0, &**cookie, session).await,
        };
        saved.map_err(|error| self.explain(error, "save"))
    }

    /// Ends a session at once. Other changes of this request are dropped, and what is put into the
    /// `Session` afterwards belongs to a new one. Destroying what is not there (any more) succeeds.
    ///
    /// # Errors
    /// `Unavailable` when it is not known whether the session is dead; the next
    /// [`save`](Self::save) or `destroy` of it tries again.
    pub async fn destroy(&self, session: &Session) -> Result<()> {
        session.destroy();
        let deadline = Deadline::after(self.0.config.deadline);
        let destroyed = match &self.0.kind {
            Kind::Server(backend) => save::destroy(&**backend, session, deadline).await,
            Kind::Cookie(cookie) => {
                save_cookie::destroy(&self.0, &**cookie, session, deadline).await
            }
        };
        destroyed.map_err(|error| self.explain(error, "destroy"))
    }

    /// What the client's cookie shall hold: the session id, or the sealed session. `None` for a
    /// session that is not stored: new, destroyed or gone. For a changed session, ask after the save.
    #[must_use]
    pub fn cookie_value(&self, session: &Session) -> Option<CookieValue> {
        session.state(|state| self.value_of(state.live()?))
    }

    fn value_of(&self, stored: &Stored) -> Option<CookieValue> {
        Some(CookieValue(match (&self.0.kind, &stored.sealed) {
            (Kind::Server(_), _) => stored.id.expose(),
            (Kind::Cookie(_), sealed) => sealed.as_ref()?.value.to_string(),
        }))
    }

    /// What the client must be told, from all that became of the session since it was loaded or
    /// created: for a web layer, which does not see what the application saved or destroyed itself.
    #[must_use]
    pub fn cookie_change(&self, session: &Session) -> CookieChange {
        session.state(|state| match (state.live(), &state.stored) {
            (Some(stored), _) if state.client.stale || state.client.key != Some(stored.key) => {
                self.value_of(stored).map_or(CookieChange::Keep, CookieChange::Set)
            }
            (None, None) if state.client.ended && state.client.key.is_some() => {
                CookieChange::Remove
            }
            _ => CookieChange::Keep,
        })
    }

    /// What this store guarantees.
    #[must_use]
    pub fn guarantees(&self) -> Guarantees {
        match &self.0.kind {
            Kind::Server(backend) => {
                let Capabilities { durable, expires_natively } = backend.capabilities();
                Guarantees { detects_conflicts: true, revocable: true, durable, expires_natively }
            }
            Kind::Cookie(cookie) => Guarantees {
                revocable: cookie.revocation().is_some(),
                durable: true,
                ..Guarantees::default()
            },
        }
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &Config {
        &self.0.config
    }

    /// The backend's name, for logs.
    #[must_use]
    pub fn backend_name(&self) -> &'static str {
        match &self.0.kind {
            Kind::Server(backend) => backend.name(),
            Kind::Cookie(cookie) => cookie.name(),
        }
    }

    /// The cookie name that a cookie store seals its values for; `None` where any will do.
    #[must_use]
    pub fn cookie_name(&self) -> Option<&str> {
        match &self.0.kind {
            Kind::Server(_) => None,
            Kind::Cookie(cookie) => Some(cookie.cookie_name()),
        }
    }

    /// How many bytes of attributes the cookie of a cookie store may have; `None` for a server store.
    #[must_use]
    pub fn attribute_reserve(&self) -> Option<usize> {
        match &self.0.kind {
            Kind::Server(_) => None,
            Kind::Cookie(cookie) => Some(cookie.attribute_reserve()),
        }
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

impl Inner {
    /// A new id from the configured random source.
    fn new_id(&self) -> Result<SessionId> {
        let mut bytes = [0; 32];
        let failed = |error| {
            Error::new(ErrorKind::Other, "the random source failed; no session id can be made")
                .with_source(error)
        };
        (self.config.random_source)(&mut bytes).map_err(failed)?;
        if bytes == [0; 32] {
            return Err(failed(std::io::Error::other("it gave zeros only")));
        }
        Ok(SessionId::from_bytes(bytes))
    }
}

impl fmt::Debug for SessionStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionStore")
            .field("backend", &self.backend_name())
            .field("config", &self.0.config)
            .finish_non_exhaustive()
    }
}
