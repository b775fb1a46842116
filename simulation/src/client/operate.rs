//! One operation of a client, and what every operation has to keep to.

use std::future::Future;

use session_core::{ErrorKind, Result};

use super::Client;
use crate::setup::Setup;

/// How much longer than its deadline an operation may take: timers have whole milliseconds, and a batch
/// looks for deadlines every ten.
const SLACK: u64 = 15;
/// How long an operation may take in a calm schedule, whose requests take two milliseconds at most.
const CALM: u64 = 200;
impl Client {
    /// Runs one operation on a server. `None`: it was dropped.
    pub(super) async fn operate<T>(
        &mut self,
        name: &str,
        server: usize,
        work: impl Future<Output = Result<T>>,
    ) -> Option<Result<T>> {
        let operation = self.sim.with(|world| {
            let operation = world.begin_operation();
            world.log(|| format!("operation {operation} begins: {name} on server {server}"));
            operation
        });
        let began = self.sim.now();
        // What exceeds its deadline by far would never end.
        let patience = began + 4 * Setup::DEADLINE;
        let (mut polls, mut until) = (u32::MAX, self.servers[server].next_crash().min(patience));
        if self.random.u32(..1000) < self.setup.rates.drop {
            match self.random.bool() {
                true => polls = self.random.u32(1..8),
                false => until = until.min(began + self.random.u64(..Setup::DEADLINE)),
            }
        }
        let skew = self.servers[server].skew();
        let outcome = self.sim.run(operation, skew, polls, until, work).await;
        let took = self.sim.now() - began;
        let cost = self.sim.with(|world| {
            world.log(|| match &outcome {
                Some(Ok(_)) => format!("operation {operation} ends: ok"),
                Some(Err(error)) => format!("operation {operation} ends: {error}"),
                None => format!("operation {operation} is dropped"),
            });
            world.costs.remove(&operation).unwrap_or_default()
        });
        if took > Setup::DEADLINE + SLACK {
            self.violation(&format!("{name} took {took} ms"));
        }
        if self.setup.is_calm() {
            if took > CALM {
                self.violation(&format!("{name} took {took} ms although nothing fails"));
            }
            if let Some(Err(error)) = &outcome
                && matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Other)
            {
                self.violation(&format!("{name} failed although nothing fails: {error}"));
            }
        }
        if let Some(Err(_)) = &outcome
            && !self.setup.batches // the tasks that send batches send them for many operations
            && cost.refused == cost.writes
            && cost.writes > 2
        {
            self.violation(&format!("a refused save cost {} writes", cost.writes));
        }
        outcome
    }
}
