//! What goes wrong in Redis, as errors of the family.

use std::time::Duration;

use redis::{RedisError, ServerErrorKind, Value};
use session_core::Error;
use session_core::ErrorKind::{self, Corrupt, InvalidConfig, Other, Unavailable};

/// The backend's name in every error.
pub(crate) const NAME: &str = "redis";

const UNKNOWN_COMMAND: &str = "Redis does not know a command that sessions need, for example HELLO or \
                               EVALSHA: it is older than 6.2, or its settings or a proxy disable the \
                               command. Without HELLO, give from_connection a connection by RESP2";

/// An error before it is handed out: several callers that shared a command each get a copy.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    kind: ErrorKind,
    /// Nothing was written, although the kind does not say so.
    refused: bool,
    message: String,
    source: Option<RedisError>,
}

impl Failure {
    fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        Self { kind, refused: false, message: message.into(), source: None }
    }

    /// Nothing was sent, or the server refused it: nothing was written.
    pub(crate) fn refused(self) -> Self {
        Self { refused: true, ..self }
    }

    /// An earlier attempt may have been carried out.
    pub(crate) fn in_doubt(self) -> Self {
        Self { refused: false, ..self }
    }

    pub(crate) fn no_record() -> Self {
        Self::new(Corrupt, "a session key holds no session record: another program wrote it")
    }

    pub(crate) fn without_expiry() -> Self {
        Self::new(
            Corrupt,
            "a session key has no expiry: another program took it away, and the session would never \
             end",
        )
    }

    pub(crate) fn no_right(commands: &str) -> Self {
        Self::new(
            InvalidConfig,
            format!("Redis does not know {commands}, or refuses it to this user; check the ACL"),
        )
    }

    pub(crate) fn no_answer(limit: Duration) -> Self {
        Self::new(Unavailable, format!("no answer within {limit:?}"))
    }

    /// An error of the driver or the connection.
    pub(crate) fn of(error: RedisError) -> Self {
        if let redis::ErrorKind::Server(_) | redis::ErrorKind::Extension = error.kind() {
            return Self::of_code(error.code().unwrap_or_default(), error.detail());
        }
        let (kind, message) = match error.kind() {
            redis::ErrorKind::AuthenticationFailed => {
                (InvalidConfig, "Redis refuses the user name or password; check those of the URL")
            }
            redis::ErrorKind::InvalidClientConfig | redis::ErrorKind::EmptySentinelList => {
                (InvalidConfig, "the Redis URL can't be used")
            }
            redis::ErrorKind::MasterNameNotFoundBySentinel => {
                (Unavailable, "no Sentinel names a master for this service")
            }
            redis::ErrorKind::ClusterConnectionNotFound => {
                return Self::new(Unavailable, "no node of the cluster serves this slot").refused();
            }
            redis::ErrorKind::Io if error.is_connection_refusal() => (
                Unavailable,
                "nothing listens at the address of Redis: start it, or correct the host and the \
                     port of the URL",
            ),
            // The standard library has no kind for it.
            redis::ErrorKind::Io if error.to_string().contains("failed to lookup address") => {
                (Unavailable, "the host name of Redis has no address: correct the host of the URL")
            }
            redis::ErrorKind::Io if error.is_timeout() => {
                (Unavailable, "Redis did not answer in time")
            }
            redis::ErrorKind::Io => (Unavailable, "the connection to Redis broke"),
            redis::ErrorKind::RESP3NotSupported => (InvalidConfig, UNKNOWN_COMMAND),
            _ => (Other, "Redis and this client did not understand each other"),
        };
        Self { source: Some(error), ..Self::new(kind, message) }
    }

    /// An error of a cluster, where a slot that is somewhere else is a matter of time.
    pub(crate) fn of_cluster(error: RedisError) -> Self {
        match error.kind() {
            redis::ErrorKind::Server(ServerErrorKind::Moved) => {
                Self::new(Unavailable, "the cluster is moving this slot").refused()
            }
            _ => Self::of(error),
        }
    }

    /// An error while a connection is set up, where an unknown one is about the settings. Nothing was
    /// sent yet.
    pub(crate) fn of_connecting(error: RedisError) -> Self {
        let failure = Self::of(error).refused();
        match failure.kind {
            Other => Self { kind: InvalidConfig, ..failure },
            _ => failure,
        }
    }

    /// A reply that is an error, or that no command of ours can have.
    pub(crate) fn of_reply(reply: &Value) -> Self {
        match reply {
            Value::ServerError(error) => Self::of_code(error.code(), error.details()),
            _ => Self::new(Other, "Redis gave a reply of an unexpected type"),
        }
    }

    /// The server's text is not passed on as a whole: it may quote the arguments of a command, the
    /// key and the session's contents among them.
    fn of_code(code: &str, detail: Option<&str>) -> Self {
        let (code, detail) = without_place(code, detail);
        let (kind, message) = match code {
            "WRONGTYPE" => (Corrupt, "a session key holds another type: another program wrote it"),
            "OOM" => {
                (Unavailable, "Redis is at its maxmemory and evicts nothing; nothing was written")
            }
            "READONLY" => (
                Unavailable,
                "this Redis is a read-only replica; nothing was written. Connect to the master, or \
                 through Sentinel or Cluster",
            ),
            "LOADING" => (Unavailable, "Redis is loading its data; nothing was written"),
            "BUSY" => (Unavailable, "Redis is busy with a script; nothing was written"),
            "MISCONF" => (
                Unavailable,
                "Redis refuses writes because it can't save to its disk; nothing was written",
            ),
            "NOREPLICAS" => (
                Unavailable,
                "Redis refuses writes because it has too few replicas; nothing was written",
            ),
            "MASTERDOWN" | "CLUSTERDOWN" | "TRYAGAIN" | "ASK" => {
                (Unavailable, "the cluster does not serve this slot right now")
            }
            "MOVED" => {
                (InvalidConfig, "this Redis is a node of a cluster: use a redis+cluster:// URL")
            }
            "CROSSSLOT" => (
                InvalidConfig,
                "this Redis is a cluster, although it did not say so: use a redis+cluster:// URL or \
                 a cluster connection",
            ),
            "NOAUTH" | "WRONGPASS" | "NOPERM" => (
                InvalidConfig,
                "Redis refuses the user, the password or the command; check the URL and the ACL",
            ),
            "ERR" if detail.is_some_and(|detail| detail.contains("DB index")) => {
                (InvalidConfig, "Redis has no database of this number")
            }
            "ERR" if detail.is_some_and(|detail| detail.starts_with("unknown command")) => {
                (InvalidConfig, UNKNOWN_COMMAND)
            }
            "ERR" if detail.is_some_and(|detail| detail.contains("max number of clients")) => {
                (Unavailable, "Redis has as many clients as it accepts; nothing was written")
            }
            _ => {
                return Self::new(Other, format!("Redis answered with the error {code}"));
            }
        };
        // All of these are found before a command is carried out.
        Self::new(kind, message).refused()
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        let error = Error::new(failure.kind, failure.message).with_backend(NAME);
        let error = if failure.refused { error.as_refusal() } else { error };
        match failure.source {
            Some(source) => error.with_source(source),
            None => error,
        }
    }
}

