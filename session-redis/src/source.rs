//! Where connections come from: one node, Sentinel, a cluster, or the application.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use redis::aio::{ConnectionLike, MultiplexedConnection};
use redis::io::tcp::TcpSettings;
use redis::io::tcp::socket2::TcpKeepalive;
use redis::{
    AsyncConnectionConfig, Client, ConnectionInfo, IntoConnectionInfo, Pipeline, ProtocolVersion,
    PushInfo, PushKind, RedisResult, Value,
};
use session_core::{Error, Result, async_trait};

#[cfg(feature = "cluster")]
use crate::asking::Newcomers;
use crate::failure::{Failure, NAME};

/// How long an operation waits; shorter than the handle's own deadline (5 s), so that there is time to ask
/// again.
pub(crate) const DEFAULT_TIMEOUT: Duration = Duration::from_secs(2);
/// An idle connection is probed after this time.
const KEEPALIVE: Duration = Duration::from_secs(30);
/// How long a peer may leave unacknowledged what was sent to it.
#[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// Gives the URL of each new connection.
pub(crate) type Provider = Box<dyn Fn() -> Provided + Send + Sync>;
pub(crate) type Provided = Pin<Box<dyn Future<Output = RedisResult<String>> + Send>>;

/// Opens connections to what a URL names.
pub(crate) enum Source {
    Node(Box<Client>),
    #[cfg(feature = "sentinel")]
    Sentinel(Box<tokio::sync::Mutex<redis::sentinel::SentinelClient>>),
    #[cfg(feature = "cluster")]
    Cluster {
        client: Box<redis::cluster::ClusterClient>,
        /// How any of its nodes is reached, but for the address.
        node: Arc<ConnectionInfo>,
    },
    /// The URL may be another one each time, for example with another password.
    Provided {
        url: Provider,
        is_cluster: bool,
    },
    Given {
        connection: Arc<dyn Given>,
        /// Known once the server has been asked.
        to_cluster: AtomicBool,
    },
}

