//! Commands to a server, and its replies.

use std::time::{Duration, Instant};

use redis::{Cmd, Pipeline, Value};

use crate::failure::{Failure, is_unknown_script};
use crate::link::{Link, Request};
use crate::scripts::{Naming, Script};

/// A link, and how long to wait for it altogether, however many requests it takes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Exchange<'a> {
    link: &'a Link,
    limit: Duration,
    since: Instant,
}

impl<'a> Exchange<'a> {
    pub(crate) fn new(link: &'a Link, limit: Duration) -> Self {
        Self { link, limit, since: Instant::now() }
    }

    /// One reply for each command.
    pub(crate) async fn send(
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

    /// Calls a script by its hash, and in full if the server does not know it: after its start, a
    /// failover, or `SCRIPT FLUSH`.
    pub(crate) async fn call(
        self,
        script: &Script,
        keys: &[&[u8]],
        arguments: Arguments<'_>,
        repeatable: bool,
    ) -> Result<Value, Failure> {
        let mut naming = Naming::Hash;
        loop {
            let names: usize = keys.iter().map(|key| key.len()).sum();
            let mut call =
                script.call(naming, keys.len(), arguments.number, names + arguments.bytes);
            for key in keys {
                call.arg(key);
            }
            (arguments.add)(&mut call);
            let mut commands = Pipeline::with_capacity(1);
            commands.add_command(call);
            let reply = self.send(&commands, keys[0], repeatable).await?.swap_remove(0);
            if naming == Naming::Text || !is_unknown_script(&reply) {
                return Ok(reply);
            }
            naming = Naming::Text;
        }
    }
}

/// The arguments of a script.
#[derive(Clone, Copy)]
pub(crate) struct Arguments<'a> {
    pub(crate) number: usize,
    /// Their size, about.
    pub(crate) bytes: usize,
    pub(crate) add: &'a (dyn Fn(&mut Cmd) + Sync),
}
