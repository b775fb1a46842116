//! The store.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use session_core::{
    Backend, BatchBackend, BatchLimits, Capabilities, CreateItem, DestroyItem, Error, Key, Loaded,
    Owner, OwnerIndex, Record, Result, Revision, TouchItem, UpdateItem, Write, async_trait,
};

use crate::confirm::Confirming;
use crate::exchange::Exchange;
use crate::failure::NAME;
use crate::layout;
use crate::link::Link;
use crate::operations::{self, Destroyed};
use crate::owners::{self, Entry, Mode};
use crate::source::{DEFAULT_TIMEOUT, Source};

/// Eight operations at a time gain nothing by waiting for each other. 64 keys keep the server busy for
/// about 0.1 ms, and what is larger than 256 KiB takes long enough by itself.
const LIMITS: BatchLimits = BatchLimits { alone: 8, in_flight: 4, items: 64, bytes: 256 * 1024 };

/// Sessions in Redis. See the [crate's documentation](crate) for the layout and what it promises.
///
/// Cheap to clone; clones share their connections. Each setter takes the backend and returns it.
#[derive(Clone)]
pub struct RedisBackend {
    pub(crate) prefix: Arc<str>,
    pub(crate) timeout: Duration,
    pub(crate) source: Arc<Source>,
    pub(crate) links: Arc<[Arc<Link>]>,
    /// The link of the next operation.
    pub(crate) next: Arc<AtomicUsize>,
    /// Whether each command may name keys of one slot only.
    pub(crate) is_cluster: bool,
    pub(crate) confirming: Option<Confirming>,
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend").field("prefix", &self.prefix).finish_non_exhaustive()
    }
}

impl RedisBackend {
    /// What the name of every key begins with; the default is `session:`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl AsRef<str>) -> Self {
        self.prefix = prefix.as_ref().into();
        self
    }

    /// How many connections to use (default and minimum: 1). One serves hundreds of requests at a time.
    /// The others are opened when they are first needed. A connection that the application gave is always
    /// the only one.
    #[must_use]
    pub fn connections(mut self, number: usize) -> Self {
        if !matches!(*self.source, Source::Given { .. }) {
            let new = std::iter::repeat_with(|| Arc::new(Link::new(Arc::clone(&self.source))));
            self.links = self.links.iter().cloned().chain(new).take(number.max(1)).collect();
        }
        self
    }

    /// How long an operation waits for Redis, connecting included, until it is `Unavailable` (default:
    /// 2 s). A confirmed logout waits for its confirmation in addition. Keep it well below the handle's
    /// deadline ([`Config::deadline`](session_core::Config::deadline), 5 s): the handle needs what is
    /// left of that to find out what became of a write whose answer was lost.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// Makes a logout wait until this many replicas have it too (`WAIT`), for `timeout` at most. This
    /// holds for every `destroy`, unless it finds another revision than the expected one and destroys
    /// nothing. A batch waits once.
    ///
    /// Replication lags: without this, a failover may bring back a session that was destroyed a
    /// moment before. If it is not confirmed in time, `destroy` returns an `Unavailable` error whose
    /// source is [`NotConfirmed`](crate::NotConfirmed); the master **has** destroyed the session then.
    /// Destroying it again asks for the confirmation again, although the session is not there any more.
    ///
    /// It uses a connection of its own, because what follows a `WAIT` on a connection waits as well. On
    /// a connection that the application gave it delays the other operations, and that connection has
    /// to lead to a single node.
    #[must_use]
    pub fn confirm_destroy(mut self, replicas: u32, timeout: Duration) -> Self {
        let patience = timeout.saturating_add(DEFAULT_TIMEOUT);
        let link = Arc::new(Link::patient(Arc::clone(&self.source), patience));
        self.confirming = Some(Confirming { link, replicas, timeout });
        self
    }

    /// Writes the entries of the records that have an owner; `None` if none has.
    async fn entered<I: Owned + Clone>(&self, items: &[I]) -> Option<Entered<I>> {
        let entries: Vec<_> = items.iter().filter_map(Owned::entry).collect();
        if entries.is_empty() {
            return None;
        }
        let mut outcomes = self.enter(Mode::Prolong, &entries).await.into_iter();
        let mut entered = Entered { sent: Vec::new(), long: Vec::new(), refused: Vec::new() };
        for (place, item) in items.iter().enumerate() {
            let outcome = item.entry().and_then(|_| outcomes.next()).unwrap_or(Ok(false));
            match outcome {
                Ok(is_long) => {
                    entered.sent.push(item.clone());
                    entered.long.push(is_long);
                }
                Err(error) => entered.refused.push((place, error)),
            }
        }
        Some(entered)
    }

    /// After the writes: shortens the entries that end later than their records.
    async fn written<I: Owned>(
        &self,
        entered: Entered<I>,
        written: Vec<Result<()>>,
    ) -> Vec<Result<()>> {
        let items = entered.sent.iter().zip(&entered.long).zip(&written);
        let longer = items.filter(|((_, is_long), written)| **is_long && written.is_ok());
        let longer: Vec<_> = longer.filter_map(|((item, _), _)| item.entry()).collect();
        if !longer.is_empty() {
            // An entry that remains too long does no harm.
            drop(self.enter(Mode::Set, &longer).await);
        }
        operations::merge(written, entered.refused)
    }

    async fn enter(&self, mode: Mode, entries: &[Entry<'_>]) -> Vec<Result<bool>> {
        // In a cluster each set may be elsewhere.
        let size = if self.is_cluster { 1 } else { entries.len() };
        let mut results = Vec::with_capacity(entries.len());
        for entries in entries.chunks(size) {
            let exchange = self.exchange();
            results
                .extend(owners::enter(exchange, &self.prefix, self.timeout, mode, entries).await);
        }
        results
    }

    fn exchange(&self) -> Exchange<'_> {
        let link = match &self.links[..] {
            [link] => link,
            links => &links[self.next.fetch_add(1, Ordering::Relaxed) % links.len()],
        };
        Exchange::new(link, self.timeout)
    }
}

