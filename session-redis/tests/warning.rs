//! A server that may throw sessions away is warned of.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod support;

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use session_core::{Backend, BatchBackend};
use session_redis::RedisBackend;
use test_servers::Options;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Metadata, Subscriber};

/// Collects the fields of warnings.
#[derive(Clone, Default)]
struct Warnings(Arc<Mutex<String>>);

impl Visit for Warnings {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        writeln!(self.0.lock().unwrap(), "{field}: {value:?}").unwrap();
    }
}

impl Subscriber for Warnings {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        *metadata.level() == Level::WARN && metadata.target().starts_with("session_redis")
    }
    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// What is warned of when we connect to such a server; on this thread, hence the plain runtime.
async fn warnings(options: Options) -> Option<String> {
    let server = support::redis(options).await?;
    Some(warnings_of(server.url()).await)
}

async fn warnings_of(url: &str) -> String {
    let warnings = Warnings::default();
    let guard = tracing::subscriber::set_default(warnings.clone());
    RedisBackend::connect(url).await.unwrap();
    drop(guard);
    warnings.0.lock().unwrap().clone()
}

#[tokio::test]
async fn an_evicting_server_is_warned_of() {
    for policy in ["allkeys-lru", "volatile-ttl"] {
        let options = Options::default().set("maxmemory", "50mb").set("maxmemory-policy", policy);
        let Some(text) = warnings(options).await else { return };
        assert!(text.contains(policy) && text.contains("noeviction"), "{text}");
    }
    let keeping = Options::default().set("maxmemory", "50mb").set("maxmemory-policy", "noeviction");
    assert_eq!(warnings(keeping).await.as_deref(), Some(""));
    let unlimited = Options::default().set("maxmemory-policy", "allkeys-lru");
    assert_eq!(warnings(unlimited).await.as_deref(), Some(""));
}

/// What the README says a user needs.
fn rights() -> Vec<&'static str> {
    let mut lines = include_str!("../README.md").lines();
    let rights = lines.find_map(|line| line.strip_prefix("ACL SETUSER sessions on >PASSWORD "));
    rights.unwrap().split(' ').collect()
}

/// As the README has it, and without `INFO`.
#[tokio::test]
async fn a_server_that_does_not_tell_is_warned_of() {
    let Some(server) = support::redis(Options::default()).await else { return };
    let mut admin = support::raw(server.url()).await;
    for (user, told) in [("all", true), ("less", false)] {
        let mut rights = rights();
        rights.retain(|right| told || *right != "+info");
        let mut command = redis::cmd("ACL");
        command
            .arg(&["SETUSER", user, "on", ">word"])
            .arg(&rights)
            .exec_async(&mut admin)
            .await
            .unwrap();
        let url = format!("redis://{user}:word@{}/", server.address());
        let text = warnings_of(&url).await;
        assert_eq!(text.contains("refuses INFO"), !told, "{text}");
        let backend = RedisBackend::connect(&url).await.unwrap();
        support::create(&backend, 1, 1).await.unwrap();
        support::load(&backend, 1).await.unwrap();
        support::update(&backend, 1, 1, 2).await.unwrap();
        support::touch(&backend, 1, 2).await.unwrap();
        let only = session_core::Revision::from_u64(2);
        let keys = [1, 2].map(support::key);
        assert!(backend.load_many(&keys).await.into_iter().all(|loaded| loaded.is_ok()));
        assert!(backend.destroy(&support::key(1), Some(only)).await.unwrap());
        support::create(&backend, 1, 1).await.unwrap();
        assert!(backend.destroy(&support::key(1), None).await.unwrap());

        // A connection of the application's that does not tell may lead to a cluster.
        assert!(backend.batch().is_some());
        let given = RedisBackend::from_connection(support::raw(&url).await).await.unwrap();
        assert_eq!(given.batch().is_some(), told);
        support::create(&given, 1, 1).await.unwrap();
        support::update(&given, 1, 1, 2).await.unwrap();
        assert_eq!(support::load(&given, 1).await.unwrap(), Some(2));
        assert!(given.destroy(&support::key(1), None).await.unwrap());
    }
}

#[cfg(feature = "cluster")]
#[tokio::test]
async fn the_same_rights_are_enough_in_a_cluster() {
    let started = support::start(|| test_servers::redis::cluster::start_new(3, 0));
    let Some(cluster) = started.await else { return };
    for node in cluster.nodes() {
        let mut admin = support::raw(node.url()).await;
        let mut command = redis::cmd("ACL");
        command.arg(&["SETUSER", "user", "on", ">word"]).arg(rights());
        command.exec_async(&mut admin).await.unwrap();
    }
    let addresses: Vec<&str> = cluster.nodes().map(test_servers::Server::address).collect();
    let url = format!("redis+cluster://user:word@{}", addresses.join(","));
    assert_eq!(warnings_of(&url).await, "");
    let backend = RedisBackend::connect(&url).await.unwrap();
    for number in 0..20 {
        support::create(&backend, number, 1).await.unwrap();
        support::update(&backend, number, 1, 2).await.unwrap();
        support::touch(&backend, number, 2).await.unwrap();
        assert_eq!(support::load(&backend, number).await.unwrap(), Some(2));
        assert!(backend.destroy(&support::key(number), None).await.unwrap());
    }
}
