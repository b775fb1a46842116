//! Following a slot that is just moving to another node of a cluster.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use redis::aio::MultiplexedConnection;
use redis::{
    AsyncConnectionConfig, Client, ConnectionAddr, ConnectionInfo, Pipeline, RedisError,
    RedisResult, Value,
};

use crate::failure::was_not_carried_out;

/// More nodes than slots move to at a time; beyond that it begins anew.
const MOST: usize = 32;

/// Connections of our own to the nodes to which slots are moving. The driver knows only nodes that
/// have slots, and asked for another one it would open all its connections anew.
pub(crate) struct Newcomers {
    /// How any of the nodes is reached, but for the address.
    node: Arc<ConnectionInfo>,
    open: Mutex<HashMap<String, MultiplexedConnection>>,
}

impl Newcomers {
    pub(crate) fn new(node: Arc<ConnectionInfo>) -> Self {
        Self { node, open: Mutex::default() }
    }

    /// Sends commands to the node at an address that an `ASK` reply told. The caller
    /// bounds the wait.
    pub(crate) async fn send(&self, commands: &Pipeline, address: &str) -> RedisResult<Vec<Value>> {
        // The permission holds for one command.
        let mut permitted = Pipeline::with_capacity(2 * commands.len());
        for command in commands.cmd_iter() {
            permitted.cmd("ASKING").add_command(command.clone());
        }
        let known = self.lock().get(address).cloned();
        let mut connection = match known {
            Some(connection) => connection,
            None => self.connect(address).await?,
        };
        let sent = connection.send_packed_commands(&permitted, 0, permitted.len()).await;
        if sent.is_err() {
            self.lock().remove(address);
        }
        let replies: Vec<Value> = sent?.into_iter().skip(1).step_by(2).collect();
        // As the driver gives it, so that the commands are sent again.
        let refusal = replies.iter().find_map(|reply| match reply {
            Value::ServerError(error) => {
                Some(RedisError::from(error.clone())).filter(was_not_carried_out)
            }
            _ => None,
        });
        refusal.map_or(Ok(replies), Err)
    }

    async fn connect(&self, address: &str) -> RedisResult<MultiplexedConnection> {
        let (host, port) = address.rsplit_once(':').unwrap_or((address, ""));
        let (host, port) = (host.to_owned(), port.parse().unwrap_or_default());
        let reached_at = match self.node.addr().clone() {
            ConnectionAddr::TcpTls { insecure, tls_params, .. } => {
                ConnectionAddr::TcpTls { host, port, insecure, tls_params }
            }
            _ => ConnectionAddr::Tcp(host, port),
        };
        let client = Client::open((*self.node).clone().set_addr(reached_at))?;
        let config =
            AsyncConnectionConfig::new().set_connection_timeout(None).set_response_timeout(None);
        let connection = client.get_multiplexed_async_connection_with_config(&config).await?;
        let mut open = self.lock();
        if open.len() >= MOST {
            open.clear();
        }
        open.insert(address.to_owned(), connection.clone());
        Ok(connection)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, MultiplexedConnection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
