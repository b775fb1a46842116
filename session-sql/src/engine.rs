//! What the databases share: operations on their way to a connection and back.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use session_core::{Error, ErrorKind, Key, Owner, Result, ttl_millis};
use sqlx::{Connection as _, Pool};
use tokio::time::{sleep, timeout};

use crate::connections::{Connections, no_file};
use crate::dialect::{Connection, Dialect, Page};
use crate::failure::{After, Class, Failure};
use crate::operation::{Operation, Results};

/// How long a statement may take. A connection to a server that has vanished is given up then.
pub(crate) const STATEMENT_TIMEOUT: Duration = Duration::from_secs(4);
/// How long what wrote nothing is repeated.
const PATIENCE: Duration = Duration::from_secs(3);
/// The longest pause before a repetition.
const LONGEST_PAUSE: Duration = Duration::from_millis(100);
/// How many rows one statement of gc removes: it takes about a millisecond.
const GC_CHUNK: i64 = 50;
/// gc then rests this many times as long as the statement took: requests come first.
const GC_REST: u32 = 7;
const LONGEST_REST: Duration = Duration::from_millis(20);
/// Where the disk is slow, gc leaves the rest to the next one after this time.
const GC_PATIENCE: Duration = Duration::from_secs(2);

/// One table in one database. Cheap to clone.
pub(crate) struct Engine<D: Dialect> {
    dialect: Arc<D>,
    connections: Arc<Connections<D::Database>>,
    /// Whether records survive that the database is closed.
    durable: bool,
}

/// What is done on one connection without a pause.
trait Work<D: Dialect>: Sync {
    type Output;

    const WRITES: bool;

    fn run(
        &self,
        dialect: &D,
        connection: &mut Connection<D>,
    ) -> impl Future<Output = sqlx::Result<Self::Output>> + Send;
}

struct Batch<'a, O>(&'a [&'a O]);

impl<D: Dialect, O: Operation<D>> Work<D> for Batch<'_, O> {
    type Output = Vec<Result<O::Reply>>;

    const WRITES: bool = O::WRITES;

    async fn run(&self, dialect: &D, connection: &mut Connection<D>) -> Results<O::Reply> {
        O::run(dialect, connection, self.0).await
    }
}

/// Removes at most this many expired records.
struct Sweep(i64);

impl<D: Dialect> Work<D> for Sweep {
    type Output = u64;

    const WRITES: bool = true;

    async fn run(&self, dialect: &D, connection: &mut Connection<D>) -> sqlx::Result<u64> {
        dialect.gc(connection, self.0).await
    }
}

/// The next keys of an owner.
struct Owned<'a>(Page<'a>);

impl<D: Dialect> Work<D> for Owned<'_> {
    type Output = Vec<Key>;

    const WRITES: bool = false;

    async fn run(&self, dialect: &D, connection: &mut Connection<D>) -> sqlx::Result<Vec<Key>> {
        dialect.owned(connection, self.0).await
    }
}

impl<D: Dialect> Engine<D> {
    pub(crate) fn new(
        dialect: D,
        connections: Arc<Connections<D::Database>>,
        durable: bool,
    ) -> Self {
        Self { dialect: Arc::new(dialect), connections, durable }
    }

    /// A pool that the application has.
    pub(crate) fn shared(dialect: D, pool: Pool<D::Database>, durable: bool) -> Self {
        let connections = Connections::shared(pool, D::LOCAL, D::classify);
        Self::new(dialect, Arc::new(connections), durable)
    }

    /// The same database with the statements on another table.
    pub(crate) fn with_table(&self, dialect: D) -> Self {
        let dialect = dialect.with_settings_of(&self.dialect);
        Self::new(dialect, Arc::clone(&self.connections), self.durable)
    }

    pub(crate) fn dialect(&self) -> &D {
        &self.dialect
    }

    pub(crate) fn connections(&self) -> &Connections<D::Database> {
        &self.connections
    }

    pub(crate) fn durable(&self) -> bool {
        self.durable
    }

