//! The store.

use std::fmt;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::ConnectionLike;
use session_core::{
    Backend, Capabilities, Error, Key, Loaded, Record, Result, Revision, Update, Write,
    async_trait, rotate_by_steps, ttl_millis,
};

use crate::change::{self, Action, Change, Verdict};
use crate::guesses::{Guess, Guesses};
use crate::layout;
use crate::link::Link;
use crate::load::Load;
use crate::operations::{self, Confirmation, Lane};
use crate::server::ServerInfo;
use crate::sharing::Sharing;
use crate::source::Source;

/// Shorter than the handle's own deadline (5 s), so that there is time to ask again.
const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
/// A silent node of a cluster holds up connecting, but must not prevent it.
const CLUSTER_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_PREFIX: &str = "session:";

/// Sessions in Redis. See the [crate's documentation](crate) for the layout and what it promises.
///
/// Clones share connections and settings are made before cloning: each setter takes and gives back
/// the backend.
#[derive(Clone)]
pub struct RedisBackend {
    prefix: Arc<str>,
    timeout: Duration,
    source: Arc<Source>,
    atomic_rotation: bool,
    channels: Arc<[Channel]>,
    confirming: Option<Confirming>,
    guesses: Arc<Guesses>,
}

/// A connection, and the operations that share it.
#[derive(Debug)]
struct Channel {
    link: Arc<Link>,
    loads: Sharing<Load>,
    changes: Sharing<Change>,
}

/// `WAIT` holds up everything behind it, hence a connection of its own.
#[derive(Debug, Clone)]
struct Confirming {
    link: Arc<Link>,
    confirmation: Confirmation,
}

impl RedisBackend {
    /// Connects to what a URL names, and looks whether it can keep sessions. Afterwards connections
    /// come back by themselves.
    ///
    /// | URL | what |
    /// |---|---|
    /// | `redis://[user:password@]host[:port][/database]` | one node, in the clear |
    /// | `rediss://…` | the same by TLS (feature `tls`, on by default) |
    /// | `unix:///path/to/socket` | one node on this machine |
    /// | `redis+cluster://[user:password@]host:port[,host:port]…` | a cluster (feature `cluster`), by any of its nodes |
    /// | `redis+sentinel://[user:password@]host:port[,host:port]…/service[/database]` | the master that Sentinels name (feature `sentinel`) |
    ///
    /// The last two have a `rediss+` form.
    ///
    /// It warns by `tracing` when the server has a `maxmemory-policy` that may throw sessions away.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL, user, password or database that can't be used; `Unavailable` when
    /// nothing answers within 2 s, or no node of a cluster within 5 s.
    pub async fn connect(url: &str) -> Result<Self> {
        let source = Source::of_url(url, DEFAULT_TIMEOUT)?;
        Self::open(source).await.map_err(|error| error.with_operation("connect"))
    }

    /// Uses a connection that the application already has: a
    /// [`MultiplexedConnection`](redis::aio::MultiplexedConnection), a connection manager, or a
    /// cluster connection. It should speak RESP3 or RESP2, have the right database, and not be used
    /// for commands that block.
    ///
    /// Reconnecting is the connection's own business then: a plain `MultiplexedConnection` never
    /// does. So is repeating: build a cluster connection with `retries(0)`, or a write whose answer
    /// was lost may be carried out twice. While a slot moves, such a connection does not follow to the
    /// new node: keys that have moved ahead of their slot are `Unavailable` until it has moved.
    ///
    /// It must lead to masters: a cluster connection that reads from replicas
    /// (`read_from_replicas`, or another routing strategy) loads what is out of date, so that a logout
    /// seems undone and an update meets conflicts.
    ///
    /// Where the user may not ask for `INFO`, it is taken for one to a cluster: every command names one
    /// key, and a rotation goes by steps.
    ///
    /// # Errors
    /// `Unavailable` when nothing answers within 2 s.
    pub async fn from_connection<C>(connection: C) -> Result<Self>
    where
        C: ConnectionLike + Clone + Send + Sync + 'static,
    {
        Self::open(Source::given(connection)).await.map_err(|error| error.with_operation("connect"))
    }

