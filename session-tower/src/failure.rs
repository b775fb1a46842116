//! The response to the client when a session can't be used.

use std::error::Error as StdError;
use std::fmt;

use http::StatusCode;
use session_core::Error;
use session_http::Failure;

/// A session that could not be loaded, used or saved. The status is 503 when the store is unavailable,
/// 409 when an explicit save by the handler failed with `Gone` (the session ended) or `Conflict` (other
/// requests saved it again and again), or a sign-in with `TooManySessions`, and otherwise 500. The response does
/// not mention the cause.
///
/// The `?` operator converts any [`Error`] of a session into it. The error is logged once, when it is
/// converted; a 409 is expected in normal operation and logged at debug level only. The unsaved changes
/// of a handler that returns it are discarded, as with a 5xx. The response carries a copy in its
/// extensions, so a middleware outside [`SessionLayer`](crate::SessionLayer) can replace the response
/// with the application's own page.
#[derive(Debug, Clone)]
pub struct SessionFailure(Failure);

impl SessionFailure {
    /// The error of the session or its store.
    #[must_use]
    pub fn error(&self) -> &Error {
        self.0.error()
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        StatusCode::from_u16(self.0.status()).expect("409, 500 or 503")
    }

    pub(crate) fn retry_after(&self) -> Option<u32> {
        self.0.retry_after()
    }

    #[cfg(feature = "axum")]
    pub(crate) fn text(&self) -> &'static str {
        self.0.text()
    }
}

impl From<Error> for SessionFailure {
    fn from(error: Error) -> Self {
        Self(error.into())
    }
}

impl From<Failure> for SessionFailure {
    fn from(failure: Failure) -> Self {
        Self(failure)
    }
}

impl fmt::Display for SessionFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for SessionFailure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