impl Source {
    /// Reads a URL; nothing is connected yet.
    #[cfg_attr(
        not(any(feature = "cluster", feature = "sentinel")),
        expect(unused_variables, reason = "one node needs no `rest`")
    )]
    pub(crate) fn of_url(url: &str) -> Result<Self> {
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(invalid_url("a Redis URL begins with redis://, rediss:// or unix://"));
        };
        let (transport, topology) = scheme.split_once('+').unwrap_or((scheme, ""));
        if transport == "rediss" {
            prepare_tls()?;
        }
        match topology {
            "" => {
                let node = connection_info(url)?;
                Ok(Self::Node(Box::new(Client::open(node).map_err(Failure::of_connecting)?)))
            }
            #[cfg(feature = "cluster")]
            "cluster" => Self::cluster(transport, rest),
            #[cfg(feature = "sentinel")]
            "sentinel" => Self::sentinel(transport, rest),
            _ => Err(invalid_url(
                "after the + of the scheme comes cluster or sentinel; each needs the feature of \
                 session-redis that has its name",
            )),
        }
    }

    /// `redis+cluster://[user:password@]host:port[,host:port]…`: any nodes of the cluster.
    #[cfg(feature = "cluster")]
    fn cluster(transport: &str, rest: &str) -> Result<Self> {
        let nodes = nodes(transport, rest.trim_end_matches('/'), "")?;
        let node = Arc::new(nodes[0].clone());
        // The driver's retries would send a write a second time when the answer to the first was
        // lost. Ours don't.
        let client = redis::cluster::ClusterClientBuilder::new(nodes)
            .use_protocol(ProtocolVersion::RESP3)
            .retries(0)
            .connection_timeout(DEFAULT_TIMEOUT / 2)
            .response_timeout(DEFAULT_TIMEOUT)
            .overall_response_timeout(None)
            .tcp_settings(tcp_settings())
            .build()
            .map_err(Failure::of_connecting)?;
        Ok(Self::Cluster { client: Box::new(client), node })
    }

    /// `redis+sentinel://[user:password@]sentinel:port[,sentinel:port]…/SERVICE[/DATABASE][?settings]`. User and
    /// password are those of the master. They are those of the Sentinels, too, unless the settings have
    /// `sentinel_password` (empty: none) and, where it is not the default one, `sentinel_user`.
    #[cfg(feature = "sentinel")]
    fn sentinel(transport: &str, rest: &str) -> Result<Self> {
        use redis::sentinel::{SentinelClient, SentinelNodeConnectionInfo, SentinelServerType};

        let (rest, settings) = rest.split_once('?').unwrap_or((rest, ""));
        let (hosts, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (service, database) = path.split_once('/').unwrap_or((path, ""));
        if service.is_empty() {
            return Err(invalid_url("redis+sentinel:// needs the service's name as its path"));
        }
        // A Sentinel has no databases; the master's number is part of how the master is reached.
        let sentinels = nodes(transport, &of_sentinels(hosts, settings)?, "")?;
        let master = nodes(transport, hosts, database)?.swap_remove(0);
        let mut reach = SentinelNodeConnectionInfo::default()
            .set_redis_connection_info(master.redis_settings().clone())
            .set_tcp_settings(tcp_settings());
        if transport == "rediss" {
            reach = reach.set_tls_mode(redis::TlsMode::Secure);
        }
        let client = SentinelClient::build(
            sentinels,
            String::from(service),
            Some(reach),
            SentinelServerType::Master,
        )
        .map_err(Failure::of_connecting)?;
        Ok(Self::Sentinel(Box::new(tokio::sync::Mutex::new(client))))
    }

    /// What a provider names; it is asked for the first time now.
    pub(crate) async fn provided(url: Provider) -> Result<Self> {
        let first = Self::of_url(&url().await.map_err(Failure::of_connecting)?)?;
        Ok(Self::Provided { is_cluster: first.is_cluster(), url })
    }

    /// The application's own.
    pub(crate) fn given(connection: impl Given + 'static) -> Self {
        Self::Given { connection: Arc::new(connection), to_cluster: AtomicBool::new(false) }
    }

    /// A connection of the application's leads to a cluster, or may do so.
    pub(crate) fn note_cluster(&self) {
        if let Self::Given { to_cluster, .. } = self {
            to_cluster.store(true, Ordering::Relaxed);
        }
    }

    /// Whether a slot may be elsewhere for the moment.
    pub(crate) fn serves_cluster(&self) -> bool {
        match self {
            Self::Given { to_cluster, .. } => to_cluster.load(Ordering::Relaxed),
            _ => self.is_cluster(),
        }
    }

    /// Whether it is our own connection to a cluster.
    pub(crate) fn is_cluster(&self) -> bool {
        match self {
            #[cfg(feature = "cluster")]
            Self::Cluster { .. } => true,
            Self::Provided { is_cluster, .. } => *is_cluster,
            _ => false,
        }
    }

    /// Opens a connection. An answer may take `patience` on one to a cluster, where that is not to be
    /// the usual limit; on others, every wait is bounded where it begins. `closed` is called as soon as it is known to be dead.
    pub(crate) async fn open(
        &self,
        limit: Duration,
        patience: Option<Duration>,
        closed: impl Fn() + Send + Sync + 'static,
    ) -> RedisResult<Connection> {
        // With RESP3 the driver says when the connection ends, before anybody sends into the void.
        let config = AsyncConnectionConfig::new()
            .set_connection_timeout(Some(limit))
            .set_response_timeout(None)
            .set_push_sender(move |push: PushInfo| {
                if push.kind == PushKind::Disconnection {
                    closed();
                }
                Ok::<(), redis::aio::SendError>(())
            });
        self.open_with(config, patience).await
    }

    async fn open_with(
        &self,
        config: AsyncConnectionConfig,
        patience: Option<Duration>,
    ) -> RedisResult<Connection> {
        #[cfg(not(feature = "cluster"))]
        let _ = patience;
        match self {
            Self::Node(client) => Ok(Connection::Node(
                client.get_multiplexed_async_connection_with_config(&config).await?,
            )),
            #[cfg(feature = "sentinel")]
            Self::Sentinel(client) => Ok(Connection::Node(
                client.lock().await.get_async_connection_with_config(&config).await?,
            )),
            #[cfg(feature = "cluster")]
            Self::Cluster { client, node } => {
                let connection = match patience {
                    None => client.get_async_connection().await?,
                    Some(patience) => {
                        let config =
                            redis::cluster::ClusterConfig::new().set_response_timeout(patience);
                        client.get_async_connection_with_config(config).await?
                    }
                };
                let newcomers = Arc::new(Newcomers::new(Arc::clone(node)));
                Ok(Connection::Cluster { connection, newcomers })
            }
            Self::Provided { url, .. } => {
                let now = Self::of_url(&url().await?).map_err(std::io::Error::other)?;
                Box::pin(now.open_with(config, patience)).await
            }
            Self::Given { connection, .. } => Ok(Connection::Given(Arc::clone(connection))),
        }
    }
}

