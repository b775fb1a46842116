//! Extractors for axum.

use std::ops::Deref;

use axum_core::extract::FromRequestParts;
use axum_core::response::{IntoResponse, Response};
use http::header::{CACHE_CONTROL, CONTENT_TYPE};
use http::request::Parts;
use session_core::Error;

use crate::{OptionalSession, SessionFailure, SessionHandle};

/// The extractor: the request's [`session_core::Session`], loaded when a handler names it.
///
/// ```
/// use session_tower::{Session, SessionFailure};
///
/// async fn visits(session: Session) -> Result<String, SessionFailure> {
///     let visits = session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)?;
///     Ok(format!("visit number {visits}"))
/// }
/// ```
///
/// While the store is out of reach the route is not entered and the client gets 503, its cookie
/// untouched. [`OptionalSession`] is for routes that can go on without.
#[derive(Debug, Clone)]
pub struct Session(pub session_core::Session);

impl Deref for Session {
    type Target = session_core::Session;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl<S: Sync> FromRequestParts<S> for Session {
    type Rejection = SessionFailure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionFailure> {
        handle(parts)?.session().await.map(Self)
    }
}

/// Rejects only where no [`SessionLayer`](crate::SessionLayer) is around the route.
impl<S: Sync> FromRequestParts<S> for OptionalSession {
    type Rejection = SessionFailure;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, SessionFailure> {
        Ok(Self::load(&handle(parts)?).await)
    }
}

fn handle(parts: &Parts) -> Result<SessionHandle, SessionFailure> {
    parts.extensions.get::<SessionHandle>().cloned().ok_or_else(|| {
        Error::invalid_config("no SessionLayer is around this route: add it to the router").into()
    })
}

impl IntoResponse for SessionFailure {
    fn into_response(self) -> Response {
        let text = match self.status() {
            http::StatusCode::SERVICE_UNAVAILABLE => {
                "The session store is out of reach. Please try again in a moment.\n"
            }
            http::StatusCode::CONFLICT => {
                "The session ended or changed meanwhile. Please load the page again.\n"
            }
            _ => "The session could not be used.\n",
        };
        let headers = [(CONTENT_TYPE, "text/plain; charset=utf-8"), (CACHE_CONTROL, "no-store")];
        let mut response = (self.status(), headers, text).into_response();
        response.extensions_mut().insert(self);
        response
    }
}
