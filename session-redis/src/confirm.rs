//! Waiting until replicas have seen a session destroyed.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use redis::{Pipeline, Value};
use session_core::{DestroyItem, Error, Result};

use crate::exchange::Exchange;
use crate::failure::{Failure, NAME, knows_no_flags};
use crate::layout;
use crate::link::Link;
use crate::operations::Destroyed;

/// Writes although there is nothing to delete any more; nobody sees the key in between. It may use memory
/// beyond the limit, for a moment. A record that is there is left alone: somebody else wrote it.
const WRITE_ANYWAY: &str = "#!lua flags=allow-oom
if redis.call('EXISTS', KEYS[1]) == 0 then
  redis.call('SET', KEYS[1], '')
  redis.call('DEL', KEYS[1])
end";

/// What `confirm_destroy` asked for.
#[derive(Clone)]
pub(crate) struct Confirming {
    /// `WAIT` delays everything behind it, hence a connection of its own.
    pub(crate) link: Arc<Link>,
    pub(crate) replicas: u32,
    pub(crate) timeout: Duration,
}

impl Confirming {
    /// Waits for the replicas, and for at most `slack` longer than they may take, where keys are not there
    /// any more. What is missing may have been destroyed a moment ago, without a confirmation.
    pub(crate) async fn confirm(
        &self,
        prefix: &str,
        items: &[DestroyItem],
        results: &mut [Result<Destroyed>],
        slack: Duration,
    ) {
        let is_gone = |result: &Result<Destroyed>| {
            matches!(result, Ok(Destroyed::Removed | Destroyed::Missing))
        };
        let gone = items.iter().zip(&*results).filter(|(_, result)| is_gone(result));
        let names: Vec<_> = gone.map(|(item, _)| layout::name(prefix, &item.key)).collect();
        if names.is_empty() {
            return;
        }
        let exchange = Exchange::new(&self.link, self.timeout.saturating_add(slack));
        // Without an answer, none is known to have it.
        let confirmed = self.confirmed(exchange, &names).await.unwrap_or_default();
        if confirmed >= self.replicas {
            return;
        }
        for result in results.iter_mut().filter(|result| is_gone(result)) {
            let error = NotConfirmed { confirmed, wanted: self.replicas };
            *result = Err(Error::unavailable(format!(
                "destroyed on the master, but {error} it within {:?}: a failover may bring the \
                 session back",
                self.timeout
            ))
            .with_backend(NAME)
            .with_source(error));
        }
    }

    /// How many replicas have seen the keys destroyed.
    ///
    /// Up to Redis 7.0, `WAIT` covers everything that was written before; later, and in Valkey, only
    /// what its own connection wrote. So this writes in any case. Redis 6.2 knows no flags of scripts and
    /// refuses this one, but there, any command will do. If another master serves a key by now, the
    /// session may be back already: `EXISTS` tells.
    async fn confirmed(&self, exchange: Exchange<'_>, names: &[Vec<u8>]) -> Result<u32, Failure> {
        // Zero would mean without end.
        let millis = u64::try_from(self.timeout.as_millis().max(1)).unwrap_or(u64::MAX);
        let mut commands = Pipeline::with_capacity(2 * names.len() + 1);
        for name in names {
            commands.cmd("EVAL").arg(WRITE_ANYWAY).arg(1).arg(name);
            commands.cmd("EXISTS").arg(name);
        }
        commands.cmd("WAIT").arg(self.replicas).arg(millis);
        // Twice is as good as once.
        let mut replies = exchange.send(&commands, &names[0], true).await?;
        let confirmed = replies.pop().unwrap_or(Value::Nil);
        let expected =
            |reply: &Value| matches!(reply, Value::Nil | Value::Int(0)) || knows_no_flags(reply);
        if let Some(reply) = replies.iter().find(|reply| !expected(reply)) {
            return Err(Failure::of_reply(reply));
        }
        match confirmed {
            Value::Int(confirmed) => Ok(u32::try_from(confirmed).unwrap_or_default()),
            other => Err(Failure::of_reply(&other)),
        }
    }
}

/// Fewer replicas than demanded confirmed a destruction in time; the master carried it out. The
/// source of the error that `destroy` returns then.
///
/// ```
/// use std::error::Error as _;
/// use session_redis::NotConfirmed;
/// use session_redis::session_core::{Result, Session, SessionStore};
///
/// /// Whether a failover could bring the session back until it expires.
/// async fn sign_out(store: &SessionStore, session: &Session) -> Result<bool> {
///     let Err(error) = store.destroy(session).await else { return Ok(false) };
///     match error.source().and_then(|source| source.downcast_ref::<NotConfirmed>()) {
///         Some(NotConfirmed { confirmed, wanted }) => {
///             println!("{confirmed} of {wanted} replicas confirmed a sign-out");
///             Ok(true)
///         }
///         None => Err(error),
///     }
/// }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotConfirmed {
    /// The replicas that confirmed it.
    pub confirmed: u32,
    /// The replicas that were to.
    pub wanted: u32,
}

impl fmt::Display for NotConfirmed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {} replicas confirmed", self.confirmed, self.wanted)
    }
}

impl std::error::Error for NotConfirmed {}
