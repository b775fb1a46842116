//! Sentinels name another master.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]
#![cfg(feature = "sentinel")]

mod support;

use std::time::Duration;

use session_core::ErrorKind;
use session_redis::RedisBackend;
use support::{create, eventually, kind, load, update};
use test_servers::redis::sentinel::SERVICE;

#[tokio::test(flavor = "multi_thread")]
async fn the_store_follows_the_sentinels_to_the_new_master() {
    let Some(sentinels) = support::start(test_servers::redis::sentinel::start_new).await else {
        return;
    };
    let hosts: Vec<String> = sentinels
        .urls()
        .iter()
        .map(|url| url.trim_start_matches("redis://").trim_end_matches('/').to_owned())
        .collect();
    let hosts = hosts.join(",");
    let url = format!("redis+sentinel://{hosts}/{SERVICE}");
    let backend = RedisBackend::connect(&url).await.unwrap();
    create(&backend, 1, 1).await.unwrap();
    let on_replica = RedisBackend::connect(sentinels.first_replica().url()).await.unwrap();
    let replicated = || async {
        match load(&on_replica, 1).await? {
            Some(_) => Ok(()),
            None => Err(session_core::Error::unavailable("not replicated yet")),
        }
    };
    eventually(Duration::from_secs(10), replicated).await;

    sentinels.first_master().kill().unwrap();
    assert_eq!(kind(load(&backend, 1).await), Some(ErrorKind::Unavailable));
    let found = eventually(Duration::from_secs(30), || load(&backend, 1)).await;
    assert_eq!(found, Some(1));
    eventually(Duration::from_secs(30), || update(&backend, 1, 1, 2)).await;
    assert_eq!(load(&backend, 1).await.unwrap(), Some(2));

    let unknown = RedisBackend::connect(&format!("redis+sentinel://{hosts}/other")).await;
    assert_eq!(kind(unknown), Some(ErrorKind::Unavailable));
    let unnamed = RedisBackend::connect(&format!("redis+sentinel://{hosts}")).await;
    assert_eq!(kind(unnamed), Some(ErrorKind::InvalidConfig));
}
