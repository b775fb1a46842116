//! A server that may throw sessions away is warned of.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod support;

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

use session_core::Backend;
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

/// As the README has it, and without `INFO`.
#[tokio::test]
async fn a_server_that_does_not_tell_is_warned_of() {
    let Some(server) = support::redis(Options::default()).await else { return };
    let mut admin = support::raw(server.url()).await;
    let rights = include_str!("../README.md")
        .lines()
        .find_map(|line| line.strip_prefix("ACL SETUSER sessions on >PASSWORD "));
    let rights = rights.unwrap().split(' ');
    for (user, told) in [("all", true), ("less", false)] {
        let mut rights: Vec<&str> = rights.clone().collect();
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
        support::update(&backend, 1, 1, 2).await.unwrap();
        let (old, new, only) =
            (support::key(1), support::key(2), session_core::Revision::from_u64(2));
        let update = session_core::Update { expected: only, ttl: None };
        backend.rotate(&old, &new, &support::record(2), update).await.unwrap();
        backend.touch(&new, support::HOUR).await.unwrap();
        let loads = (0..64).map(|_| {
            let backend = backend.clone();
            tokio::spawn(async move { support::load(&backend, 2).await })
        });
        for load in loads.collect::<Vec<_>>() {
            assert_eq!(load.await.unwrap().unwrap(), Some(2));
        }
        assert!(backend.destroy(&new, Some(only)).await.unwrap());
        support::create(&backend, 1, 1).await.unwrap();
        assert!(backend.destroy(&old, None).await.unwrap());
    }
}
