//! A Redis Cluster of local nodes.

use std::io;
use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use super::probe;
use crate::{Missing, Options, Server, binaries, port};

/// How long the nodes may take to form a healthy cluster.
const AGREEMENT_LIMIT: Duration = Duration::from_secs(60);

/// The nodes of a cluster. All of them end when this is dropped.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
}

#[derive(Debug)]
struct Node {
    server: Server,
    port: u16,
}

impl Cluster {
    /// The nodes, in no particular order.
    pub fn nodes(&self) -> impl Iterator<Item = &Server> {
        self.nodes.iter().map(|node| &node.server)
    }

    /// The URL of every node. A client needs one that is up.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.nodes().map(|node| node.url().to_owned()).collect()
    }

    /// The nodes that answer and are masters now.
    pub fn masters(&self) -> impl Iterator<Item = &Server> {
        self.nodes
            .iter()
            .filter(|node| {
                probe::ask(node.port, None, "INFO replication")
                    .is_ok_and(|info| info.contains("role:master"))
            })
            .map(|node| &node.server)
    }

    /// Waits until all nodes that answer report that every slot is served and every replica is
    /// connected to its master. Call it after a failover.
    ///
    /// # Errors
    /// `TimedOut` after 60 s.
    pub fn wait_until_healthy(&self) -> io::Result<()> {
        self.wait_until(|| self.nodes.iter().all(Node::is_healthy))
    }

    fn wait_until(&self, agreed: impl Fn() -> bool) -> io::Result<()> {
        let started = Instant::now();
        while !agreed() {
            if started.elapsed() > AGREEMENT_LIMIT {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "the nodes did not form a healthy cluster within 60 s",
                ));
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }

    /// The number of replicas according to their masters. A replica reports itself as connected
    /// some time before.
    fn followers(&self) -> usize {
        let online = |node: &Node| {
            probe::ask(node.port, None, "INFO replication")
                .map_or(0, |info| info.matches("state=online").count())
        };
        self.nodes.iter().map(online).sum()
    }
}

impl Node {
    fn is_healthy(&self) -> bool {
        let Ok(cluster) = probe::ask(self.port, None, "CLUSTER INFO") else {
            return true;
        };
        let follows = probe::ask(self.port, None, "INFO replication")
            .is_ok_and(|info| !info.contains("master_link_status:down"));
        cluster.contains("cluster_state:ok") && follows
    }
}

/// The cluster of three masters, each with a replica, that all tests of this process share. Each
/// test has to use its own prefix.
///
/// # Errors
/// [`Missing`], the same at every call.
pub fn shared() -> Result<&'static Cluster, &'static Missing> {
    static SHARED: OnceLock<Result<Cluster, Missing>> = OnceLock::new();
    SHARED.get_or_init(|| start_new(3, 1)).as_ref()
}

/// Starts a cluster from local binaries, with at least three masters and `replicas_of_each`
/// replicas for each of them. A dead master is replaced after about six seconds.
///
/// # Errors
/// [`Missing`] if `redis-server` or `redis-cli` is not installed, or if the nodes do not form a
/// cluster.
pub fn start_new(masters: usize, replicas_of_each: usize) -> Result<Cluster, Missing> {
    super::with_retries(|| {
        let mut nodes = Vec::new();
        for _ in 0..masters * (1 + replicas_of_each) {
            nodes.push(start_node()?);
        }
        let cluster = Cluster { nodes };
        create(&cluster, replicas_of_each)?;
        cluster.wait_until(|| cluster.followers() == masters * replicas_of_each)?;
        cluster.wait_until_healthy()?;
        Ok(cluster)
    })
}

fn start_node() -> io::Result<Node> {
    let port = port::free()?;
    let options = Options::default()
        .set("cluster-enabled", "yes")
        .set("cluster-node-timeout", "3000")
        .set("repl-diskless-sync-delay", "0");
    let process = super::launch(port, &options)?;
    let server = Server::local(format!("redis://127.0.0.1:{port}/"), process);
    Ok(Node { server, port })
}

fn create(cluster: &Cluster, replicas_of_each: usize) -> io::Result<()> {
    let client = binaries::find("redis-cli")
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "redis-cli is not installed"))?;
    let output = Command::new(client)
        .args(["--cluster", "create"])
        .args(cluster.nodes().map(Server::address))
        .args(["--cluster-replicas", &replicas_of_each.to_string()])
        .arg("--cluster-yes")
        .output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "redis-cli --cluster create failed: {}",
        String::from_utf8_lossy(&output.stdout)
    )))
}
