//! What can go wrong, the same for every database, and the error that the caller gets.

use std::error::Error as StdError;
use std::fmt;
use std::io::ErrorKind as ErrorKindIo;
use std::sync::Arc;

use session_core::{Error, ErrorKind};
use sqlx::error::DatabaseError;

/// An error of the driver or the server, classified.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) class: Class,
    /// Whether the statement may have reached the server.
    sent: bool,
    source: Source,
}

/// The text of the driver's error, without what a server may add to it: PostgreSQL's `DETAIL` shows whole
/// rows.
#[derive(Clone)]
struct Source(Arc<str>);

/// What a failure means for the caller and for the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(any(feature = "mysql", feature = "postgres")),
    allow(dead_code, reason = "a database in the process knows fewer")
)]
pub(crate) enum Class {
    /// The connection broke. What was in flight may have been carried out or not.
    Broken,
    /// No encrypted connection: the server offers none, or its certificate is not trusted.
    Untrusted,
    /// There is no connection.
    NoConnection,
    /// Nothing listens at the address of the URL.
    NothingListens,
    /// The host of the URL has no address.
    NoHost,
    /// The password may only be sent over an encrypted connection.
    NeedsTls,
    /// No answer in time.
    TimedOut,
    /// The server cancelled the statement and took it back.
    Cancelled,
    /// The server aborted the transaction in favour of another one: try again.
    Aborted,
    /// Another transaction held a lock for too long.
    Busy,
    /// The connection's prepared statements are not what we take them for: try again on another one.
    Stale,
    /// The server takes no more prepared statements, which others and our idle connections hold.
    #[cfg_attr(
        not(feature = "mysql"),
        allow(dead_code, reason = "other servers have no such limit")
    )]
    NoStatement,
    /// There is a row with that key.
    Duplicate,
    NoTable,
    /// Wrong user, password or database, or a right is missing.
    Denied,
    /// Wrong URL or setting.
    Misconfigured,
    ReadOnly,
    /// The server is up and not able to serve, for example a node that left its cluster.
    NotServing,
    /// The disk is full.
    Full,
    TooLarge,
    Other,
}

/// What becomes of a connection after an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum After {
    /// It is good.
    Keep,
    /// Its state is not known.
    Close,
    /// It broke, and others may have.
    Broke,
    /// It is of no use any more, and others may be as well: its server does not serve or takes no more
    /// prepared statements.
    Renew,
}

impl Class {
    /// Whether it would meet each item of a batch in the same way.
    pub(crate) fn concerns_all(self) -> bool {
        !matches!(self, Self::Duplicate | Self::TooLarge | Self::Other)
    }

    /// Whether nothing was written although the statement was sent.
    pub(crate) fn is_refusal(self) -> bool {
        matches!(
            self,
            Self::NoConnection
                | Self::NothingListens
                | Self::NoHost
                | Self::Cancelled
                | Self::Aborted
                | Self::Busy
                | Self::Stale
                | Self::NoStatement
                | Self::ReadOnly
                | Self::NotServing
                | Self::Full
        )
    }

    /// What becomes of the connection. It is kept only after errors that are known to leave it good.
    pub(crate) fn after(self, local: bool) -> After {
        match self {
            Self::Broken => After::Broke,
            _ if local => After::Keep,
            Self::TimedOut | Self::Untrusted => After::Broke,
            Self::NoStatement | Self::ReadOnly | Self::NotServing => After::Renew,
            // A server closes the connection on which something too large came.
            Self::NoConnection
            | Self::NothingListens
            | Self::NoHost
            | Self::NeedsTls
            | Self::Stale
            | Self::TooLarge
            | Self::Other => After::Close,
            Self::Cancelled
            | Self::Aborted
            | Self::Busy
            | Self::Duplicate
            | Self::NoTable
            | Self::Denied
            | Self::Misconfigured
            | Self::Full => After::Keep,
        }
    }

    fn describe(self) -> (ErrorKind, &'static str) {
        use ErrorKind::{AlreadyExists, InvalidConfig, Other, TooLarge, Unavailable};
        match self {
            Self::Broken => (Unavailable, "the connection to the database broke"),
            Self::Untrusted => (
                InvalidConfig,
                "no encrypted connection to the database: check that the server offers TLS, that its \
                 certificate is valid and trusted (sslrootcert, ssl-ca), and that the cargo feature \
                 tls is on",
            ),
            Self::NoConnection => (
                Unavailable,
                "no connection to the database: it is not reachable, it accepts no more connections, \
                 or the pool is exhausted (then raise its max_connections)",
            ),
            Self::NothingListens => (
                Unavailable,
                "nothing listens at the database's address: start the database, or correct the host \
                 and the port of the URL",
            ),
            Self::NoHost => (
                Unavailable,
                "the database's host name has no address: correct the host of the URL",
            ),
            Self::NeedsTls => (
                InvalidConfig,
                "the server takes this user's password over an encrypted connection only \
                 (caching_sha2_password): switch on the cargo feature tls",
            ),
            Self::TimedOut => (Unavailable, "the database did not answer in time"),
            Self::Cancelled => (Unavailable, "the database cancelled the statement"),
            Self::Aborted | Self::Busy => {
                (Unavailable, "the database is too busy (deadlock, lock or serialization)")
            }
            Self::Stale => (
                Unavailable,
                "the connection's prepared statements are lost or out of date: a pooler must support \
                 them",
            ),
            Self::NoStatement => (
                Unavailable,
                "the server takes no more prepared statements: raise max_prepared_stmt_count, or lower \
                 max_connections of the stores",
            ),
            Self::Duplicate => (AlreadyExists, "there is a session under this key"),
            Self::NoTable => (
                InvalidConfig,
                "the table of the sessions is missing or has other columns: call migrate() at the \
                 start, or execute what schema() returns",
            ),
            Self::Denied => (
                InvalidConfig,
                "the database refuses this user: check the user, the password, the database's name \
                 and the user's rights to the table",
            ),
            Self::Misconfigured => (
                InvalidConfig,
                "the database's URL or a setting is wrong; in the user and the password, special \
                 characters are percent-encoded",
            ),
            Self::ReadOnly => (Unavailable, "the database is read-only"),
            Self::NotServing => (Unavailable, "the database does not serve at present"),
            Self::Full => (Unavailable, "the database's disk is full"),
            Self::TooLarge => {
                (TooLarge, "the record exceeds a limit of the database (MySQL: max_allowed_packet)")
            }
            Self::Other => (Other, "the database reported an error"),
        }
    }
}