/// The Sentinels with their own credentials, if the settings have any.
#[cfg(feature = "sentinel")]
fn of_sentinels(hosts: &str, settings: &str) -> Result<String> {
    let (mut user, mut password) = ("", None);
    for setting in settings.split('&').filter(|setting| !setting.is_empty()) {
        match setting.split_once('=') {
            Some(("sentinel_user", name)) => user = name,
            Some(("sentinel_password", word)) => password = Some(word),
            _ => {
                return Err(invalid_url(
                    "after the ? of a Sentinel URL come sentinel_user=… and sentinel_password=… only",
                ));
            }
        }
    }
    let Some(password) = password else {
        return Ok(hosts.to_owned());
    };
    let hosts = hosts.rsplit_once('@').map_or(hosts, |(_, hosts)| hosts);
    Ok(if password.is_empty() { hosts.to_owned() } else { format!("{user}:{password}@{hosts}") })
}

fn invalid_url(message: &'static str) -> Error {
    Error::invalid_config(message).with_backend(NAME)
}

fn connection_info(url: &str) -> Result<ConnectionInfo> {
    let info = url.into_connection_info().map_err(Failure::of_connecting)?;
    let settings = info.redis_settings().clone().set_protocol(ProtocolVersion::RESP3);
    Ok(info.set_redis_settings(settings).set_tcp_settings(tcp_settings()))
}

/// A peer that is gone ends an idle connection within a minute, and one that owes an acknowledgement
/// sooner: what was sent into the void is not sent again by the system much later.
fn tcp_settings() -> TcpSettings {
    let keepalive =
        TcpKeepalive::new().with_time(KEEPALIVE).with_interval(KEEPALIVE / 3).with_retries(3);
    let settings = TcpSettings::default().set_nodelay(true).set_keepalive(keepalive);
    #[cfg(any(target_os = "android", target_os = "fuchsia", target_os = "linux"))]
    let settings = settings.set_user_timeout(USER_TIMEOUT);
    settings
}

/// `[user:password@]host:port,host:port` as one node each, all with the same user and password.
#[cfg(any(feature = "cluster", feature = "sentinel"))]
fn nodes(transport: &str, authority: &str, database: &str) -> Result<Vec<ConnectionInfo>> {
    let (user, hosts) = match authority.rsplit_once('@') {
        Some((user, hosts)) => (format!("{user}@"), hosts),
        None => (String::new(), authority),
    };
    hosts
        .split(',')
        .map(|host| connection_info(&format!("{transport}://{user}{host}/{database}")))
        .collect()
}

