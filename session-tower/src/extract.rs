//! Extractors for axum.

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE, RETRY_AFTER};
use http::request::Parts;
use session_core::Error;

use crate::{OptionalSession, Session, SessionFailure, SessionHandle};

/// Loads the session. Rejects with [`SessionFailure`] when the store fails, and when the route has no
/// [`SessionLayer`](crate::SessionLayer).
impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = SessionFailure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionFailure> {
        handle(parts)?.session().await
    }
}

/// Rejects only when the route has no [`SessionLayer`](crate::SessionLayer).
impl<S: Sync> FromRequestParts<S> for OptionalSession {
    type Rejection = SessionFailure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionFailure> {
        Ok(Self::load(&handle(parts)?).await)
    }
}

/// For a route that needs the session of a layer around the innermost one. Rejects only when the route has no
/// [`SessionLayer`](crate::SessionLayer).
impl<S: Sync> FromRequestParts<S> for SessionHandle {
    type Rejection = SessionFailure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionFailure> {
        handle(parts)
    }
}

fn handle(parts: &Parts) -> Result<SessionHandle, SessionFailure> {
    parts.extensions.get::<SessionHandle>().cloned().ok_or_else(|| {
        Error::invalid_config("this route has no SessionLayer: add one to the router").into()
    })
}

impl IntoResponse for SessionFailure {
    fn into_response(self) -> Response {
        let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")];
        let mut response = (self.status(), headers, self.text()).into_response();
        if let Some(seconds) = self.retry_after() {
            response.headers_mut().insert(RETRY_AFTER, seconds.into());
        }
        response.extensions_mut().insert(self);
        response
    }
}
