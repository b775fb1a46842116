//! How commands get to a server and their replies back.

use std::time::{Duration, Instant};

use redis::{Cmd, Pipeline, Value};

use crate::failure::{Failure, is_unknown_script, knows_no_flags};
use crate::layout;
use crate::link::{Link, Request};
use crate::scripts::Naming;

/// A link, and how long to wait for it altogether, however many exchanges it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Lane<'a> {
    link: &'a Link,
    limit: Duration,
    since: Instant,
}

impl<'a> Lane<'a> {
    pub(crate) fn new(link: &'a Link, limit: Duration) -> Self {
        Self { link, limit, since: Instant::now() }
    }

    /// One reply for each command.
    pub(crate) async fn exchange(
        self,
        commands: &Pipeline,
        key: &[u8],
        repeatable: bool,
    ) -> Result<Vec<Value>, Failure> {
        let request = Request { commands, key, repeatable };
        let replies = self.link.exchange(&request, self.since, self.limit).await?;
        if replies.len() == commands.len() {
            Ok(replies)
        } else {
            Err(Failure::of_reply(&Value::Array(replies)))
        }
    }

    /// One reply for each command of a request that only reads, and the time by the server's clock in
    /// milliseconds: by ours, a little ahead, where the server told it lately and it need not be exact.
    pub(crate) async fn read(
        self,
        mut commands: Pipeline,
        key: &[u8],
        exactly: bool,
    ) -> Result<(Vec<Value>, u64), Failure> {
        let clock = self.link.clock();
        if let Some(clock) = clock.filter(|clock| !exactly && clock.is_set()) {
            let replies = self.exchange(&commands, key, true).await?;
            return Ok((replies, clock.now()));
        }
        let asked = Instant::now();
        commands.cmd("TIME");
        let mut replies = self.exchange(&commands, key, true).await?;
        let now = layout::now(&replies.pop().unwrap_or(Value::Nil))?;
        if let Some(clock) = clock {
            clock.set(now, asked);
        }
        Ok((replies, now))
    }

    /// Calls a script by its hash, and in full if the server does not know it: after its first start,
    /// a failover, or SCRIPT FLUSH.
    pub(crate) async fn call(
        self,
        script: impl Fn(Naming) -> Cmd,
        key: &[u8],
        repeatable: bool,
    ) -> Result<Value, Failure> {
        let mut naming = Naming::Hash;
        loop {
            let mut commands = Pipeline::with_capacity(1);
            commands.add_command(script(naming));
            let reply = self.exchange(&commands, key, repeatable).await?.swap_remove(0);
            if naming == Naming::Text || !is_unknown_script(&reply) {
                return Ok(reply);
            }
            naming = Naming::Text;
        }
    }
}

/// How many replicas are to confirm a destruction, and how long to wait for them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Confirmation {
    pub(crate) replicas: u32,
    pub(crate) timeout: Duration,
}

/// Writes, where there is nothing to delete any more; nobody sees the key in between. It may take
/// memory where there is none, for a moment.
const DELETE_AGAIN: &str = "#!lua flags=allow-oom
redis.call('SET', KEYS[1], '')
return redis.call('DEL', KEYS[1])";

/// How many replicas have seen a key destroyed.
///
/// `WAIT` covers what was written before its connection's last command, by whomever; from Redis 7.2
/// and in Valkey, its connection's last command that wrote. So this deletes again in a way that writes
/// in any case. Should another master serve the key by now, it is gone there, too. Redis 6.2 knows no
/// flags of scripts and refuses this one: the second `DEL` is for that, where any command will do.
pub(crate) async fn confirm_destroy(
    lane: Lane<'_>,
    name: &[u8],
    Confirmation { replicas, timeout }: Confirmation,
) -> Result<u32, Failure> {
    // Zero would mean without end.
    let millis = u64::try_from(timeout.as_millis().max(1)).unwrap_or(u64::MAX);
    let mut commands = Pipeline::with_capacity(3);
    commands.cmd("EVAL").arg(DELETE_AGAIN).arg(1).arg(name);
    commands.cmd("DEL").arg(name).cmd("WAIT").arg(replicas).arg(millis);
    // Twice is as good as once.
    let replies = lane.exchange(&commands, name, true).await?;
    let [written, deleted, confirmed] = &replies[..] else {
        return Err(Failure::of_reply(&Value::Array(replies)));
    };
    match (written, deleted, confirmed) {
        (Value::Int(_), Value::Int(_), Value::Int(confirmed)) => {
            Ok(u32::try_from(*confirmed).unwrap_or_default())
        }
        (refusal, Value::Int(_), Value::Int(confirmed)) if knows_no_flags(refusal) => {
            Ok(u32::try_from(*confirmed).unwrap_or_default())
        }
        (Value::Int(_), Value::Int(_), other) | (Value::Int(_), other, _) | (other, ..) => {
            Err(Failure::of_reply(other))
        }
    }
}
