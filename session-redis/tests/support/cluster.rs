//! What the tests with a cluster share.

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use test_servers::Server;
use test_servers::redis::cluster::Cluster;

use super::{name, raw};

pub(crate) const FAILOVER: Duration = Duration::from_secs(30);

pub(crate) fn url(cluster: &Cluster) -> String {
    let addresses: Vec<&str> = cluster.nodes().map(Server::address).collect();
    format!("redis+cluster://{}", addresses.join(","))
}

/// The node, of these, that serves a key.
pub(crate) async fn serves(nodes: &mut [(String, MultiplexedConnection)], number: u8) -> String {
    for (address, connection) in nodes {
        let reply: redis::RedisResult<Option<Vec<u8>>> =
            redis::cmd("GET").arg(name(number)).query_async(connection).await;
        if reply.is_ok() {
            return address.clone();
        }
    }
    panic!("no master serves {}", name(number));
}

pub(crate) async fn masters(cluster: &Cluster) -> Vec<(String, MultiplexedConnection)> {
    let mut masters = Vec::new();
    for master in cluster.masters() {
        masters.push((master.address().to_owned(), raw(master.url()).await));
    }
    masters
}

/// Waits until a replica has what its master has now. (`WAIT` would not do: from Redis 7.2 on, it is
/// about what its own connection wrote.)
pub(crate) async fn wait_for_replica(master: &mut MultiplexedConnection) {
    let mut wanted = None;
    for _ in 0..100 {
        let replication: String =
            redis::cmd("INFO").arg("replication").query_async(master).await.unwrap();
        let number = |line: &str, name: &str| -> Option<u64> {
            let (_, rest) = line.split_once(name)?;
            rest.split(',').next()?.trim().parse().ok()
        };
        let find = |name| replication.lines().find_map(|line| number(line, name));
        let wanted = *wanted.get_or_insert_with(|| find("master_repl_offset:").unwrap());
        if replication.contains("state=online") && find(",offset=") >= Some(wanted) {
            return;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("no replica follows");
}
