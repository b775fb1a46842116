//! What the databases share: operations on their way through queue, connection and statement.

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::{Error, Key, Loaded, Record, Result, Revision, Update, Write, ttl_millis};
use tokio::time::timeout;

use crate::connections::{Connections, Lease};
use crate::detached::Detached;
use crate::dialect::{Birth, Change, Dialect, Extension};
use crate::fault::{Class, Fault};
use crate::kinds::{Creates, Destroys, End, Kind, Loads, Sweep, Sweeps, Touches, Updates};
use crate::queue::{Queue, Turn, Waiter};

/// How long a statement may take. A connection whose server has vanished is given up then.
const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);
/// How often a statement is repeated that the server ended in favour of another.
const REPEATS: u32 = 3;
/// How many batches of one sort of operations are under way at once: the next one is put together
/// while the database works on the other. Two were the fastest of one to four (README).
pub(crate) const LANES: usize = 2;
/// How many rows one statement of gc removes: it takes a millisecond or so.
const GC_CHUNK: i64 = 50;
/// How many times as long as such a statement took gc then rests, but not longer than so: users come
/// first (README).
const GC_REST: u32 = 7;
const LONGEST_REST: Duration = Duration::from_millis(20);
/// Where the disk is slow, gc leaves the rest to the next one after so long.
const GC_PATIENCE: Duration = Duration::from_secs(2);

/// One table in one database. Cheap to clone.
pub(crate) struct Engine<D: Dialect> {
    core: Arc<Core<D>>,
    settings: Settings,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct Settings {
    pub(crate) group_commit: bool,
    /// Whether records survive that the database is closed.
    pub(crate) durable: bool,
}

pub(crate) struct Core<D: Dialect> {
    dialect: D,
    connections: Arc<Connections<D::Database>>,
    pub(crate) loads: Queue<Key, Option<Loaded>>,
    pub(crate) creates: Queue<Birth, ()>,
    pub(crate) updates: Queue<Change, ()>,
    pub(crate) touches: Queue<Extension, ()>,
    pub(crate) destroys: Queue<End, bool>,
    pub(crate) sweeps: Queue<Sweep, u64>,
}

impl<D: Dialect> Engine<D> {
    pub(crate) fn new(
        dialect: D,
        connections: Arc<Connections<D::Database>>,
        settings: Settings,
    ) -> Self {
        // With a lane for everyone nobody ever waits for a batch.
        let lanes = if settings.group_commit { LANES } else { usize::MAX };
        let core = Core {
            dialect,
            connections,
            loads: Queue::new(lanes),
            creates: Queue::new(lanes),
            updates: Queue::new(lanes),
            touches: Queue::new(lanes),
            destroys: Queue::new(usize::MAX),
            sweeps: Queue::new(usize::MAX),
        };
        Self { core: Arc::new(core), settings }
    }

    pub(crate) fn dialect(&self) -> &D {
        &self.core.dialect
    }

    pub(crate) fn connections(&self) -> &Arc<Connections<D::Database>> {
        &self.core.connections
    }

    pub(crate) fn settings(&self) -> Settings {
        self.settings
    }

    pub(crate) async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        named::<D, _>("load", submit::<D, Loads>(&self.core, *key)).await
    }

