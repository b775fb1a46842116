//! The error type of all crates of this project.

use std::borrow::Cow;
use std::error::Error as StdError;
use std::fmt;

/// A result whose error is [`Error`] by default.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// An error, with its kind, message and source, and the operation and backend that failed.
///
/// It never contains a session id, a cookie value, a key or a value of the session. The source that
/// a backend attaches must not contain one either.
///
/// A backend makes errors, and says where it is certain that nothing was written:
///
/// ```
/// use session_core::{Error, ErrorKind};
///
/// fn explain(error: std::io::Error) -> Error {
///     match error.kind() {
///         std::io::ErrorKind::ConnectionRefused => Error::refused("the database accepts no connections"),
///         _ => Error::unavailable("the connection to the database broke"),
///     }
///     .with_source(error)
/// }
/// # use std::io;
/// let refused = explain(io::ErrorKind::ConnectionRefused.into());
/// assert!(refused.nothing_was_written());
/// let broke = explain(io::ErrorKind::BrokenPipe.into());
/// assert_eq!((broke.kind(), broke.nothing_was_written()), (ErrorKind::Unavailable, false));
/// ```
pub struct Error(Box<Inner>);

struct Inner {
    kind: ErrorKind,
    refused: bool,
    message: Cow<'static, str>,
    operation: Option<&'static str>,
    backend: Option<&'static str>,
    source: Option<Box<dyn StdError + Send + Sync>>,
}

impl Error {
    /// An error of this kind. The message says what happened and, where that is known, what to do.
    pub fn new(kind: ErrorKind, message: impl Into<Cow<'static, str>>) -> Self {
        Self(Box::new(Inner {
            kind,
            refused: false,
            message: message.into(),
            operation: None,
            backend: None,
            source: None,
        }))
    }

    /// There is no live record: the session was destroyed, expired or never stored.
    #[must_use]
    pub fn gone() -> Self {
        Self::new(ErrorKind::Gone, "the session was destroyed, has expired or was never stored")
    }

    /// Another request saved the session since it was loaded.
    #[must_use]
    pub fn conflict() -> Self {
        Self::new(ErrorKind::Conflict, "another request saved the session meanwhile")
    }

    /// There is already a live record under the key.
    #[must_use]
    pub fn already_exists() -> Self {
        Self::new(ErrorKind::AlreadyExists, "there is already a session under this key")
    }

    /// The stored bytes are not a record.
    pub fn corrupt(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Corrupt, message)
    }

    /// The store can't be reached or did not answer in time.
    pub fn unavailable(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unavailable, message)
    }

    /// A refusal: the store did not carry out the operation, and nothing was written. It is full,
    /// read-only, busy or over one of its limits, or there is no connection to it. The kind is
    /// `Unavailable`.
    pub fn refused(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::Unavailable, message).as_refusal()
    }

    /// A value is not accepted, or can't be read as the requested type.
    pub fn invalid_value(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidValue, message)
    }

    /// A setting is not accepted.
    pub fn invalid_config(message: impl Into<Cow<'static, str>>) -> Self {
        Self::new(ErrorKind::InvalidConfig, message)
    }

    /// States that nothing was written, for an error of any kind.
    #[must_use]
    pub fn as_refusal(mut self) -> Self {
        self.0.refused = true;
        self
    }

    /// Attaches the cause, which [`source`](StdError::source) returns.
    #[must_use]
    pub fn with_source(mut self, source: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// Names the operation, unless one is named already: the innermost name is the most precise.
    #[must_use]
    pub fn with_operation(mut self, operation: &'static str) -> Self {
        self.0.operation.get_or_insert(operation);
        self
    }

    /// Names the backend, unless one is named already.
    #[must_use]
    pub fn with_backend(mut self, backend: &'static str) -> Self {
        self.0.backend.get_or_insert(backend);
        self
    }

    /// The class of the error, for decisions in code.
    #[must_use]
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether it is certain that the failed operation wrote nothing. This is true for all kinds
    /// except `Unavailable` and `Other`, and for errors of these two kinds that are a
    /// [refusal](Self::refused).
    #[must_use]
    pub fn nothing_was_written(&self) -> bool {
        self.0.refused || !matches!(self.0.kind, ErrorKind::Unavailable | ErrorKind::Other)
    }

    /// The message, for people.
    #[must_use]
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The operation that failed, for example `"load"`.
    #[must_use]
    pub fn operation(&self) -> Option<&'static str> {
        self.0.operation
    }

    /// The backend that failed, for example `"redis"`.
    #[must_use]
    pub fn backend(&self) -> Option<&'static str> {
        self.0.backend
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.backend(), self.operation()) {
            (Some(backend), Some(operation)) => write!(f, "{backend}: {operation}: ")?,
            (Some(one), None) | (None, Some(one)) => write!(f, "{one}: ")?,
            (None, None) => {}
        }
        f.write_str(self.message())
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("nothing_was_written", &self.nothing_was_written())
            .field("message", &self.0.message)
            .field("operation", &self.0.operation)
            .field("backend", &self.0.backend)
            .field("source", &self.0.source)
            .finish()
    }
}

impl StdError for Error {
    fn source(&self) -> Option<&(dyn StdError + 'static)> {
        self.0.source.as_deref().map(|source| source as &(dyn StdError + 'static))
    }
}

/// The classes of [`Error`]. A missing session is not an error but `None`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ErrorKind {
    /// There is no live record to change. Nothing was written.
    Gone,
    /// Another request saved the session meanwhile. Nothing was written.
    Conflict,
    /// There is already a live record under the key. Nothing was written.
    AlreadyExists,
    /// The stored bytes are not a record. They were kept.
    Corrupt,
    /// A size limit was exceeded. Nothing was written.
    TooLarge,
    /// The store can't be reached, did not answer in time, or refused the operation. A write is in
    /// doubt, unless [`Error::nothing_was_written`] is true.
    Unavailable,
    /// A value is not accepted, or can't be read as the requested type.
    InvalidValue,
    /// A setting is not accepted.
    InvalidConfig,
    /// The store can't do this.
    Unsupported,
    /// The account has as many sessions as [`Config::owner_limit`](crate::Config::owner_limit) allows. The
    /// sign-in was refused.
    TooManySessions,
    /// Any other error; see its source.
    Other,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_names_backend_operation_and_message_and_keeps_the_source() {
        let error = Error::unavailable("no answer within 5 s")
            .with_source(std::io::Error::other("reset"))
            .with_operation("load")
            .with_operation("outer")
            .with_backend("redis");
        assert_eq!(error.to_string(), "redis: load: no answer within 5 s");
        assert_eq!(error.source().unwrap().to_string(), "reset");
        assert_eq!(error.kind(), ErrorKind::Unavailable);
    }
}
