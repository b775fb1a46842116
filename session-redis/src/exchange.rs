//! Commands to a server, and its replies.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use redis::{Cmd, Pipeline, Value};

use crate::failure::{Failure, is_unknown_script};
use crate::link::{Link, Request};
use crate::scripts::Naming;

/// A link, and how long to wait for it altogether, however many requests it takes.
#[derive(Clone, Copy)]
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
        let under_way = AtomicBool::new(false);
        // The driver's future takes more than 1 KB, and the blocks of those who call this should not.
        let attempts = Box::pin(self.link.attempts(&request, &under_way, self.since, self.limit));
        let left = self.limit.saturating_sub(self.since.elapsed());
        let replies = match tokio::time::timeout(left, attempts).await {
            Ok(replies) => replies?,
            Err(_) if under_way.load(Ordering::Relaxed) => {
                return Err(Failure::no_answer(self.limit));
            }
            Err(_) => return Err(Failure::no_answer(self.limit).refused()),
        };
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
        script: impl Fn(Naming) -> Cmd,
        key: &[u8],
        repeatable: bool,
    ) -> Result<Value, Failure> {
        let mut naming = Naming::Hash;
        loop {
            let mut commands = Pipeline::with_capacity(1);
            commands.add_command(script(naming));
            let reply = self.send(&commands, key, repeatable).await?.swap_remove(0);
            if naming == Naming::Text || !is_unknown_script(&reply) {
                return Ok(reply);
            }
            naming = Naming::Text;
        }
    }
}
