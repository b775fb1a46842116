//! Slots that move from one node of a cluster to another.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]
#![cfg(feature = "cluster")]

mod support;

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use session_core::Backend;
use session_redis::RedisBackend;
use support::cluster::{FAILOVER, masters, serves, url};
use support::{create, eventually, key, load, name, raw, touch, update};

/// A slot moves from one node to another: what has moved is found where the reply `ASK` points.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_is_moving_is_served() {
    let Some(cluster) = support::start(|| test_servers::redis::cluster::start_new(3, 0)).await
    else {
        return;
    };
    let backend = RedisBackend::connect(&url(&cluster)).await.unwrap();
    let client = redis::cluster::ClusterClientBuilder::new(cluster.urls()).retries(0).build();
    let connection = client.unwrap().get_async_connection().await.unwrap();
    let given = RedisBackend::from_connection(connection).await.unwrap();
    create(&backend, 1, 1).await.unwrap();
    let mut nodes = masters(&cluster).await;
    let owner = serves(&mut nodes, 1).await;
    nodes.sort_by_key(|(address, _)| *address != owner);
    let [(_, from), (to_address, to), ..] = &mut nodes[..] else { panic!("three masters") };
    let finish = begin_to_move(from, to, to_address).await;

    assert_eq!(load(&backend, 1).await.unwrap(), Some(1));
    update(&backend, 1, 1, 2).await.unwrap();
    touch(&backend, 1, 2).await.unwrap();
    assert_eq!(load(&backend, 1).await.unwrap(), Some(2));
    for connection in [to, from] {
        finish.exec_async(connection).await.unwrap();
    }
    update(&backend, 1, 2, 3).await.unwrap();
    assert_eq!(load(&given, 1).await.unwrap(), Some(3));
    assert!(backend.destroy(&key(1), None).await.unwrap());
}

/// The node to which it moves has never served a slot: nobody knows it but by that reply.
#[tokio::test(flavor = "multi_thread")]
async fn a_slot_that_moves_to_a_new_node_is_served() {
    let Some((cluster, newcomer)) = support::start(|| {
        let newcomer = test_servers::Options::default().set("cluster-enabled", "yes");
        let newcomer = test_servers::redis::start_new(newcomer)?;
        Ok((test_servers::redis::cluster::start_new(3, 0)?, newcomer))
    })
    .await
    else {
        return;
    };
    let backend = RedisBackend::connect(&url(&cluster)).await.unwrap();
    create(&backend, 1, 1).await.unwrap();
    let mut nodes = masters(&cluster).await;
    let owner = serves(&mut nodes, 1).await;
    let (_, from) = nodes.iter_mut().find(|(address, _)| *address == owner).unwrap();
    let mut to = raw(newcomer.url()).await;
    let (host, port) = newcomer.address().split_once(':').unwrap();
    redis::cmd("CLUSTER").arg(&["MEET", host, port]).exec_async(from).await.unwrap();
    let acquainted = || {
        let connections = [from.clone(), to.clone()];
        async move {
            for mut connection in connections {
                let known: String =
                    redis::cmd("CLUSTER").arg("INFO").query_async(&mut connection).await.unwrap();
                let agreed = ["cluster_state:ok", "cluster_known_nodes:4"];
                if !agreed.iter().all(|line| known.contains(line)) {
                    return Err(session_core::Error::unavailable("not yet"));
                }
            }
            Ok(())
        }
    };
    eventually(FAILOVER, acquainted).await;
    begin_to_move(from, &mut to, newcomer.address()).await;

    assert_eq!(load(&backend, 1).await.unwrap(), Some(1));
    let opened = connections(&mut nodes, &mut to).await;
    update(&backend, 1, 1, 2).await.unwrap();
    for _ in 0..20 {
        assert_eq!(load(&backend, 1).await.unwrap(), Some(2));
    }
    assert_eq!(connections(&mut nodes, &mut to).await, opened, "connections were opened anew");
    // One that broke is replaced.
    let kill = ["KILL", "TYPE", "normal", "SKIPME", "yes"];
    redis::cmd("CLIENT").arg(&kill).exec_async(&mut to).await.unwrap();
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert_eq!(load(&backend, 1).await.unwrap(), Some(2));
    assert!(backend.destroy(&key(1), None).await.unwrap());
}

/// How many connections these nodes have ever been opened to.
async fn connections(
    nodes: &mut [(String, MultiplexedConnection)],
    newcomer: &mut MultiplexedConnection,
) -> Vec<String> {
    let mut opened = Vec::new();
    for connection in nodes.iter_mut().map(|(_, connection)| connection).chain([newcomer]) {
        let text: String = redis::cmd("INFO").arg("stats").query_async(connection).await.unwrap();
        let line = text.lines().find(|line| line.starts_with("total_connections_received:"));
        opened.push(line.unwrap().to_owned());
    }
    opened
}

/// Moves the first key, but not yet its slot: the command that is given does, on both nodes.
async fn begin_to_move(
    from: &mut MultiplexedConnection,
    to: &mut MultiplexedConnection,
    to_address: &str,
) -> redis::Cmd {
    let slot: u16 =
        redis::cmd("CLUSTER").arg(&["KEYSLOT", &name(1)]).query_async(from).await.unwrap();
    let set_slot = move |state: &str, id: &str| {
        let mut command = redis::cmd("CLUSTER");
        command.arg("SETSLOT").arg(slot).arg(state).arg(id);
        command
    };
    let from_id: String = redis::cmd("CLUSTER").arg("MYID").query_async(from).await.unwrap();
    let to_id: String = redis::cmd("CLUSTER").arg("MYID").query_async(to).await.unwrap();
    set_slot("IMPORTING", &from_id).exec_async(to).await.unwrap();
    set_slot("MIGRATING", &to_id).exec_async(from).await.unwrap();
    let (host, port) = to_address.split_once(':').unwrap();
    redis::cmd("MIGRATE").arg(&[host, port, &name(1), "0", "5000"]).exec_async(from).await.unwrap();
    set_slot("NODE", &to_id)
}