/// Whether a node of a cluster refused the request before it did anything, so that it may be sent
/// again: the slot is served by another node, or by none for the moment.
pub(crate) fn was_not_carried_out(error: &RedisError) -> bool {
    use redis::ErrorKind;

    matches!(
        error.kind(),
        ErrorKind::ClusterConnectionNotFound
            | ErrorKind::Server(
                ServerErrorKind::Moved
                    | ServerErrorKind::Ask
                    | ServerErrorKind::TryAgain
                    | ServerErrorKind::ClusterDown
                    | ServerErrorKind::MasterDown
                    | ServerErrorKind::ReadOnly
                    | ServerErrorKind::BusyLoading
            )
    )
}

/// Whether a reply says that the script has to be sent in full.
pub(crate) fn is_unknown_script(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(error) if error.kind() == Some(ServerErrorKind::NoScript))
}

/// Whether a reply says that a script begins with flags, which Redis knows from 7.0 on.
pub(crate) fn knows_no_flags(reply: &Value) -> bool {
    matches!(reply, Value::ServerError(error)
        if error.details().is_some_and(|text| text.starts_with("Error compiling script")))
}

/// Whether a reply, or one of those within it, says that we talk to a node that is no master (any
/// more).
pub(crate) fn is_read_only(reply: &Value) -> bool {
    match reply {
        Value::ServerError(error) => without_place(error.code(), error.details()).0 == "READONLY",
        Value::Array(replies) => replies.iter().any(is_read_only),
        _ => false,
    }
}

