//! The response to the client when a session can't be used.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use http::StatusCode;
use session_core::{Error, ErrorKind};

/// A session that could not be loaded, used or saved. The status is 503 when the store is unavailable,
/// 409 when an explicit save by the handler failed with `Gone` (the session ended) or `Conflict` (other
/// requests saved it again and again), or a sign-in with `TooManySessions`, and otherwise 500. The response does not mention the cause.
///
/// The `?` operator converts any [`Error`] of a session into it. The error is logged once, when it is
/// converted; a 409 is expected in normal operation and logged at debug level only. The unsaved changes
/// of a handler that returns it are discarded, as with a 5xx. The response carries a copy in its
/// extensions, so a middleware outside [`SessionLayer`](crate::SessionLayer) can replace the response
/// with the application's own page.
#[derive(Debug, Clone)]
pub struct SessionFailure(Arc<Error>);

impl SessionFailure {
    /// The error of the session or its store.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0
    }

    /// The status of the response.
    #[must_use]
    pub fn status(&self) -> StatusCode {
        match self.0.kind() {
            ErrorKind::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            ErrorKind::Gone | ErrorKind::Conflict | ErrorKind::TooManySessions => {
                StatusCode::CONFLICT
            }
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
