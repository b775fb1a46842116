//! Loading the session of a request.

use std::fmt;

use session_http::Handle;

use crate::{Session, SessionFailure};

/// Loads the session of one request. [`SessionLayer`](crate::SessionLayer) puts it into the request's
/// extensions.
///
/// With axum, use the extractors. Without axum:
///
/// ```
/// use session_tower::{SessionFailure, SessionHandle};
///
/// async fn visits<B>(request: http::Request<B>) -> Result<u64, SessionFailure> {
///     let handle = request.extensions().get::<SessionHandle>().expect("there is a SessionLayer");
///     let session = handle.session().await?;
///     Ok(session.update_and_save("visits", |n: Option<u64>| n.unwrap_or(0) + 1).await?)
/// }
/// ```
///
/// Clones give the same session. The layer saves it after the handler has returned its response. A task
/// that outlives the response, for example a websocket, can continue to read, and saves its changes with
/// [`Session::save`](session_http::Session::save).
#[derive(Clone)]
pub struct SessionHandle(pub(crate) Handle);

impl SessionHandle {
    /// The request's session: the client's live session, or a new one if the client has none.
    ///
    /// Only the first call loads from the store, and only if the request has a cookie.
    ///
    /// Call it before the response is returned. If a streaming body makes the first call, the head of the
    /// response was sent already: it has no `Vary: Cookie` and sets no cookie, and the layer does not save
    /// the session.
    ///
    /// # Errors
    /// The error of the store; every call of this request returns the same one. An outage never looks
    /// like an empty session. A corrupt record is not an error: it is logged and kept, and the request
    /// gets a new session.
    ///
    /// # Cancellation
    /// A dropped call has no effect; the next one loads the session.
    pub async fn session(&self) -> Result<Session, SessionFailure> {
        Ok(Session(self.0.session().await?))
    }

    /// The handle of the layer with this cookie name: this one, or one around it.
    ///
    /// ```
    /// use session_tower::{SessionFailure, SessionHandle};
    ///
    /// async fn is_admin(handle: SessionHandle) -> Result<bool, SessionFailure> {
    ///     let admin = handle.named("__Host-admin").expect("there is a layer of this name");
    ///     Ok(admin.session().await?.owner().is_some())
    /// }
    /// ```
    #[must_use]
    pub fn named(&self, cookie: &str) -> Option<Self> {
        self.0.named(cookie).cloned().map(Self)
    }
}

impl fmt::Debug for SessionHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