/// The class of an error. `classify` knows the server's codes.
pub(crate) fn class_of(error: &sqlx::Error, classify: fn(&dyn DatabaseError) -> Class) -> Class {
    match error {
        sqlx::Error::Database(error) => classify(&**error),
        sqlx::Error::PoolTimedOut | sqlx::Error::PoolClosed => Class::NoConnection,
        // A value that can't be sent.
        sqlx::Error::Encode(_) => Class::TooLarge,
        sqlx::Error::Configuration(error) if error.to_string().starts_with("RSA auth") => {
            Class::NeedsTls
        }
        sqlx::Error::Configuration(_) | sqlx::Error::InvalidArgument(_) => Class::Misconfigured,
        sqlx::Error::Tls(_) => Class::Untrusted,
        sqlx::Error::Io(error) if is_of_tls(error) => Class::Untrusted,
        sqlx::Error::Io(_)
        | sqlx::Error::Protocol(_)
        | sqlx::Error::WorkerCrashed
        | sqlx::Error::BeginFailed => Class::Broken,
        _ => Class::Other,
    }
}

/// rustls reports what it refuses as invalid data of the connection.
fn is_of_tls(error: &std::io::Error) -> bool {
    error.kind() == std::io::ErrorKind::InvalidData && error.get_ref().is_some()
}

/// Why there is no connection.
fn unreachable(error: &sqlx::Error) -> Class {
    match error {
        sqlx::Error::Io(error) if error.kind() == ErrorKindIo::ConnectionRefused => {
            Class::NothingListens
        }
        // The file of a database in the process.
        sqlx::Error::Io(error) if error.kind() == ErrorKindIo::NotFound => Class::NotServing,
        // The standard library has no kind for it.
        sqlx::Error::Io(error) if error.to_string().starts_with("failed to lookup address") => {
            Class::NoHost
        }
        _ => Class::NoConnection,
    }
}

impl Failure {
    /// The statement was sent.
    pub(crate) fn new(error: &sqlx::Error, classify: fn(&dyn DatabaseError) -> Class) -> Self {
        let text = match error {
            sqlx::Error::Database(error) => {
                format!("{}: {}", error.code().unwrap_or_default(), error.message())
            }
            error => error.to_string(),
        };
        let class = match class_of(error, classify) {
            // On a connection that was good before, something other than the settings is wrong.
            Class::Untrusted => Class::Broken,
            class => class,
        };
        Self { class, sent: true, source: Source(text.into()) }
    }

    /// There was no connection on which the statement could have been sent.
    pub(crate) fn not_sent(error: &sqlx::Error, classify: fn(&dyn DatabaseError) -> Class) -> Self {
        let class = match class_of(error, classify) {
            Class::Broken => unreachable(error),
            class => class,
        };
        Self { class, sent: false, ..Self::new(error, classify) }
    }

    pub(crate) fn timed_out() -> Self {
        Self { class: Class::TimedOut, sent: true, source: Source("timed out".into()) }
    }

    pub(crate) fn error(&self) -> Error {
        let (kind, message) = self.class.describe();
        let mut error = Error::new(kind, message);
        if !self.sent || self.class.is_refusal() {
            error = error.as_refusal();
        }
        match self.class {
            // The server's text names the key.
            Class::Duplicate => error,
            _ => error.with_source(self.source.clone()),
        }
    }
}

impl fmt::Display for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl StdError for Source {}

#[cfg(test)]
mod tests {
    use std::io;

    use super::*;

    fn not_asked(_: &dyn DatabaseError) -> Class {
        unreachable!("the error is not the server's")
    }

    /// rustls reports a record that was changed on the way like a certificate that it refuses.
    #[test]
    fn an_error_of_tls_after_the_statement_was_sent_leaves_it_in_doubt() {
        let error = io::Error::new(io::ErrorKind::InvalidData, "cannot decrypt peer's message");
        for error in [sqlx::Error::Tls("broken".into()), sqlx::Error::Io(error)] {
            let sent = Failure::new(&error, not_asked).error();
            assert_eq!(sent.kind(), ErrorKind::Unavailable);
            assert!(!sent.nothing_was_written());
            let not_sent = Failure::not_sent(&error, not_asked).error();
            assert_eq!(not_sent.kind(), ErrorKind::InvalidConfig);
            assert!(not_sent.nothing_was_written());
        }
    }

    /// As the driver reports MySQL's default authentication without the feature `tls`.
    #[test]
    fn a_password_that_needs_tls_is_named() {
        let driver = "RSA auth backend disabled; enable feature `mysql-rsa`";
        let error = sqlx::Error::Configuration(driver.into());
        let error = Failure::not_sent(&error, not_asked).error();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.message().contains("cargo feature tls"), "{error}");
    }
}
