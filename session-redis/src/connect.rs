//! How a store connects, and what it finds out then.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::aio::ConnectionLike;
use session_core::{Error, Result};

use crate::backend::RedisBackend;
use crate::exchange::Exchange;
use crate::failure::NAME;
use crate::link::Link;
use crate::operations;
use crate::server::ServerInfo;
use crate::source::{DEFAULT_TIMEOUT, Provided, Source};

/// A silent node of a cluster holds up connecting, but must not prevent it.
const CLUSTER_CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
const DEFAULT_PREFIX: &str = "session:";

impl RedisBackend {
    /// Connects to what a [URL](crate#connect) names, and looks whether it can keep sessions: its version,
    /// and whether the user may run the commands that sessions need. Afterwards connections come back by
    /// themselves.
    ///
    /// It warns by `tracing` when the server has a `maxmemory-policy` that may throw sessions away.
    ///
    /// # Errors
    /// `InvalidConfig` for a URL, user, password or database that can't be used, for a server older than
    /// 6.2, and for one that does not know a command or refuses it to the user; `Unavailable` when nothing
    /// answers within 2 s, or no node of a cluster within 5 s.
    pub async fn connect(url: &str) -> Result<Self> {
        let source = Source::of_url(url)?;
        Self::open(source).await.map_err(|error| error.with_operation("connect"))
    }

    /// As [`connect`](Self::connect), with a URL from a provider. It is asked again for each new connection, so the
    /// password in it may change while the store is in use. All URLs must name the same data.
    ///
    /// A cluster's driver opens connections to further nodes with the credentials of the last URL.
    ///
    /// # Errors
    /// As for `connect`. An error of the provider is `Unavailable`.
    pub async fn connect_with<F, O, E>(provider: F) -> Result<Self>
    where
        F: Fn() -> O + Send + Sync + 'static,
        O: Future<Output = std::result::Result<String, E>> + Send + 'static,
        E: Into<Box<dyn std::error::Error + Send + Sync>> + 'static,
    {
        let provider = move || -> Provided {
            let url = provider();
            Box::pin(async move { Ok(url.await.map_err(std::io::Error::other)?) })
        };
        let source = Source::provided(Box::new(provider)).await;
        let opened = async { Self::open(source?).await };
        opened.await.map_err(|error| error.with_operation("connect"))
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
    /// key, and nothing is sent in batches.
    ///
    /// # Errors
    /// As for [`connect`](Self::connect).
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
        let begun = Instant::now();
        let info = ServerInfo::parse(&link.info(limit).await?);
        if let Some(version) = &info.too_old {
            let message = format!("this Redis is of version {version}; sessions need 6.2 or later");
            return Err(Error::invalid_config(message).with_backend(NAME));
        }
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
        let is_node =
            matches!(*source, Source::Node(_) | Source::Provided { is_cluster: false, .. });
        if info.is_cluster && is_node {
            return Err(Error::invalid_config(
                "this Redis is a node of a cluster: use a redis+cluster:// URL",
            )
            .with_backend(NAME));
        }
        operations::check_rights(Exchange::new(&link, limit.saturating_sub(begun.elapsed())))
            .await?;
        // A connection that the application gave may lead anywhere.
        if info.is_cluster || info.is_silent {
            source.note_cluster();
        }
        Ok(Self {
            prefix: DEFAULT_PREFIX.into(),
            timeout: DEFAULT_TIMEOUT,
            links: [link].into(),
            next: Arc::default(),
            is_cluster: info.is_cluster || source.serves_cluster(),
            source,
            confirming: None,
        })
    }
}