    async fn open(source: Source) -> Result<Self> {
        let source = Arc::new(source);
        let link = Arc::new(Link::new(Arc::clone(&source)));
        let limit = if source.is_cluster() { CLUSTER_CONNECT_TIMEOUT } else { DEFAULT_TIMEOUT };
        let info = ServerInfo::parse(&link.info(limit).await?);
        if let Some(policy) = &info.evicts_by {
            tracing::warn!(
                policy,
                "this Redis has a memory limit and evicts keys to stay below it: sessions may \
                 disappear before they expire. Set maxmemory-policy to noeviction"
            );
        }
        if info.is_silent {
            tracing::warn!(
                "this Redis refuses INFO: whether it evicts keys, and with them sessions, is unknown. \
                 Allow the user +info, or see to maxmemory-policy yourself"
            );
        }
        if info.is_cluster && matches!(*source, Source::Node(_)) {
            return Err(Error::invalid_config(
                "this Redis is a node of a cluster: use a redis+cluster:// URL",
            )
            .with_backend(crate::NAME));
        }
        // A connection that the application gave may lead anywhere.
        let may_be_cluster = info.is_silent && matches!(*source, Source::Given { .. });
        if info.is_cluster || may_be_cluster {
            source.note_cluster();
        }
        let is_cluster = info.is_cluster || may_be_cluster || source.is_cluster();
        Ok(Self {
            prefix: DEFAULT_PREFIX.into(),
            timeout: DEFAULT_TIMEOUT,
            channels: [Channel::new(link, !is_cluster)].into(),
            source,
            atomic_rotation: !is_cluster,
            confirming: None,
            guesses: Arc::new(Guesses::new()),
        })
    }

    /// What the name of every key begins with; the default is `session:`.
    #[must_use]
    pub fn prefix(mut self, prefix: impl AsRef<str>) -> Self {
        self.prefix = prefix.as_ref().into();
        self
    }

    /// How many connections to use, at least and by default 1: a single one serves hundreds of
    /// requests at a time. The others are opened when they are first needed. A connection that the
    /// application gave stays the only one.
    #[must_use]
    pub fn connections(mut self, number: usize) -> Self {
        if !matches!(*self.source, Source::Given { .. }) {
            self.channels = self.new_channels(number.max(1));
        }
        self
    }

    /// How long an operation may wait for Redis, connecting included, until it is `Unavailable`; the
    /// default is 2 s. A rotation in a cluster may wait so long for each of its steps, and a confirmed
    /// logout for the confirmation in addition. Keep it well below the handle's own deadline
    /// ([`Config::deadline`](session_core::Config::deadline), 5 s): a write whose answer was lost is
    /// looked up in what is left of that.
    #[must_use]
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        // Who shares a command shares its time limit.
        self.channels = self.new_channels(self.channels.len());
        self
    }

    /// Makes a logout, that is `destroy` without an expected revision, wait until so many replicas
    /// have it too (`WAIT`), at most for `timeout`. What a rotation clears away by revision is not
    /// confirmed: a failover may bring that back under its old id.
    ///
    /// Replication lags: without this, a failover may bring back a session that was destroyed a
    /// moment before. Where it is not confirmed in time, `destroy` is an `Unavailable` error whose
    /// source is [`NotConfirmed`]; the master **has** destroyed the session then, and destroying it
    /// again asks for the confirmation again.
    ///
    /// It uses a connection of its own for that, because what follows a `WAIT` on a connection waits
    /// as well; the destruction itself is never held up by it. On a connection that the application gave it holds up that one, and it needs one to a single
    /// node there.
    #[must_use]
    pub fn confirm_destroy(mut self, replicas: u32, timeout: Duration) -> Self {
        let patience = timeout.saturating_add(DEFAULT_TIMEOUT);
        self.confirming = Some(Confirming {
            link: Arc::new(Link::patient(Arc::clone(&self.source), patience)),
            confirmation: Confirmation { replicas, timeout },
        });
        self
    }

    /// On the connections that there are, and on new ones where those are too few.
    fn new_channels(&self, number: usize) -> Arc<[Channel]> {
        let links = self.channels.iter().map(|channel| Arc::clone(&channel.link));
        links
            .chain(std::iter::repeat_with(|| Arc::new(Link::new(Arc::clone(&self.source)))))
            .take(number)
            .map(|link| Channel::new(link, self.atomic_rotation))
            .collect()
    }

    fn name_of(&self, key: &Key) -> Vec<u8> {
        layout::name(&self.prefix, key)
    }

    /// Operations on one key keep to one connection.
    fn channel(&self, key: &Key) -> &Channel {
        let count = self.channels.len() as u64;
        let index = usize::try_from(key.prefix() % count).unwrap_or_default();
        &self.channels[index]
    }

    fn compare_and_swap(
        &self,
        key: &Key,
        record: &Record,
        Update { expected, ttl }: Update,
    ) -> Result<change::Update> {
        Ok(change::Update {
            expected,
            guess: self.guesses.of(key),
            record: record.clone(),
            life: ttl.map(ttl_millis).transpose()?,
        })
    }

    async fn change(&self, key: &Key, action: Action) -> Result<Verdict> {
        let change = Change { name: self.name_of(key), action };
        let channel = self.channel(key);
        Ok(channel.changes.submit(&channel.link, change, self.timeout).await?)
    }
}