#[async_trait]
impl Backend for RedisBackend {
    fn name(&self) -> &'static str {
        NAME
    }

    /// As durable as the server is: the sessions outlive this process.
    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: true, expires_natively: true }
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        Some(self)
    }

    fn batch(&self) -> Option<&dyn BatchBackend> {
        (!self.is_cluster).then_some(self)
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        only(self.load_many(&[*key]).await)
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let (key, record) = (*key, record.clone());
        only(match write {
            Write::Create { ttl } => self.create_many(&[CreateItem { key, record, ttl }]).await,
            Write::Update(update) => self.update_many(&[UpdateItem { key, record, update }]).await,
        })
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        only(self.touch_many(&[TouchItem { key: *key, expected, ttl }]).await)
    }

    async fn destroy(&self, key: &Key, only_of: Option<Revision>) -> Result<bool> {
        only(self.destroy_many(&[DestroyItem { key: *key, only: only_of }]).await)
    }

    /// Nothing: Redis removes what has expired by itself.
    async fn gc(&self, _limit: usize) -> Result<u64> {
        Ok(0)
    }
}

#[async_trait]
impl BatchBackend for RedisBackend {
    fn limits(&self) -> BatchLimits {
        LIMITS
    }

    async fn load_many(&self, keys: &[Key]) -> Vec<Result<Option<Loaded>>> {
        let names: Vec<_> = keys.iter().map(|key| layout::name(&self.prefix, key)).collect();
        operations::load(self.exchange(), &names).await
    }

    async fn create_many(&self, items: &[CreateItem]) -> Vec<Result<()>> {
        let Some(entered) = self.entered(items).await else {
            return operations::create(self.exchange(), &self.prefix, items).await;
        };
        let written = operations::create(self.exchange(), &self.prefix, &entered.sent).await;
        self.written(entered, written).await
    }

    async fn update_many(&self, items: &[UpdateItem]) -> Vec<Result<()>> {
        let Some(entered) = self.entered(items).await else {
            return operations::update(self.exchange(), &self.prefix, items).await;
        };
        let written = operations::update(self.exchange(), &self.prefix, &entered.sent).await;
        self.written(entered, written).await
    }

    async fn touch_many(&self, items: &[TouchItem]) -> Vec<Result<()>> {
        operations::touch(self.exchange(), &self.prefix, items).await
    }

    async fn destroy_many(&self, items: &[DestroyItem]) -> Vec<Result<bool>> {
        let since = Instant::now();
        let mut results = operations::destroy(self.exchange(), &self.prefix, items).await;
        if let Some(confirming) = &self.confirming {
            let left = self.timeout.saturating_sub(since.elapsed());
            // In a box, or every destruction would carry the room that this takes.
            Box::pin(confirming.confirm(&self.prefix, items, &mut results, left)).await;
        }
        results.into_iter().map(|result| Ok(result? == Destroyed::Removed)).collect()
    }
}

#[async_trait]
impl OwnerIndex for RedisBackend {
    /// Each page reads all keys of the owner.
    async fn keys_of(&self, owner: &Owner, after: Option<&Key>, limit: usize) -> Result<Vec<Key>> {
        let keys = owners::keys(self.exchange(), &self.prefix, self.timeout, owner).await?;
        let later = keys.into_iter().filter(|key| after.is_none_or(|after| after < key));
        Ok(later.take(limit).collect())
    }

    async fn prolong(&self, owner: &Owner, key: &Key, ttl: Duration) -> Result<()> {
        let entry = Entry { owner, key, ttl: operations::expiry(ttl)? };
        only(self.enter(Mode::Prolong, &[entry]).await).map(drop)
    }

    async fn forget(&self, owner: &Owner, key: &Key) -> Result<()> {
        owners::remove(self.exchange(), &self.prefix, owner, key).await
    }
}

/// What may need an entry in the index of owners.
trait Owned {
    /// The entry of a record that has an owner and a new life. An update that keeps the life needs none: the
    /// entry is there.
    fn entry(&self) -> Option<Entry<'_>>;
}

impl Owned for CreateItem {
    fn entry(&self) -> Option<Entry<'_>> {
        let (owner, ttl) = (self.record.owner.as_ref()?, operations::expiry(self.ttl).ok()?);
        Some(Entry { owner, key: &self.key, ttl })
    }
}

impl Owned for UpdateItem {
    fn entry(&self) -> Option<Entry<'_>> {
        let ttl = operations::expiry(self.update.ttl?).ok()?;
        Some(Entry { owner: self.record.owner.as_ref()?, key: &self.key, ttl })
    }
}

/// The writes whose entries are there.
struct Entered<I> {
    sent: Vec<I>,
    /// Whether the entry of each ends later than its record will.
    long: Vec<bool>,
    refused: Vec<(usize, Error)>,
}

/// The result of the only key.
fn only<T>(mut results: Vec<Result<T>>) -> Result<T> {
    results.pop().expect("one result for each key")
}
