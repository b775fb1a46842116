//! The layer around the application's service.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use session_core::{Result, SessionStore};
use tower_layer::Layer;
use tower_service::Service;

use crate::gc::Gc;
use crate::shared::Shared;
use crate::{CookieConfig, ResponseFuture, SessionHandle};

/// Gives every request behind it a session: loaded when it is asked for, saved before the response
/// is sent.
///
/// A request that doesn't ask for its session costs no store call and no header. Layers may be nested
/// when their cookies differ; a handler then sees the session of the innermost one. It needs a
/// tokio runtime.
#[derive(Clone)]
pub struct SessionLayer {
    shared: Arc<Shared>,
}

impl SessionLayer {
    /// A layer with the defaults of [`CookieConfig`], which are safe.
    /// With a cookie store the cookie has the name that its values are sealed for.
    #[must_use]
    pub fn new(store: SessionStore) -> Self {
        let cookie = CookieConfig::default_for(&store);
        let shared = Shared { store, cookie, gc: Gc::default() };
        Self { shared: Arc::new(shared) }
    }

    /// The cookie's name and attributes.
    ///
    /// # Errors
    /// `InvalidConfig` for a combination that browsers reject, and for another name than a cookie
    /// store dictates or longer attributes than it keeps room for.
    pub fn with_cookie(self, config: CookieConfig) -> Result<Self> {
        let cookie = config.build(&self.shared.store)?;
        Ok(self.with(|shared| shared.cookie = cookie))
    }

    /// With which probability a request that asks for its session starts a removal of expired ones,
    /// in the background and never two at a time: from 0 (never; then
    /// [`SessionStore::spawn_gc`] should do it) to 1. The default is 0.02. Stores that expire by
    /// themselves are left alone.
    ///
    /// # Errors
    /// `InvalidConfig` for any other number.
    pub fn with_gc_probability(self, probability: f64) -> Result<Self> {
        let gc = Gc::new(probability)?;
        Ok(self.with(|shared| shared.gc = gc))
    }

    fn with(self, change: impl FnOnce(&mut Shared)) -> Self {
        let mut shared = Arc::unwrap_or_clone(self.shared);
        change(&mut shared);
        Self { shared: Arc::new(shared) }
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService { inner, shared: Arc::clone(&self.shared) }
    }
}

impl fmt::Debug for SessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer")
            .field("store", &self.shared.store)
            .field("cookie", &self.shared.cookie)
            .field("gc", &self.shared.gc)
            .finish()
    }
}

/// The service that [`SessionLayer`] makes.
#[derive(Clone)]
pub struct SessionService<S> {
    inner: S,
    shared: Arc<Shared>,
}

/// The body has a default because a response whose session could not be saved is replaced by an
/// empty one.
impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for SessionService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
    ResBody: Default,
{
    type Response = S::Response;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let handle = SessionHandle::new(Arc::clone(&self.shared), request.headers());
        request.extensions_mut().insert(handle.clone());
        ResponseFuture::new(self.inner.call(request), handle)
    }
}

impl<S: fmt::Debug> fmt::Debug for SessionService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
