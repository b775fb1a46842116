//! session-redis: one node, on the server that `test_servers` finds, and a cluster of three masters with one
//! replica each.

use std::sync::Arc;

use redis::aio::MultiplexedConnection;
use session_conformance::{Fixture, Harness};
use session_core::{Capabilities, Error, Result, async_trait};
use session_redis::RedisBackend;
use test_servers::{Missing, redis as servers};

pub(crate) fn harnesses() -> Vec<Box<dyn Harness>> {
    let standalone = Redis { name: "redis", find: standalone };
    let cluster = Redis { name: "redis-cluster", find: cluster };
    vec![Box::new(standalone), Box::new(cluster)]
}

struct Redis {
    name: &'static str,
    /// Finds or starts the server, once in this process; the server ends with the process.
    find: fn() -> Result<Server, &'static Missing>,
}

struct Server {
    /// The URL for [`RedisBackend::connect`].
    url: String,
    /// All masters, to read all keys.
    nodes: Vec<String>,
}

fn standalone() -> Result<Server, &'static Missing> {
    let url = servers::shared()?.url().to_owned();
    Ok(Server { nodes: vec![url.clone()], url })
}

fn cluster() -> Result<Server, &'static Missing> {
    let cluster = servers::cluster::shared()?;
    let addresses: Vec<&str> = cluster.nodes().map(test_servers::Server::address).collect();
    let nodes = cluster.masters().map(|master| master.url().to_owned()).collect();
    Ok(Server { url: format!("redis+cluster://{}", addresses.join(",")), nodes })
}

#[async_trait]
impl Harness for Redis {
    fn name(&self) -> &str {
        self.name
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities { durable: true, expires_natively: true }
    }

    async fn open(&self) -> Result<Fixture> {
        let find = self.find;
        let found = tokio::task::spawn_blocking(find).await.expect("starting does not panic");
        let server = match found {
            Ok(server) => Arc::new(server),
            Err(missing) => return Ok(Fixture::missing(missing.to_string())),
        };
        let prefix: Arc<str> = format!("conformance-{:016x}:", fastrand::u64(..)).into();
        let connect = {
            let (server, prefix) = (Arc::clone(&server), Arc::clone(&prefix));
            move || {
                let (server, prefix) = (Arc::clone(&server), Arc::clone(&prefix));
                async move { Ok(RedisBackend::connect(&server.url).await?.prefix(&prefix)) }
            }
        };
        let dump = {
            let (server, prefix) = (Arc::clone(&server), Arc::clone(&prefix));
            move || {
                let (server, prefix) = (Arc::clone(&server), Arc::clone(&prefix));
                async move { dump(&server, &prefix).await.map_err(failed) }
            }
        };
        let clean_up = move || async move {
            clean_up(&server, &prefix).await.expect("the server runs until the end");
        };
        Ok(Fixture::connecting(connect).dumping(dump).finally(clean_up))
    }
}

fn failed(error: redis::RedisError) -> Error {
    Error::unavailable("reading the server directly failed").with_source(error)
}

/// Names and values of all Redis keys with this prefix.
async fn dump(server: &Server, prefix: &str) -> redis::RedisResult<Vec<u8>> {
    let mut all = Vec::new();
    for node in &server.nodes {
        let mut connection = connect(node).await?;
        for name in names(&mut connection, prefix).await? {
            let value: Option<Vec<u8>> =
                redis::cmd("GET").arg(&name).query_async(&mut connection).await?;
            all.extend_from_slice(name.as_bytes());
            all.push(b' ');
            all.extend(value.unwrap_or_default());
            all.push(b'\n');
        }
    }
    Ok(all)
}

async fn clean_up(server: &Server, prefix: &str) -> redis::RedisResult<()> {
    for node in &server.nodes {
        let mut connection = connect(node).await?;
        for name in names(&mut connection, prefix).await? {
            redis::cmd("DEL").arg(name).exec_async(&mut connection).await?;
        }
    }
    Ok(())
}

async fn connect(node: &str) -> redis::RedisResult<MultiplexedConnection> {
    redis::Client::open(node)?.get_multiplexed_async_connection().await
}

async fn names(
    connection: &mut MultiplexedConnection,
    prefix: &str,
) -> redis::RedisResult<Vec<String>> {
    let mut names = Vec::new();
    let mut cursor = 0_u64;
    loop {
        let (next, found): (u64, Vec<String>) = redis::cmd("SCAN")
            .arg(cursor)
            .arg(&["MATCH", &format!("{prefix}*"), "COUNT", "1000"])
            .query_async(connection)
            .await?;
        names.extend(found);
        cursor = next;
        if cursor == 0 {
            return Ok(names);
        }
    }
}