    pub(crate) async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        named::<D, _>("save", async {
            let (key, record) = (*key, record.clone());
            match write {
                Write::Create { ttl } => {
                    let ttl = millis(ttl)?;
                    submit::<D, Creates>(&self.core, Birth { key, record, ttl }).await
                }
                Write::Update(Update { expected, ttl }) => {
                    let ttl = ttl.map(millis).transpose()?;
                    let change = Change { key, record, expected, ttl };
                    submit::<D, Updates>(&self.core, change).await
                }
            }
        })
        .await
    }

    pub(crate) async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        named::<D, _>("touch", async {
            let ttl = millis(ttl)?;
            submit::<D, Touches>(&self.core, Extension { key: *key, expected, ttl }).await
        })
        .await
    }

    pub(crate) async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        let end = End { key: *key, only };
        named::<D, _>("destroy", submit::<D, Destroys>(&self.core, end)).await
    }

    pub(crate) async fn gc(&self, limit: usize) -> Result<u64> {
        named::<D, _>("gc", async {
            let mut removed = 0;
            let mut left = i64::try_from(limit).unwrap_or(i64::MAX);
            let started = Instant::now();
            while left > 0 && started.elapsed() < GC_PATIENCE {
                let chunk = left.min(GC_CHUNK);
                let begun = Instant::now();
                let gone = submit::<D, Sweeps>(&self.core, Sweep(chunk)).await?;
                removed += gone;
                if gone < chunk.unsigned_abs() {
                    break;
                }
                left -= chunk;
                tokio::time::sleep(LONGEST_REST.min(begun.elapsed() * GC_REST)).await;
            }
            Ok(removed)
        })
        .await
    }

    /// Not bounded in time: an index on a big table takes as long as it takes.
    pub(crate) async fn migrate(&self) -> Result<()> {
        let core = Arc::clone(&self.core);
        let migrated = Detached::new(async move {
            let mut lease = core.connections.lease(true).await?;
            core.dialect.migrate(lease.connection()).await?;
            lease.settled();
            Ok(())
        });
        named::<D, _>("migrate", async {
            migrated.await.map_err(|error| fault::<D>(error).error())
        })
        .await
    }

    /// Proves that the database can be reached.
    pub(crate) async fn check(&self) -> Result<()> {
        let leased = self.core.connections.lease(false).await;
        let checked = leased.map(drop).map_err(|error| fault::<D>(error).not_sent().error());
        named::<D, _>("connect", async { checked }).await
    }
}

impl<D: Dialect> Clone for Engine<D> {
    fn clone(&self) -> Self {
        Self { core: Arc::clone(&self.core), settings: self.settings }
    }
}

impl<D: Dialect> fmt::Debug for Engine<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(D::NAME)
            .field("dialect", &self.core.dialect)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

async fn named<D: Dialect, T>(
    operation: &'static str,
    outcome: impl Future<Output = Result<T>>,
) -> Result<T> {
    outcome.await.map_err(|error| error.with_operation(operation).with_backend(D::NAME))
}

fn millis(ttl: Duration) -> Result<i64> {
    Ok(i64::try_from(ttl_millis(ttl)?).expect("MAX_TTL has far less than 2^63 ms"))
}

fn fault<D: Dialect>(error: sqlx::Error) -> Fault {
    Fault::new(error, D::classify)
}

/// Carries an item out: at once on the caller's task when a lane is free, else with those who wait.
async fn submit<D: Dialect, K: Kind<D>>(core: &Arc<Core<D>>, item: K::Item) -> Result<K::Reply> {
    match K::queue(core).enter(item) {
        Turn::Now(item) => Detached::new(lead::<D, K>(Arc::clone(core), item)).await,
        Turn::Later(reply) => {
            reply.await.unwrap_or_else(|_| Err(Error::unavailable("the batch was broken off")))
        }
    }
}

async fn lead<D: Dialect, K: Kind<D>>(core: Arc<Core<D>>, item: K::Item) -> Result<K::Reply> {
    let mut lane = Lane::<D, K>::new(core);
    let reply = lane.carry_out(vec![item]).await.remove(0);
    if let Some(batch) = K::queue(&lane.core).next_batch() {
        // The caller has its answer; the others' work is not its business.
        tokio::spawn(lane.go_on(batch));
    } else {
        lane.freed = true;
    }
    reply
}

/// One of the queue's lanes, held.
struct Lane<D: Dialect, K: Kind<D>> {
    core: Arc<Core<D>>,
    lease: Option<Lease<D::Database>>,
    freed: bool,
    kind: PhantomData<fn() -> K>,
}

