//! A master, a replica, and three Sentinels that monitor them.

use std::io;
use std::time::{Duration, Instant};

use super::probe;
use crate::process::{Launch, Process, Ready, ServerDirectory};
use crate::{Missing, Options, Server, binaries, port};

/// The name of the master in the configuration of the Sentinels.
pub const SERVICE: &str = "sessions";

/// A group of nodes under Sentinels. All of them end when this is dropped.
#[derive(Debug)]
pub struct Sentinels {
    sentinels: Vec<Server>,
    master: Server,
    replica: Server,
}

impl Sentinels {
    /// The URL of every Sentinel.
    #[must_use]
    pub fn urls(&self) -> Vec<String> {
        self.sentinels.iter().map(|sentinel| sentinel.url().to_owned()).collect()
    }

    /// The node that was the master at the start.
    #[must_use]
    pub fn first_master(&self) -> &Server {
        &self.master
    }

    /// The node that was the replica at the start.
    #[must_use]
    pub fn first_replica(&self) -> &Server {
        &self.replica
    }
}

/// Starts all five from local binaries. A dead master is replaced after about three seconds.
///
/// # Errors
/// [`Missing`] if `redis-server` is not installed, or if the Sentinels do not find each other.
pub fn start_new() -> Result<Sentinels, Missing> {
    super::with_retries(|| {
        let (master_port, master) = start_node(&Options::default())?;
        let follow = Options::default().set("replicaof", format!("127.0.0.1 {master_port}"));
        let (replica_port, replica) = start_node(&follow)?;
        wait_for(replica_port, "INFO replication", "master_link_status:up")?;
        let mut sentinels = Vec::new();
        let mut ports = Vec::new();
        for _ in 0..3 {
            let (port, sentinel) = start_sentinel(master_port)?;
            ports.push(port);
            sentinels.push(sentinel);
        }
        for port in ports {
            wait_for(port, "INFO sentinel", "slaves=1,sentinels=3")?;
        }
        Ok(Sentinels { sentinels, master, replica })
    })
}

fn start_node(options: &Options) -> io::Result<(u16, Server)> {
    let port = port::free()?;
    let options = options.clone().set("repl-diskless-sync-delay", "0");
    let process = super::launch(port, &options)?;
    let server = Server::local(format!("redis://127.0.0.1:{port}/"), process);
    Ok((port, server))
}

fn start_sentinel(master_port: u16) -> io::Result<(u16, Server)> {
    let program = binaries::find("redis-server")
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "redis-server is not installed"))?;
    let port = port::free()?;
    let directory = ServerDirectory::new(None)?;
    // A Sentinel writes its state to its configuration file.
    let configuration = directory.path().join("sentinel.conf");
    std::fs::write(
        &configuration,
        format!(
            "port {port}\nbind 127.0.0.1\n\
             sentinel monitor {SERVICE} 127.0.0.1 {master_port} 2\n\
             sentinel down-after-milliseconds {SERVICE} 1000\n\
             sentinel failover-timeout {SERVICE} 5000\n"
        ),
    )?;
    let launch = Launch {
        program,
        arguments: vec![configuration.display().to_string(), "--sentinel".to_owned()],
        account: None,
        ready: Ready { probe: probe::ping, port, password: None },
    };
    let process = Process::launch(launch, directory)?;
    let server = Server::local(format!("redis://127.0.0.1:{port}/"), process);
    Ok((port, server))
}

fn wait_for(port: u16, question: &str, answer: &str) -> io::Result<()> {
    let started = Instant::now();
    while !probe::ask(port, None, question).is_ok_and(|reply| reply.contains(answer)) {
        if started.elapsed() > Duration::from_secs(30) {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                format!("the answer to {question} did not contain {answer} within 30 s"),
            ));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    Ok(())
}