impl Confirming {
    /// Waits for the replicas, and for at most `slack` longer than they may take. Whatever happens
    /// here, the master has destroyed the session.
    async fn confirm(&self, name: &[u8], slack: Duration) -> Result<()> {
        let Confirmation { replicas, timeout } = self.confirmation;
        let lane = Lane::new(&self.link, timeout.saturating_add(slack));
        // Without an answer, none is known to have it.
        let confirmed =
            operations::confirm_destroy(lane, name, self.confirmation).await.unwrap_or_default();
        if confirmed >= replicas {
            return Ok(());
        }
        Err(Error::unavailable(format!(
            "destroyed on the master, but {confirmed} of {replicas} replicas confirmed it within \
             {timeout:?}: a failover may bring the session back"
        ))
        .with_backend(crate::NAME)
        .with_source(NotConfirmed { confirmed, wanted: replicas }))
    }
}

impl Channel {
    fn new(link: Arc<Link>, sharing: bool) -> Self {
        Self { link, loads: Sharing::new(sharing), changes: Sharing::new(sharing) }
    }
}

#[async_trait]
impl Backend for RedisBackend {
    fn name(&self) -> &'static str {
        crate::NAME
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities {
            detects_conflicts: true,
            revocable: true,
            // As durable as the server is; it outlives this process.
            durable: true,
            expires_natively: true,
            rotates_atomically: self.atomic_rotation,
            owner_index: false,
        }
    }

    fn time_limit(&self) -> Option<Duration> {
        Some(self.timeout)
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        let load = Load { name: self.name_of(key) };
        let channel = self.channel(key);
        let found = channel.loads.submit(&channel.link, load, self.timeout).await?;
        Ok(found.map(|found| {
            self.guesses.note(key, Guess::new(found.deadline, found.bytes));
            found.loaded
        }))
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        let action = match write {
            Write::Create { ttl } => {
                Action::Create { record: record.clone(), life: ttl_millis(ttl)? }
            }
            Write::Update(update) => Action::Update(self.compare_and_swap(key, record, update)?),
        };
        self.change(key, action).await?.into_result()
    }

    async fn touch(&self, key: &Key, ttl: Duration) -> Result<()> {
        self.change(key, Action::Touch { life: ttl_millis(ttl)? }).await?.into_result()
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        let started = Instant::now();
        let action = Action::Destroy { only };
        let existed = self.change(key, action).await? == Verdict::Written;
        match &self.confirming {
            // A revision is expected when a rotation takes back or clears away: no logout.
            Some(confirming) if only.is_none() => {
                let name = self.name_of(key);
                let slack = self.timeout.saturating_sub(started.elapsed());
                // In a box, or every destruction would carry the room that this takes.
                Box::pin(confirming.confirm(&name, slack)).await?;
                Ok(existed)
            }
            _ => Ok(existed),
        }
    }

    /// Nothing: Redis removes what has expired by itself.
    async fn gc(&self, _limit: usize) -> Result<u64> {
        Ok(0)
    }

    async fn rotate(&self, old: &Key, new: &Key, record: &Record, write: Update) -> Result<()> {
        if !self.atomic_rotation {
            return rotate_by_steps(self, old, new, record, write).await; // the keys may be on two nodes
        }
        let update = self.compare_and_swap(old, record, write)?;
        let lane = Lane::new(&self.channel(old).link, self.timeout);
        let names = (self.name_of(old), self.name_of(new));
        change::rotate(lane, &names.0, &names.1, &update).await?.into_result()
    }
}

impl fmt::Debug for RedisBackend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisBackend")
            .field("source", &self.source)
            .field("prefix", &self.prefix)
            .field("connections", &self.channels.len())
            .field("timeout", &self.timeout)
            .field("confirming", &self.confirming.as_ref().map(|by| by.confirmation))
            .finish()
    }
}

/// Fewer replicas than demanded confirmed a destruction in time; the master carried it out. The
/// source of the error that `destroy` gives then.
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
