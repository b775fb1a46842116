//! What `connect` finds out, in words that help.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod support;

use std::time::Duration;

use session_core::ErrorKind;
use session_redis::RedisBackend;
use support::{all_fail, create, load, raw, redis};
use test_servers::Options;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_listening_is_unavailable_at_connect() {
    let Some(server) = redis(Options::default()).await else { return };
    server.kill().unwrap();
    let error = RedisBackend::connect(server.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().starts_with("redis: connect: "), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_passwords_and_databases_are_invalid_config() {
    let Some(server) = redis(Options::default().set("requirepass", "right")).await else { return };
    let address = server.address();
    let refused = [
        format!("redis://{address}/"),
        format!("redis://:wrong@{address}/"),
        format!("redis://nobody:right@{address}/"),
        format!("redis://:right@{address}/99"),
        format!("http://{address}/"),
        address.to_owned(),
    ];
    for url in refused {
        let error = RedisBackend::connect(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{url}: {error:?}");
        assert!(!format!("{error:?}").contains("right@"), "{error:?}");
    }
    let backend = RedisBackend::connect(&format!("redis://:right@{address}/7")).await.unwrap();
    create(&backend, 1, 1).await.unwrap();

    // The password changes while we are connected.
    let mut admin = raw(server.url()).await;
    let set = ["SET", "requirepass", "new"];
    redis::cmd("CONFIG").arg(&set).exec_async(&mut admin).await.unwrap();
    let kill = ["KILL", "TYPE", "normal", "SKIPME", "yes"];
    redis::cmd("CLIENT").arg(&kill).exec_async(&mut admin).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    all_fail(&backend, ErrorKind::InvalidConfig, Duration::from_millis(1500)).await;
    let set = ["SET", "requirepass", "right"];
    redis::cmd("CONFIG").arg(&set).exec_async(&mut admin).await.unwrap();
    assert_eq!(load(&backend, 1).await.unwrap(), Some(1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_of_a_cluster_is_no_single_node() {
    let started = support::start(|| {
        test_servers::redis::start_new(Options::default().set("cluster-enabled", "yes"))
    });
    let Some(server) = started.await else { return };
    let error = RedisBackend::connect(server.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    assert!(error.message().contains("redis+cluster://"), "{error}");
}
