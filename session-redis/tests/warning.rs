//! A server that may throw sessions away is warned of.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "helpers of tests are tests")]

mod support;

use std::fmt::{Debug, Write};
use std::sync::{Arc, Mutex};

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
    let warnings = Warnings::default();
    let guard = tracing::subscriber::set_default(warnings.clone());
    RedisBackend::connect(server.url()).await.unwrap();
    drop(guard);
    let text = warnings.0.lock().unwrap().clone();
    Some(text)
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
