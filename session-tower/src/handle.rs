//! One request's way to its session.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use http::HeaderMap;
use session_core::{ErrorKind, Session, SessionId};
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
    session: OnceCell<Result<Session, SessionFailure>>,
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
        self.0.session.get_or_init(|| self.0.load()).await.clone()
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
        self.0.session.get()?.as_ref().ok()
    }

    /// Whether the client sent this value.
    pub(crate) fn client_has(&self, value: &str) -> bool {
        self.0.candidates.iter().any(|sent| sent == value)
    }
}

impl Inner {
    async fn load(&self) -> Result<Session, SessionFailure> {
        let store = &self.shared.store;
        let mut none = None;
        for value in &self.candidates {
            match store.load(value).await {
                Ok(Some(session)) => return Ok(session),
                Ok(None) => {}
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    log("a session is unreadable and counts as none", &error);
                    none.get_or_insert_with(|| store.create_instead_of(value));
                }
                Err(error) => return Err(error.into()),
            }
        }
        Ok(none.unwrap_or_else(|| store.create()))
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionHandle")
            .field("cookies", &self.0.candidates.len())
            .field("session", &self.0.session.get())
            .finish()
    }
}