/// The code of an error and the rest, also where the server refused a command to a script. Before
/// Redis 7.0, the place in the script comes before it: `@user_script: 29: -READONLY …`.
fn without_place<'a>(code: &'a str, detail: Option<&'a str>) -> (&'a str, Option<&'a str>) {
    let (code, detail) = match detail {
        Some(text) if code == "@user_script:" => {
            let text = text.split_once(": ").map_or(text, |(_line, text)| text);
            match text.strip_prefix('-') {
                Some(error) => {
                    error.split_once(' ').map_or((error, None), |(code, rest)| (code, Some(rest)))
                }
                None => ("ERR", Some(text)),
            }
        }
        _ => (code, detail),
    };
    // To a script, the ACL's denial has no code of its own. The first is that of 6.2 and 7.0.
    let denials = ["The user executing the script can't", "ACL failure in script"];
    match detail {
        Some(text) if code == "ERR" && denials.iter().any(|denial| text.starts_with(denial)) => {
            ("NOPERM", None)
        }
        _ => (code, detail),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As 6.2.14 and 8.0.6 have it.
    #[test]
    fn a_script_whose_flags_are_unknown_is_told_from_one_that_is_refused() {
        let said = |text: &str| {
            knows_no_flags(&redis::parse_redis_value(format!("-{text}\r\n").as_bytes()).unwrap())
        };
        let unknown = "ERR Error compiling script (new function): user_script:1: unexpected symbol \
                       near '#'";
        assert!(said(unknown));
        assert!(!said("ERR ACL failure in script: No permissions to access a key"));
        assert!(!said("OOM command not allowed when used memory > 'maxmemory'."));
        assert!(!knows_no_flags(&Value::Int(1)));
    }

    /// What Redis puts into the table of `redis.pcall`, and gives when the script returns it: 6.2, 7.0 and
    /// 7.2 have different texts. Before the refusal, something was done.
    #[test]
    fn refusals_to_a_script_are_understood() {
        let texts = [
            (Unavailable, "replica", "READONLY You can't write against a read only replica."),
            (Unavailable, "replica", "@user_script: 29: -READONLY You can't write against a read."),
            (Unavailable, "maxmemory", "@user_script: 31: -OOM command not allowed when used."),
            (Unavailable, "disk", "@user_script: 31: -MISCONF Redis is configured to save RDB."),
            (Other, "ERR", "@user_script: 44: Unknown Redis command called from Lua script"),
        ];
        let denials = [
            "@user_script: 9: The user executing the script can't run this command or subcommand",
            "@user_script: 44: The user executing the script can't access at least one of the keys",
            "ERR The user executing the script can't run this command or subcommand",
            "ERR ACL failure in script: User less has no permissions to run the 'set' command",
        ];
        let denials = denials.map(|text| (InvalidConfig, "ACL", text));
        for (kind, said, text) in texts.into_iter().chain(denials) {
            let reply = redis::parse_redis_value(format!("*2\r\n+OK\r\n-{text}\r\n").as_bytes());
            let reply = reply.unwrap();
            assert_eq!(is_read_only(&reply), text.contains("READONLY"), "{text}");
            let Value::Array(replies) = reply else { panic!("{text}") };
            assert!(!is_read_only(&replies[0]), "{text}");
            let failure = Failure::of_reply(&replies[1]);
            assert_eq!(failure.kind, kind, "{text}");
            assert!(failure.message.contains(said), "{text}: {}", failure.message);
        }
    }
}