impl<D: Dialect, K: Kind<D>> Lane<D, K> {
    fn new(core: Arc<Core<D>>) -> Self {
        Self { core, lease: None, freed: false, kind: PhantomData }
    }

    async fn go_on(mut self, mut batch: Vec<Waiter<K::Item, K::Reply>>) {
        loop {
            let (items, replies): (Vec<_>, Vec<_>) =
                batch.into_iter().map(|waiter| (waiter.item, waiter.reply)).unzip();
            let outcomes = self.carry_out(items).await;
            for (reply, outcome) in replies.into_iter().zip(outcomes) {
                // Whoever went away does not want to know.
                let _ = reply.send(outcome);
            }
            // Those who just got an answer often have a next question: let them ask it first.
            tokio::task::yield_now().await;
            match K::queue(&self.core).next_batch() {
                Some(next) => batch = next,
                None => break,
            }
        }
        self.freed = true;
    }

    /// As many outcomes as items, in their order. An error of the statement that may be the fault
    /// of one item only is not the others': they are carried out one by one.
    async fn carry_out(&mut self, items: Vec<K::Item>) -> Vec<Result<K::Reply>> {
        match self.attempt(&items).await {
            Ok(replies) => replies,
            Err(fault) if items.len() == 1 || fault.class.concerns_all() => {
                items.iter().map(|_| Err(fault.error())).collect()
            }
            Err(_) => {
                let mut outcomes = Vec::with_capacity(items.len());
                for item in items {
                    let outcome = self.attempt(&[item]).await;
                    outcomes.push(
                        outcome.map_or_else(
                            |fault| Err(fault.error()),
                            |mut replies| replies.remove(0),
                        ),
                    );
                }
                outcomes
            }
        }
    }

    async fn attempt(&mut self, items: &[K::Item]) -> Result<Vec<Result<K::Reply>>, Fault> {
        let mut repeats = 0;
        loop {
            let fault = match self.execute(items).await {
                Ok(replies) => return Ok(replies),
                Err(fault) => fault,
            };
            let again = match fault.class {
                Class::Aborted => repeats < REPEATS,
                // A read harms nobody.
                Class::Lost => !K::WRITES && repeats == 0,
                _ => false,
            };
            if !again {
                return Err(fault);
            }
            repeats += 1;
        }
    }

    async fn execute(&mut self, items: &[K::Item]) -> Result<Vec<Result<K::Reply>>, Fault> {
        let mut lease = match self.lease.take() {
            Some(lease) => lease,
            None => {
                let leased = self.core.connections.lease(K::WRITES).await;
                leased.map_err(|error| fault::<D>(error).not_sent())?
            }
        };
        let run = K::run(&self.core.dialect, lease.connection(), items);
        let outcome = if D::ONE_WRITER {
            // Inside the process nothing gets lost on the way, and the driver bounds the waits.
            Ok(run.await)
        } else {
            timeout(STATEMENT_TIMEOUT, run).await
        };
        match outcome {
            Ok(Ok(replies)) => {
                lease.settled();
                self.lease = (!lease.is_due()).then_some(lease);
                Ok(replies)
            }
            Ok(Err(error)) => {
                let fault = fault::<D>(error);
                match fault.class {
                    Class::Lost | Class::Untrusted => lease.lost(),
                    // A server closes the connection on which something too large came.
                    Class::TooLarge if !D::ONE_WRITER => drop(lease),
                    _ => {
                        lease.settled();
                        self.lease = (!lease.is_due()).then_some(lease);
                    }
                }
                Err(fault)
            }
            Err(_) => {
                lease.lost();
                Err(Fault::timed_out())
            }
        }
    }
}

impl<D: Dialect, K: Kind<D>> Drop for Lane<D, K> {
    fn drop(&mut self) {
        if !self.freed {
            K::queue(&self.core).abandon_lane();
        }
    }
}
