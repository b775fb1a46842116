//! Extractors.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpMessage as _, HttpRequest};
use session_core::Error;

use crate::{OptionalSession, Session, SessionFailure, SessionHandle};

type Extracted<T> = Pin<Box<dyn Future<Output = Result<T, SessionFailure>>>>;

/// Loads the session. Fails with [`SessionFailure`] when the store fails, and when the route has no
/// [`SessionMiddleware`](crate::SessionMiddleware).
impl FromRequest for Session {
    type Error = SessionFailure;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let handle = handle(request);
        Box::pin(async move { handle?.session().await })
    }
}

/// Fails only when the route has no [`SessionMiddleware`](crate::SessionMiddleware).
impl FromRequest for OptionalSession {
    type Error = SessionFailure;
    type Future = Extracted<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let handle = handle(request);
        Box::pin(async move { Ok(Self::load(&handle?).await) })
    }
}

/// For a route that needs the session of a middleware around the innermost one. Fails only when the route has no
/// [`SessionMiddleware`](crate::SessionMiddleware).
impl FromRequest for SessionHandle {
    type Error = SessionFailure;
    type Future = std::future::Ready<Result<Self, SessionFailure>>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        std::future::ready(handle(request))
    }
}

fn handle(request: &HttpRequest) -> Result<SessionHandle, SessionFailure> {
    request.extensions().get::<SessionHandle>().cloned().ok_or_else(|| {
        Error::invalid_config("this route has no SessionMiddleware: wrap the App or the scope")
            .into()
    })
}
