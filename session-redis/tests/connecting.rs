//! What `connect` finds out, in words that help.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod support;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use session_core::{Backend, ErrorKind};
use session_redis::RedisBackend;
use support::{all_fail, create, key, load, raw, redis, update};
use test_servers::Options;

#[tokio::test(flavor = "multi_thread")]
async fn nothing_listening_is_unavailable_at_connect() {
    let Some(server) = redis(Options::default()).await else { return };
    server.kill().unwrap();
    let error = RedisBackend::connect(server.url()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable, "{error:?}");
    assert!(error.to_string().starts_with("redis: connect: "), "{error}");
    assert!(error.message().contains("nothing listens"), "{error}");
    let nowhere = RedisBackend::connect("redis://:word@no-such-host.invalid/").await.unwrap_err();
    assert_eq!(nowhere.kind(), ErrorKind::Unavailable, "{nowhere:?}");
    assert!(nowhere.message().contains("has no address"), "{nowhere}");
    assert!(!format!("{nowhere:?}").contains("word"), "{nowhere:?}");
}

/// The provider may know the new password before the server does, or after it.
#[tokio::test(flavor = "multi_thread")]
async fn a_password_may_change() {
    let Some(server) = redis(Options::default().set("requirepass", "one")).await else { return };
    let password = Arc::new(Mutex::new("one"));
    let (current, address) = (Arc::clone(&password), server.address().to_owned());
    let backend = RedisBackend::connect_with(move || {
        let url = format!("redis://:{}@{address}/", current.lock().unwrap());
        async move { Ok::<_, std::io::Error>(url) }
    });
    let backend = backend.await.unwrap();
    create(&backend, 1, 1).await.unwrap();
    let mut admin = raw(server.url()).await;
    let set = ["SET", "requirepass", "two"];
    redis::cmd("CONFIG").arg(&set).exec_async(&mut admin).await.unwrap();
    assert_eq!(load(&backend, 1).await.unwrap(), Some(1), "connections stay");
    let kill = ["KILL", "TYPE", "normal", "SKIPME", "yes"];
    redis::cmd("CLIENT").arg(&kill).exec_async(&mut admin).await.unwrap();
    tokio::time::sleep(Duration::from_millis(20)).await;
    let refused = load(&backend, 1).await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidConfig, "{refused:?}");
    *password.lock().unwrap() = "two";
    support::eventually(Duration::from_secs(2), || load(&backend, 1)).await;
    update(&backend, 1, 1, 2).await.unwrap();
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

/// A right that is missing is not found by the first user who logs in.
#[tokio::test(flavor = "multi_thread")]
async fn a_missing_right_is_named() {
    let Some(server) = redis(Options::default()).await else { return };
    let mut admin = raw(server.url()).await;
    let url = format!("redis://user:word@{}/", server.address());
    let mut set_user = async |rules: &[&str]| {
        let mut command = redis::cmd("ACL");
        command.arg(&["SETUSER", "user", "reset", "on", ">word", "+@all"]).arg(rules);
        command.exec_async(&mut admin).await.unwrap();
        redis::cmd("SCRIPT").arg("FLUSH").exec_async(&mut admin).await.unwrap();
        redis::cmd("DBSIZE").query_async::<u64>(&mut admin).await.unwrap()
    };
    for command in ["GET", "MGET", "PTTL", "GETRANGE", "EXISTS", "PEXPIRE", "DEL", "SET"] {
        set_user(&["~*", &format!("-{command}")]).await;
        let error = RedisBackend::connect(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{command}: {error:?}");
        assert!(error.message().contains(&format!(" {command}, or refuses")), "{error}");
    }
    for rules in [["~*", "-eval"], ["~*", "-evalsha"]] {
        set_user(&rules).await;
        let error = RedisBackend::connect(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{rules:?}: {error:?}");
        assert!(error.message().contains("ACL"), "{error}");
    }
    // The prefix is not known at connect. Nothing is written to find all that out.
    assert_eq!(set_user(&["~shop:*"]).await, 0);
    let shop = RedisBackend::connect(&url).await.unwrap().prefix("shop:");
    create(&shop, 1, 1).await.unwrap();
    assert_eq!(set_user(&["~shop:*", "-get", "-set"]).await, 1);
    let error = RedisBackend::connect(&url).await.unwrap_err();
    assert!(error.message().contains("GET, SET"), "{error}");
}

/// As some providers have it, and proxies.
#[tokio::test(flavor = "multi_thread")]
async fn a_command_that_is_disabled_is_named() {
    for command in ["SET", "HELLO", "EVALSHA"] {
        let options = Options::default().set("rename-command", format!("{command} \"\""));
        let Some(server) = redis(options).await else { return };
        let url = format!("redis://default:word@{}/", server.address());
        let error = RedisBackend::connect(&url).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{command}: {error:?}");
        assert!(error.message().contains(command), "{command}: {error}");
        assert!(!format!("{error:?}").contains("word"), "{error:?}");
        if command == "HELLO" {
            // What the words propose.
            assert!(error.message().contains("from_connection"), "{error}");
            let given = RedisBackend::from_connection(raw(server.url()).await).await.unwrap();
            create(&given, 1, 1).await.unwrap();
            update(&given, 1, 1, 2).await.unwrap();
            assert!(given.destroy(&key(1), None).await.unwrap());
        }
    }
}

/// Trouble that passes is no reason not to start.
#[tokio::test(flavor = "multi_thread")]
async fn a_full_server_is_connected_to() {
    let Some(server) = redis(Options::default().set("maxmemory", "1")).await else { return };
    let backend = RedisBackend::connect(server.url()).await.unwrap();
    assert_eq!(load(&backend, 1).await.unwrap(), None);
}
