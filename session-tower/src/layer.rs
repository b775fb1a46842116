//! The layer around the application's service.

use std::fmt;
use std::task::{Context, Poll};

use http::{Request, Response};
use session_core::{Result, SessionStore};
use session_http::{Exchange, Handle, Shared};
use tower_layer::Layer;
use tower_service::Service;

use crate::{CookieConfig, ResponseFuture, SessionBody, SessionHandle, SessionHeader, headers};

/// Gives every request a session. The session is loaded when the handler asks for it, and saved before
/// the response is sent.
///
/// A request that does not ask for its session causes no store call and no header. The layer needs a tokio
/// runtime.
///
/// Layers may be nested if their cookies have different names and their stores different ids, for example two
/// [purposes](session_core::Config::purpose) over one store. Otherwise a request that asks for its session is
/// refused with 500. The extractors give the session of the innermost layer, and [`SessionHandle::named`] that
/// of any layer.
#[derive(Clone)]
pub struct SessionLayer {
    shared: Shared,
}

impl SessionLayer {
    /// A layer with the defaults of [`CookieConfig`], which are safe. With a cookie store, the cookie has
    /// the name that the store seals its values for.
    #[must_use]
    pub fn new(store: SessionStore) -> Self {
        Self { shared: Shared::new(store) }
    }

    /// Sets the cookie's name and attributes.
    ///
    /// # Errors
    /// `InvalidConfig` for a combination that browsers reject. With a cookie store also for another name
    /// than that of the store, and for attributes that are longer than the room that it reserves.
    pub fn with_cookie(self, config: CookieConfig) -> Result<Self> {
        Ok(Self { shared: self.shared.with_cookie(config)? })
    }

    /// Clients that are no browsers may send the session id in a header instead of the cookie. The cookies of a request
    /// that has the header are ignored, and its response sets none.
    #[must_use]
    pub fn with_header(self, header: SessionHeader) -> Self {
        Self { shared: self.shared.with_header(header) }
    }

    /// All clients send the session id in a header. There is no cookie.
    #[must_use]
    pub fn with_header_only(self, header: SessionHeader) -> Self {
        Self { shared: self.shared.with_header_only(header) }
    }

    /// Keeps what a POST of another site writes that carries no session cookie, for a sign-in whose answer another
    /// site sends as a form (SAML, Sign in with Apple). Without it, the cookie of such a response could replace that
    /// of a live session, which the browser did not send because of `SameSite=Lax`, and another site could sign
    /// visitors in to an account of its own. Set it for the route of that form only, and check the form's `state`.
    #[must_use]
    pub fn with_cross_site_writes(self) -> Self {
        Self { shared: self.shared.with_cross_site_writes() }
    }

    /// Sets the probability with which a request that asks for its session starts the removal of expired
    /// sessions in the background, from 0 to 1. The default is 0.02. With 0, run
    /// [`SessionStore::spawn_gc`] instead. Only one removal runs at a time, and the next one starts at least a
    /// second later. A store that removes expired
    /// records by itself never gets one.
    ///
    /// # Errors
    /// `InvalidConfig` unless the number is between 0 and 1.
    pub fn with_gc_probability(self, probability: f64) -> Result<Self> {
        Ok(Self { shared: self.shared.with_gc_probability(probability)? })
    }
}

impl<S> Layer<S> for SessionLayer {
    type Service = SessionService<S>;

    fn layer(&self, inner: S) -> Self::Service {
        SessionService { inner, shared: self.shared.clone() }
    }
}

impl fmt::Debug for SessionLayer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionLayer").field("shared", &self.shared).finish()
    }
}

/// The service that [`SessionLayer`] creates.
///
/// ```
/// use session_tower::{SessionLayer, SessionService};
/// use tower_layer::Layer;
///
/// /// A server that has to name the type of its service.
/// struct Server<S> {
///     service: SessionService<S>,
/// }
///
/// fn server<S>(handlers: S, sessions: &SessionLayer) -> Server<S> {
///     Server { service: sessions.layer(handlers) }
/// }
/// ```
#[derive(Clone)]
pub struct SessionService<S> {
    inner: S,
    shared: Shared,
}

impl<S, ReqBody, ResBody> Service<Request<ReqBody>> for SessionService<S>
where
    S: Service<Request<ReqBody>, Response = Response<ResBody>>,
{
    type Response = Response<SessionBody<ResBody>>;
    type Error = S::Error;
    type Future = ResponseFuture<S::Future, S::Response, S::Error>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), S::Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<ReqBody>) -> Self::Future {
        let outer = request.extensions().get::<SessionHandle>().map(|outer| outer.0.clone());
        let (shared, method) = (self.shared.clone(), request.method().as_str());
        let handle = Handle::new(shared, outer, method, &headers::Request(request.headers()));
        request.extensions_mut().insert(SessionHandle(handle.clone()));
        ResponseFuture::new(self.inner.call(request), Exchange::new(handle))
    }
}

impl<S: fmt::Debug> fmt::Debug for SessionService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("inner", &self.inner).finish_non_exhaustive()
    }
}
