//! The response to the client when a session can't be used.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use session_core::{Error, ErrorKind};

/// A session that could not be loaded, used or saved. Adapters wrap it in a type of their own that is a
/// response. The error is logged once, when it is converted; a 409 is expected in normal operation and logged
/// at debug level only. A clone is cheap.
///
/// ```
/// use session_http::Failure;
/// use session_http::session_core::Error;
///
/// let failure = Failure::from(Error::unavailable("no answer within 5 s"));
/// assert_eq!((failure.status(), failure.retry_after()), (503, Some(1)));
/// assert!(!failure.text().contains("no answer"));
/// ```
#[derive(Debug, Clone)]
pub struct Failure(Arc<Error>);

impl Failure {
    /// The error of the session or its store.
    #[must_use]
    pub fn error(&self) -> &Error {
        &self.0
    }

    /// The status of the response: 503 when the store is unavailable, 409 when an explicit save by the handler
    /// failed with `Gone` (the session ended) or `Conflict` (other requests saved it again and again), or a sign-in with
    /// `TooManySessions`, and otherwise 500.
    #[must_use]
    pub fn status(&self) -> u16 {
        match self.0.kind() {
            ErrorKind::Unavailable => 503,
            ErrorKind::Gone | ErrorKind::Conflict | ErrorKind::TooManySessions => 409,
            _ => 500,
        }
    }

    /// After how many seconds the client may try again, for the header `Retry-After`: with a 503 only.
    #[must_use]
    pub fn retry_after(&self) -> Option<u32> {
        (self.status() == 503).then_some(1)
    }

    /// The body of the response, in plain text. It does not mention the cause.
    #[must_use]
    pub fn text(&self) -> &'static str {
        match self.status() {
            503 => "The session store is unavailable. Please try again in a moment.\n",
            409 => "The session ended or changed meanwhile. Please load the page again.\n",
            _ => "The session could not be used.\n",
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        let failure = Self(Arc::new(error));
        if failure.status() == 409 {
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

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl StdError for Failure {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source()
    }
}
