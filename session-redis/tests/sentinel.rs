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

/// Sentinels often have a password of their own, or none although the master has one.
#[tokio::test(flavor = "multi_thread")]
async fn sentinels_may_have_their_own_password() {
    let Some(sentinels) = support::start(test_servers::redis::sentinel::start_new).await else {
        return;
    };
    let url = &sentinels.urls()[0];
    let host = url.trim_start_matches("redis://").trim_end_matches('/');
    let mut master = support::raw(sentinels.first_master().url()).await;
    let set = ["SET", "requirepass", "of-master"];
    redis::cmd("CONFIG").arg(&set).exec_async(&mut master).await.unwrap();
    let connect = async |credentials: &str, settings: &str| {
        RedisBackend::connect(&format!("redis+sentinel://{credentials}{host}/{SERVICE}{settings}"))
            .await
    };
    // Here it has none yet.
    assert!(connect("", "").await.is_err());
    let backend = connect(":of-master@", "?sentinel_password=").await.unwrap();
    create(&backend, 1, 1).await.unwrap();
    let mut sentinel = support::raw(url).await;
    let set = ["SETUSER", "default", "resetpass", ">of-sentinel"];
    redis::cmd("ACL").arg(&set).exec_async(&mut sentinel).await.unwrap();
    let set = ["SETUSER", "watcher", "on", "+@all", ">of-watcher"];
    redis::cmd("ACL").arg(&set).exec_async(&mut sentinel).await.unwrap();
    assert!(connect(":of-master@", "?sentinel_password=").await.is_err());
    assert!(connect(":of-master@", "").await.is_err());
    for settings in
        ["?sentinel_password=of-sentinel", "?sentinel_user=watcher&sentinel_password=of-watcher"]
    {
        let backend = connect(":of-master@", settings).await.unwrap();
        assert_eq!(load(&backend, 1).await.unwrap(), Some(1), "{settings}");
    }
    let unknown = connect(":of-master@", "?sentinel_pass=of-sentinel").await.unwrap_err();
    assert_eq!(unknown.kind(), ErrorKind::InvalidConfig);
    assert!(!format!("{unknown:?}").contains("of-"), "{unknown:?}");
}