    pub(crate) async fn one<O: Operation<D>>(&self, item: &O) -> Result<O::Reply> {
        let results = self.many(std::slice::from_ref(item)).await;
        results.into_iter().next().expect("one result for one item")
    }

    /// One result for each item, in their order.
    pub(crate) async fn many<O: Operation<D>>(&self, items: &[O]) -> Vec<Result<O::Reply>> {
        let mut results: Vec<Option<Result<O::Reply>>> = items.iter().map(|_| None).collect();
        let mut places = Vec::with_capacity(items.len());
        for (place, item) in items.iter().enumerate() {
            match item.ttl().map(ttl_millis).transpose() {
                Ok(_) => places.push(place),
                Err(error) => results[place] = Some(Err(error)),
            }
        }
        places.sort_unstable_by_key(|place| items[*place].key());
        let sorted: Vec<&O> = places.iter().map(|place| &items[*place]).collect();
        if !sorted.is_empty() {
            for (place, result) in places.into_iter().zip(self.carry_out(&sorted).await) {
                results[place] = Some(result);
            }
        }
        let results = results.into_iter().map(|result| result.expect("each item has a result"));
        results.map(|result| named::<D, _>(O::NAME, result)).collect()
    }

    /// When one item may be the reason why the statement failed, each is carried out alone. If it is not
    /// certain that the batch wrote nothing, no later error of an item is.
    async fn carry_out<O: Operation<D>>(&self, items: &[&O]) -> Vec<Result<O::Reply>> {
        let failure = match self.attempt(&Batch(items)).await {
            Ok(results) => return results,
            Err(failure) => failure,
        };
        if items.len() == 1 || failure.class.concerns_all() {
            return items.iter().map(|_| Err(failure.error())).collect();
        }
        let in_doubt = O::WRITES && !failure.error().nothing_was_written();
        let mut results = Vec::with_capacity(items.len());
        for item in items {
            let alone = match self.attempt(&Batch(&[*item])).await {
                Ok(alone) => alone,
                Err(failure) => vec![Err(failure.error())],
            };
            let checked = alone.into_iter().map(|result| match result {
                Err(error) if in_doubt => Err(after_doubt(error)),
                result => result,
            });
            results.extend(checked);
        }
        results
    }

    pub(crate) async fn gc(&self, limit: usize) -> Result<u64> {
        let mut removed = 0;
        let mut left = i64::try_from(limit).unwrap_or(i64::MAX);
        let started = Instant::now();
        while left > 0 && started.elapsed() < GC_PATIENCE {
            let chunk = left.min(GC_CHUNK);
            let begun = Instant::now();
            let swept = self.attempt(&Sweep(chunk)).await;
            let gone = named::<D, _>("gc", swept.map_err(|failure| failure.error()))?;
            removed += gone;
            if gone < chunk.unsigned_abs() {
                break;
            }
            left -= chunk;
            sleep(LONGEST_REST.min(begun.elapsed() * GC_REST)).await;
        }
        Ok(removed)
    }

    pub(crate) async fn keys_of(
        &self,
        owner: &Owner,
        after: Option<&Key>,
        limit: usize,
    ) -> Result<Vec<Key>> {
        let after = after.map_or(&[][..], |key| key.as_bytes());
        let limit = i64::try_from(limit).unwrap_or(i64::MAX);
        let found = self.attempt(&Owned((owner.as_str().as_bytes(), after, limit))).await;
        named::<D, _>("keys_of", found.map_err(|failure| failure.error()))
    }

    /// Not bounded in time: an index on a large table takes as long as it takes.
    pub(crate) async fn migrate(&self) -> Result<()> {
        let migrate = async {
            let mut lease =
                self.connections.take(true).await.map_err(|error| not_sent::<D>(&error))?;
            let outcome =
                self.dialect.migrate(lease.connection()).await.map_err(|error| failed::<D>(&error));
            lease.ends(match &outcome {
                Ok(()) => After::Keep,
                Err(failure) => failure.class.after(D::LOCAL),
            });
            outcome
        };
        named::<D, _>("migrate", migrate.await.map_err(|failure| failure.error()))
    }

