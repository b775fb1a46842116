//! The middleware around the application's handlers.

use std::fmt;
use std::future::{Future, Ready, ready};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use actix_web::body::{EitherBody, MessageBody};
use actix_web::dev::{Service, ServiceRequest, ServiceResponse, Transform};
use actix_web::http::StatusCode;
use actix_web::http::header::HeaderMap;
use actix_web::{Error, HttpMessage as _, HttpResponse, ResponseError};
use session_core::{Result, SessionStore};
use session_http::{Exchange, Handle, Outcome, Shared};

use crate::{CookieConfig, SessionBody, SessionFailure, SessionHandle, SessionHeader, headers};

/// Gives every request a session. The session is loaded when the handler asks for it, and saved before
/// the response is sent.
///
/// A request that does not ask for its session causes no store call and no header. Make it once, outside of the
/// closure of `HttpServer::new`, and clone it into each worker's `App`.
#[derive(Clone, Debug)]
pub struct SessionMiddleware {
    shared: Shared,
}

impl SessionMiddleware {
    /// A middleware with the defaults of [`CookieConfig`], which are safe. With a cookie store, the cookie has
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

impl<S, B> Transform<S, ServiceRequest> for SessionMiddleware
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = Responded<B>;
    type Error = Error;
    type Transform = SessionService<S>;
    type InitError = ();
    type Future = Ready<std::result::Result<Self::Transform, ()>>;

    fn new_transform(&self, inner: S) -> Self::Future {
        ready(Ok(SessionService { inner: Rc::new(inner), shared: self.shared.clone() }))
    }
}

/// The service that [`SessionMiddleware`] creates.
///
/// ```
/// use actix_web::dev::{ServiceRequest, ServiceResponse, Transform};
/// use actix_web::{Error, body::BoxBody, dev::Service};
/// use session_actix::{SessionMiddleware, SessionService};
///
/// /// A middleware that wraps the session's has to name the type of its service.
/// async fn wrap<S>(sessions: &SessionMiddleware, handlers: S) -> Result<SessionService<S>, ()>
/// where
///     S: Service<ServiceRequest, Response = ServiceResponse<BoxBody>, Error = Error> + 'static,
/// {
///     sessions.new_transform(handlers).await
/// }
/// ```
pub struct SessionService<S> {
    inner: Rc<S>,
    shared: Shared,
}

type Responded<B> = ServiceResponse<EitherBody<SessionBody<B>>>;
type Responding<B> = Pin<Box<dyn Future<Output = std::result::Result<Responded<B>, Error>>>>;

/// If the future is dropped while the handler runs, the handler's changes to the session are discarded,
/// except [`destroy`](session_core::Session::destroy). If it is dropped while the session is saved,
/// the save is still carried out.
impl<S, B> Service<ServiceRequest> for SessionService<S>
where
    S: Service<ServiceRequest, Response = ServiceResponse<B>, Error = Error> + 'static,
    B: MessageBody + 'static,
{
    type Response = Responded<B>;
    type Error = Error;
    type Future = Responding<B>;

    fn poll_ready(&self, cx: &mut Context<'_>) -> Poll<std::result::Result<(), Error>> {
        self.inner.poll_ready(cx)
    }

    fn call(&self, request: ServiceRequest) -> Self::Future {
        let outer = request.extensions().get::<SessionHandle>().map(|outer| outer.0.clone());
        let (shared, method) = (self.shared.clone(), request.method().as_str());
        let handle = Handle::new(shared, outer, method, &headers::Request(request.headers()));
        request.extensions_mut().insert(SessionHandle(handle.clone()));
        let mut exchange = Exchange::new(handle);
        let inner = Rc::clone(&self.inner);
        Box::pin(async move {
            let response = inner.call(request).await;
            let failed = response.as_ref().map_or(true, has_failed);
            let outcome = match exchange.begin_to_save(failed) {
                Some(save) => Some(exchange.finish(save.await)),
                None => None,
            };
            let response = match response {
                Ok(response) => response,
                Err(error) => return Err(Marked::error(error, &exchange, outcome)),
            };
            let failure = outcome.as_ref().and_then(|outcome| outcome.failure.clone());
            let replaced = failure.clone().filter(|_| !failed);
            let mut response = match replaced {
                Some(failure) => {
                    let page = SessionFailure::from(failure).error_response();
                    response.into_response(page.map_into_right_body())
                }
                None => response.map_body(|_, body| SessionBody::new(body)).map_into_left_body(),
            };
            exchange.mark(outcome, &mut headers::Response(response.headers_mut()));
            let trailing = exchange.into_trailing(failed || failure.is_some());
            Ok(response.map_body(|_, body| match body {
                EitherBody::Left { body } => EitherBody::left(body.with(trailing)),
                page => page,
            }))
        })
    }
}

/// An error of a middleware inside, whose response has the headers of the session.
struct Marked {
    error: Error,
    headers: HeaderMap,
}

impl Marked {
    fn error(error: Error, exchange: &Exchange, outcome: Option<Outcome>) -> Error {
        let mut response = error.error_response();
        exchange.mark(outcome, &mut headers::Response(response.headers_mut()));
        Self { headers: response.headers().clone(), error }.into()
    }
}

impl ResponseError for Marked {
    fn status_code(&self) -> StatusCode {
        self.error.as_response_error().status_code()
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = self.error.error_response();
        *response.headers_mut() = self.headers.clone();
        response
    }
}

impl fmt::Display for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for Marked {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

/// Whether the handler's changes to the session are discarded.
fn has_failed<B>(response: &ServiceResponse<B>) -> bool {
    let with_failure = response.response().extensions().get::<SessionFailure>().is_some();
    session_http::has_failed(response.status().as_u16(), with_failure)
}

impl<S> fmt::Debug for SessionService<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SessionService").field("shared", &self.shared).finish_non_exhaustive()
    }
}