/// rustls wants to be told which cryptography to use, once in a process; an application that has
/// done so keeps its choice.
#[cfg(feature = "tls")]
fn prepare_tls() -> Result<()> {
    let _ = rustls::crypto::ring::default_provider().install_default();
    Ok(())
}

#[cfg(not(feature = "tls"))]
fn prepare_tls() -> Result<()> {
    Err(invalid_url("rediss:// needs the feature `tls` of session-redis"))
}

/// One open connection, cheap to clone.
#[derive(Clone)]
pub(crate) enum Connection {
    Node(MultiplexedConnection),
    #[cfg(feature = "cluster")]
    Cluster {
        connection: redis::cluster_async::ClusterConnection,
        newcomers: Arc<Newcomers>,
    },
    Given(Arc<dyn Given>),
}

impl Connection {
    /// Sends commands that belong to the slot of `key` and gives their replies. A command's own
    /// error is among them. Where the slot is just moving, they go to the node that an `ASK` reply tells.
    pub(crate) async fn send(
        &mut self,
        commands: &Pipeline,
        key: &[u8],
    ) -> RedisResult<Vec<Value>> {
        match self {
            Self::Node(connection) => {
                connection.send_packed_commands(commands, 0, commands.len()).await
            }
            #[cfg(feature = "cluster")]
            Self::Cluster { connection, newcomers } => {
                use redis::cluster_routing::{Route, SingleNodeRoutingInfo, SlotAddr};
                use redis::{ErrorKind, ServerErrorKind};

                let route =
                    SingleNodeRoutingInfo::SpecificNode(Route::with_key(key, SlotAddr::Master));
                // In a box, or the operations on a single node would have the room for it, too.
                let sending = connection.route_pipeline(commands.clone(), 0, commands.len(), route);
                match Box::pin(sending).await {
                    Err(error) if error.kind() == ErrorKind::Server(ServerErrorKind::Ask) => {
                        match error.redirect_node() {
                            Some((node, _slot)) => Box::pin(newcomers.send(commands, node)).await,
                            None => Err(error),
                        }
                    }
                    sent => sent,
                }
            }
            Self::Given(connection) => {
                let _ = key;
                connection.send(commands).await
            }
        }
    }

    /// What every master says about itself, or one, where not all of them answer within a fifth
    /// of `limit`.
    #[cfg_attr(not(feature = "cluster"), expect(unused_variables, reason = "one node needs none"))]
    pub(crate) async fn info(&mut self, limit: Duration) -> RedisResult<Value> {
        let command = redis::cmd("INFO");
        match self {
            Self::Node(connection) => connection.send_packed_command(&command).await,
            #[cfg(feature = "cluster")]
            Self::Cluster { connection, .. } => {
                use redis::cluster_routing::{
                    MultipleNodeRoutingInfo, ResponsePolicy, RoutingInfo,
                };

                let masters = MultipleNodeRoutingInfo::AllMasters;
                let all = RoutingInfo::MultiNode((masters.clone(), None));
                let asking = connection.route_command(command.clone(), all);
                if let Ok(Ok(replies)) = tokio::time::timeout(limit / 5, asking).await {
                    return Ok(replies);
                }
                // One of them is down; that is no reason to refuse the others.
                let any = RoutingInfo::MultiNode((masters, Some(ResponsePolicy::OneSucceeded)));
                connection.route_command(command, any).await
            }
            Self::Given(connection) => {
                let mut commands = Pipeline::new();
                commands.add_command(command);
                Ok(Value::Array(connection.send(&commands).await?))
            }
        }
    }
}

/// A connection that the application opened, of any type.
#[async_trait]
pub(crate) trait Given: Send + Sync {
    async fn send(&self, commands: &Pipeline) -> RedisResult<Vec<Value>>;
}

#[async_trait]
impl<C: ConnectionLike + Clone + Send + Sync + 'static> Given for C {
    async fn send(&self, commands: &Pipeline) -> RedisResult<Vec<Value>> {
        self.clone().req_packed_commands(commands, 0, commands.len()).await
    }
}