    /// Repeats what wrote nothing, where that helps, after a growing pause.
    async fn attempt<W: Work<D>>(&self, work: &W) -> Result<W::Output, Failure> {
        let started = Instant::now();
        let mut repeats = 0;
        loop {
            let failure = match self.execute(work).await {
                Ok(output) => return Ok(output),
                Err(failure) => failure,
            };
            let spent = started.elapsed();
            let again = match failure.class {
                // What may have been carried out already is not repeated.
                class if W::WRITES && !class.is_refusal() => false,
                Class::Aborted | Class::Broken | Class::NoStatement => true,
                Class::Stale => repeats == 0,
                _ => false,
            };
            if !again || spent > PATIENCE {
                return Err(failure);
            }
            if repeats > 0 {
                // The odd nanoseconds keep two that met each other apart.
                let pause = Duration::from_millis(1 << repeats.min(7)).min(LONGEST_PAUSE);
                sleep(pause / 2 + pause * (spent.subsec_nanos() % 64) / 128).await;
            }
            repeats += 1;
        }
    }

    /// The connection is given back before anybody gets to know the outcome.
    async fn execute<W: Work<D>>(&self, work: &W) -> Result<W::Output, Failure> {
        let mut lease =
            self.connections.take(W::WRITES).await.map_err(|error| not_sent::<D>(&error))?;
        let run = self.run(work, lease.connection());
        let outcome = if D::LOCAL {
            // Nothing gets lost on the way, and the driver bounds the waits.
            let outcome = run.await.map_err(|error| failed::<D>(&error));
            match W::WRITES && !self.connections.is_in_place() {
                true => Err(failed::<D>(&no_file())),
                false => outcome,
            }
        } else {
            match timeout(STATEMENT_TIMEOUT, run).await {
                Ok(outcome) => outcome.map_err(|error| failed::<D>(&error)),
                Err(_) => Err(Failure::timed_out()),
            }
        };
        lease.ends(match &outcome {
            Ok(_) => After::Keep,
            Err(failure) => failure.class.after(D::LOCAL),
        });
        drop(lease);
        self.connections.give_way().await;
        outcome
    }
}

impl<D: Dialect> Engine<D> {
    async fn run<W: Work<D>>(
        &self,
        work: &W,
        connection: &mut Connection<D>,
    ) -> sqlx::Result<W::Output> {
        if !self.dialect.has_pooler() {
            return work.run(&self.dialect, connection).await;
        }
        let mut transaction = connection.begin().await?;
        match work.run(&self.dialect, &mut transaction).await {
            Ok(output) => transaction.commit().await.map(|()| output),
            Err(error) => {
                // It may be broken.
                let _ = transaction.rollback().await;
                Err(error)
            }
        }
    }
}

impl<D: Dialect> Clone for Engine<D> {
    fn clone(&self) -> Self {
        Self {
            dialect: Arc::clone(&self.dialect),
            connections: Arc::clone(&self.connections),
            durable: self.durable,
        }
    }
}

impl<D: Dialect> fmt::Debug for Engine<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(D::NAME)
            .field("dialect", &self.dialect)
            .field("durable", &self.durable)
            .finish_non_exhaustive()
    }
}

pub(crate) fn named<D: Dialect, T>(operation: &'static str, outcome: Result<T>) -> Result<T> {
    outcome.map_err(|error| error.with_operation(operation).with_backend(D::NAME))
}

/// The error of an item that an attempt before this one may have written: a record that is in the way
/// may be its own.
fn after_doubt(error: Error) -> Error {
    match error.kind() {
        ErrorKind::Gone | ErrorKind::TooLarge => error,
        _ if !error.nothing_was_written() => error,
        _ => {
            Error::unavailable("the outcome of an earlier attempt is not known").with_source(error)
        }
    }
}

fn failed<D: Dialect>(error: &sqlx::Error) -> Failure {
    Failure::new(error, D::classify)
}

pub(crate) fn not_sent<D: Dialect>(error: &sqlx::Error) -> Failure {
    Failure::not_sent(error, D::classify)
}
