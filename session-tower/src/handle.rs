//! One request's way to its session.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderMap;
use session_core::{Error, ErrorKind, Session, SessionId};
use tokio::sync::OnceCell;

use crate::SessionFailure;
use crate::candidates::candidates;
use crate::failure::log;
use crate::layer::Shared;

/// One request's way to its session: [`SessionLayer`](crate::SessionLayer) puts it into the
/// request's extensions.
///
/// With axum the extractors do this; elsewhere:
///
/// ```
/// use session_tower::{SessionFailure, SessionHandle};
///
/// async fn visits<B>(request: http::Request<B>) -> Result<u64, SessionFailure> {
///     let handle = request.extensions().get::<SessionHandle>().expect("a SessionLayer is around");
///     let session = handle.session().await?;
///     Ok(session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)?)
/// }
/// ```
///
/// Clones lead to the same session. The layer saves it when the handler has returned its response;
/// a task that outlives the response, for example a websocket's, can go on reading, and saves what
/// it writes with [`SessionStore::save`](session_core::SessionStore::save).
#[derive(Clone)]
pub struct SessionHandle(Arc<Inner>);

struct Inner {
    shared: Arc<Shared>,
    candidates: Vec<String>,
    asked: AtomicBool,
    session: OnceCell<Result<Loaded, SessionFailure>>,
}

/// What the candidates led to.
#[derive(Debug, Clone)]
struct Loaded {
    session: Session,
    /// The place of its cookie among the candidates; none for a new session.
    candidate: Option<usize>,
}

impl SessionHandle {
    pub(crate) fn new(shared: Arc<Shared>, headers: &HeaderMap) -> Self {
        // A store on the server is asked for ids only; to a cookie store any value may be one.
        let ids_only = shared.store.cookie_name().is_none();
        let is_plausible = |value: &str| !ids_only || SessionId::parse(value).is_some();
        let candidates = candidates(headers, shared.cookie.name(), is_plausible);
        Self(Arc::new(Inner {
            shared,
            candidates,
            asked: AtomicBool::new(false),
            session: OnceCell::new(),
        }))
    }

    /// The request's session: the client's own, or a new one where the client has none that is
    /// alive.
    ///
    /// The store is asked the first time only, and not at all when the request has no cookie.
    ///
    /// # Errors
    /// What the store said, the same at every call of this request: an outage never looks like an
    /// empty session. A corrupt record is no error; it is logged, its bytes are kept, and the
    /// request has a new session.
    ///
    /// # Cancellation
    /// A dropped call leaves nothing behind; the next one asks the store.
    pub async fn session(&self) -> Result<Session, SessionFailure> {
        self.0.asked.store(true, Ordering::Relaxed);
        let loaded = self.0.session.get_or_init(|| self.0.load()).await;
        loaded.as_ref().map(|loaded| loaded.session.clone()).map_err(Clone::clone)
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.0.shared
    }

    /// Whether anything asked for the session.
    pub(crate) fn was_asked(&self) -> bool {
        self.0.asked.load(Ordering::Relaxed)
    }

    /// The session, if it was loaded.
    pub(crate) fn loaded(&self) -> Option<&Session> {
        Some(&self.0.loaded()?.session)
    }

    /// Whether the client sent this value.
    pub(crate) fn client_has(&self, value: &str) -> bool {
        self.0.candidates.iter().any(|sent| sent == value)
    }

    /// Ends the sessions of the client's other cookies of this name, which the next request would
    /// find after a logout.
    pub(crate) async fn destroy_others(&self) -> Result<(), Error> {
        let store = &self.0.shared.store;
        let own = self.0.loaded().and_then(|loaded| loaded.candidate);
        for (place, value) in self.0.candidates.iter().enumerate() {
            if Some(place) == own {
                continue;
            }
            let other = match store.load(value).await {
                Ok(Some(session)) => session,
                Ok(None) => continue,
                Err(error) if error.kind() == ErrorKind::Corrupt => store.create_instead_of(value),
                Err(error) => return Err(error),
            };
            store.destroy(&other).await?;
        }
        Ok(())
    }
}

impl Inner {
    fn loaded(&self) -> Option<&Loaded> {
        self.session.get()?.as_ref().ok()
    }

    async fn load(&self) -> Result<Loaded, SessionFailure> {
        let store = &self.shared.store;
        let mut none = None;
        for (place, value) in self.candidates.iter().enumerate() {
            match store.load(value).await {
                Ok(Some(session)) => return Ok(Loaded { session, candidate: Some(place) }),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    log("a session is unreadable and counts as none", &error);
                    none.get_or_insert_with(|| store.create_instead_of(value));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(Loaded { session: none.unwrap_or_else(|| store.create()), candidate: None })
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHandle")
            .field("cookies", &self.0.candidates.len())
            .field(
                "session",
                &self.0.session.get().map(|loaded| loaded.as_ref().map(|it| &it.session)),
            )
            .finish()
    }
}
