//! What can go wrong, the same for every database, and the error that the caller gets.

use std::error::Error as StdError;
use std::fmt;
use std::sync::Arc;

use session_core::{Error, ErrorKind};
use sqlx::error::DatabaseError;

/// A failure of the driver or the server, classified. Cheap to clone: all that were written together
/// get it.
#[derive(Clone, Debug)]
pub(crate) struct Fault {
    pub(crate) class: Class,
    /// Whether the statement may have reached the server.
    sent: bool,
    cause: Arc<Cause>,
}

/// What a failure means for the caller and for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Class {
    /// The connection broke; what was under way may have been carried out or not.
    Lost,
    /// No encrypted connection: the server offers none, or shows a certificate that is not trusted.
    Untrusted,
    /// No connection could be had.
    NoConnection,
    /// No answer in time.
    TimedOut,
    /// The server cancelled the statement and took it back.
    Cancelled,
    /// The server ended the statement in favour of another: nothing was written, try again.
    Aborted,
    /// Another held a lock for too long; nothing was written.
    Busy,
    /// A row of that key is there already.
    Duplicate,
    NoTable,
    /// Wrong user, password or database, or a right is missing.
    Denied,
    /// Wrong URL or setting.
    Misconfigured,
    ReadOnly,
    /// The disk is full.
    Full,
    TooLarge,
    Other,
}

impl Class {
    /// Whether it would meet each of a batch in the same way.
    pub(crate) fn concerns_all(self) -> bool {
        !matches!(self, Self::Duplicate | Self::TooLarge | Self::Other)
    }
}

impl Fault {
    pub(crate) fn new(error: sqlx::Error, classify: fn(&dyn DatabaseError) -> Class) -> Self {
        let class = match &error {
            sqlx::Error::Database(error) => classify(&**error),
            sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Class::NoConnection,
            sqlx::Error::Configuration(_) | sqlx::Error::InvalidArgument(_) => Class::Misconfigured,
            sqlx::Error::Tls(_) => Class::Untrusted,
            sqlx::Error::Io(error) if is_of_tls(error) => Class::Untrusted,
            sqlx::Error::Io(_)
            | sqlx::Error::Protocol(_)
            | sqlx::Error::WorkerCrashed
            | sqlx::Error::BeginFailed => Class::Lost,
            _ => Class::Other,
        };
        Self { class, sent: true, cause: Arc::new(Cause::Driver(error)) }
    }

    pub(crate) fn timed_out() -> Self {
        Self { class: Class::TimedOut, sent: true, cause: Arc::new(Cause::Time) }
    }

    /// There was no connection to send the statement on.
    pub(crate) fn not_sent(self) -> Self {
        Self { sent: false, ..self }
    }

    fn nothing_was_written(&self) -> bool {
        let refused = matches!(
            self.class,
            Class::NoConnection
                | Class::Cancelled
                | Class::Aborted
                | Class::Busy
                | Class::ReadOnly
                | Class::Full
        );
        refused || !self.sent
    }

    pub(crate) fn error(&self) -> Error {
        let (kind, message) = match self.class {
            Class::Lost => (ErrorKind::Unavailable, "the connection to the database broke"),
            Class::Untrusted => (
                ErrorKind::InvalidConfig,
                "no encrypted connection to the database: check that the server offers TLS, that \
                 its certificate is valid and trusted (sslrootcert, ssl-ca), and that the cargo \
                 feature tls is on",
            ),
            Class::NoConnection => (
                ErrorKind::Unavailable,
                "no connection to the database could be had in time: it is not reachable, or the \
                 pool is exhausted (then raise its max_connections)",
            ),
            Class::Cancelled => (
                ErrorKind::Unavailable,
                "the server cancelled the statement (a time limit of its own); nothing was written",
            ),
            Class::TimedOut => (ErrorKind::Unavailable, "the database did not answer in time"),
            Class::Aborted | Class::Busy => (
                ErrorKind::Unavailable,
                "the database is too busy (deadlock, lock or serialization); nothing was written",
            ),
            Class::Duplicate => {
                (ErrorKind::AlreadyExists, "a session stands under this key already")
            }
            Class::NoTable => (
                ErrorKind::InvalidConfig,
                "the table of the sessions is missing or of another shape: call migrate() at the \
                 start, or create what schema() says",
            ),
            Class::Denied => (
                ErrorKind::InvalidConfig,
                "the database refuses this user: check the user, the password, the database's name \
                 and the user's rights to the table",
            ),
            Class::Misconfigured => {
                (ErrorKind::InvalidConfig, "the database's URL or a setting is wrong")
            }
            Class::ReadOnly => {
                (ErrorKind::Unavailable, "the database is read-only; nothing was written")
            }
            Class::Full => {
                (ErrorKind::Unavailable, "the database's disk is full; nothing was written")
            }
            Class::TooLarge => (
                ErrorKind::TooLarge,
                "the record exceeds a limit of the database (MySQL: max_allowed_packet); nothing \
                 was written",
            ),
            Class::Other => (ErrorKind::Other, "the database refused the statement"),
        };
        let mut error = Error::new(kind, message);
        if self.nothing_was_written() {
            error = error.as_refusal();
        }
        match self.class {
            // The server's text names the key.
            Class::Duplicate => error,
            _ => error.with_source(Source(Arc::clone(&self.cause))),
        }
    }
}

/// rustls' refusals come as the data of the connection being invalid.
fn is_of_tls(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData && error.get_ref().is_some()
}

#[derive(Debug)]
enum Cause {
    Driver(sqlx::Error),
    Time,
}

/// The driver's error without what a server may add to it (PostgreSQL's `DETAIL` shows whole rows).
struct Source(Arc<Cause>);

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &*self.0 {
            Cause::Driver(sqlx::Error::Database(error)) => {
                if let Some(code) = error.code() {
                    write!(f, "{code}: ")?;
                }
                f.write_str(error.message())
            }
            Cause::Driver(error) => error.fmt(f),
            Cause::Time => f.write_str("timed out"),
        }
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl StdError for Source {}
