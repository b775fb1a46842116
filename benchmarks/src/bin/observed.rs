//! What spans and metrics cost a load in memory.
//!
//!     cargo run --release -p benchmarks --features metrics --bin observed
//!
//! Two stores are measured alternately: one that nobody listens to, and one with a Prometheus recorder. Then
//! one with a recorder and a `tracing` subscriber that takes every span. Without the feature, only the first:
//! `observed LOADS` then runs under callgrind, and the difference to the same run with the feature is what an
//! unheard measurement costs.
#![allow(clippy::print_stdout, reason = "that is what the program is for")]

use std::time::{Duration, Instant};

use session_core::SessionStore;
use session_memory::MemoryBackend;

const ROUNDS: u32 = 40;
const ROUND: Duration = Duration::from_millis(50);

/// A session in a store, which has had its first operation.
struct Subject {
    name: &'static str,
    store: SessionStore,
    value: String,
    spans: bool,
    loads: u64,
    time: Duration,
}

impl Subject {
    async fn new(name: &'static str, spans: bool) -> Self {
        let store = SessionStore::new(MemoryBackend::new());
        let session = store.create();
        for (name, value) in bench_harness::values() {
            session.insert(name, value).expect("it can be kept");
        }
        let _ = store.save(&session).await.expect("it is saved");
        let value = store.cookie_value(&session).expect("it is stored").into_string();
        Self { name, store, value, spans, loads: 0, time: Duration::ZERO }
    }

    async fn load(&self) {
        let found = self.store.load(&self.value).await.expect("the store answers");
        assert!(found.is_some(), "the session is there");
    }

    async fn round(&mut self) {
        let _guard = self.spans.then(|| tracing::subscriber::set_default(Listener));
        let begun = Instant::now();
        while begun.elapsed() < ROUND {
            for _ in 0..100 {
                self.load().await;
            }
            self.loads += 100;
        }
        self.time += begun.elapsed();
    }

    fn nanos(&self) -> f64 {
        self.time.as_nanos() as f64 / self.loads as f64
    }
}

/// Takes every span and keeps nothing.
struct Listener;

impl tracing::Subscriber for Listener {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }
    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::Id {
        tracing::Id::from_u64(1)
    }
    fn record(&self, _: &tracing::Id, _: &tracing::span::Record<'_>) {}
    fn record_follows_from(&self, _: &tracing::Id, _: &tracing::Id) {}
    fn event(&self, _: &tracing::Event<'_>) {}
    fn enter(&self, _: &tracing::Id) {}
    fn exit(&self, _: &tracing::Id) {}
}

fn main() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build();
    runtime.expect("a runtime can be made").block_on(measure());
}

async fn measure() {
    let unheard = Subject::new("nobody listens", false).await;
    if let Some(loads) = std::env::args().nth(1) {
        for _ in 0..loads.parse().expect("a number of loads") {
            unheard.load().await;
        }
        return;
    }
    let mut subjects = vec![unheard];
    #[cfg(feature = "metrics")]
    {
        let recorder = metrics_exporter_prometheus::PrometheusBuilder::new().build_recorder();
        metrics::set_global_recorder(recorder).expect("there was none");
        subjects.push(Subject::new("a recorder", false).await);
        subjects.push(Subject::new("a recorder and a subscriber", true).await);
    }
    // A subscriber makes the spans of the whole process dearer, so it comes last.
    for spans in [false, true] {
        for _ in 0..ROUNDS {
            for subject in subjects.iter_mut().filter(|subject| subject.spans == spans) {
                subject.round().await;
            }
        }
    }
    let first = subjects[0].nanos();
    println!("| a load in memory | ns | more |\n|---|--:|--:|");
    for subject in &subjects {
        let nanos = subject.nanos();
        println!("| {} | {nanos:.0} | {:.0} |", subject.name, nanos - first);
    }
}
