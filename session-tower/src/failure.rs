//! What the client gets when a session can't be used.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use session_core::{Error, ErrorKind};

/// A session that could not be loaded, used or saved: 503 when the store is out of reach, 409 when a
/// save of the handler's own found the session ended (`Gone`) or others saving it again and again
/// (`Conflict`), otherwise 500. The response says no more than that.
///
/// Handlers turn any [`Error`] of their session into one with `?`. It is logged once, when it is
/// made; 409, which is in the course of things, at debug level only. What such a handler changed and
/// did not save is dropped, as with a 5xx. The response carries a copy among its extensions, so that a middleware outside
/// [`SessionLayer`](crate::SessionLayer) can put the application's own page in its place.
#[derive(Debug, Clone)]
pub struct SessionFailure(Arc<Error>);

impl SessionFailure {
    /// What the store said.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0
    }

    /// The response's status.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.0.kind() {
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Gone | ErrorKind::Conflict => StatusCode::CONFLICT,
            _ => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl From<Error> for SessionFailure {
    fn from(error: Error) -> Self {
        let failure = Self(Arc::new(error));
        if failure.status() == StatusCode::CONFLICT {
            tracing::debug!(kind = ?failure.0.kind(), "the session can't be used: {failure}");
        } else {
            log("the session can't be used", &failure.0);
        }
        failure
    }
}

/// Writes an error and its causes to the log. Errors hold no secrets.
pub(crate) fn log(what: &str, error: &Error) {
    let mut causes = String::new();
    let mut cause = error.source();
    while let Some(next) = cause {
        causes.push_str(": ");
        causes.push_str(&next.to_string());
        cause = next.source();
    }
    tracing::error!(kind = ?error.kind(), "{what}: {error}{causes}");
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
