//! The log contains the reason why a value was refused, but none of its contents.

#![allow(clippy::unwrap_used)] // also outside of #[test] functions, in their helpers

mod common;

use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{Clock, NAME, key, modes, open, record, seal};
use session_cookie::CookieStore;
use session_core::SessionId;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record as SpanRecord};
use tracing::{Event, Metadata, Subscriber};

/// Records every event of every level.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<String>>);

impl Subscriber for Log {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }
    fn event(&self, event: &Event<'_>) {
        struct Fields<'a>(&'a mut String);
        impl Visit for Fields<'_> {
            fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
                writeln!(self.0, "{}={value:?}", field.name()).unwrap();
            }
        }
        let mut log = self.0.lock().unwrap();
        writeln!(log, "{}", event.metadata().level()).unwrap();
        event.record(&mut Fields(&mut log));
    }
    fn new_span(&self, _: &Attributes<'_>) -> Id {
        Id::from_u64(1)
    }
    fn record(&self, _: &Id, _: &SpanRecord<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

fn refused(store: &CookieStore, value: &str) -> String {
    let log = Log::default();
    tracing::subscriber::with_default(log.clone(), || {
        assert!(open(store, value).is_none());
    });
    log.0.lock().unwrap().clone()
}

#[test]
fn a_trace_event_contains_the_reason_without_contents() {
    for (mode, make) in modes() {
        let clock = Clock::new();
        let key = key();
        let store = clock.of(make(NAME, std::slice::from_ref(&key)));
        let value = seal(&store, &record());
        let relabelled = |index: usize| {
            let mut bytes = URL_SAFE_NO_PAD.decode(&value).unwrap();
            bytes[index] ^= 0x40;
            URL_SAFE_NO_PAD.encode(bytes)
        };

        let other_key = clock.of(make(NAME, &[common::key()]));
        let moved = clock.of(make("other", &[key]));
        let mut cases = vec![
            (refused(&store, &"A".repeat(4097)), "longer than any cookie"),
            (refused(&store, "a=b"), "not canonical base64url"),
            (refused(&store, &format!("{value}=")), "not canonical base64url"),
            (refused(&store, ""), "too short"),
            (refused(&store, &value[..20]), "too short"),
            (refused(&store, &relabelled(0)), "of another version or algorithm"),
            (refused(&store, &relabelled(1)), "a key that is not in the ring"),
            (refused(&other_key, &value), "a key that is not in the ring"),
            (refused(&store, &relabelled(70)), "changed, or sealed for another cookie"),
            (refused(&moved, &value), "changed, or sealed for another cookie"),
        ];
        clock.advance(Duration::from_secs(86_400));
        cases.push((refused(&store, &value), "reason=\"expired\""));

        let id = SessionId::from_bytes([7; 32]);
        for (log, reason) in cases {
            assert!(log.contains(reason), "{mode}: {reason}: {log}");
            assert!(log.starts_with("DEBUG") && log.lines().count() == 4, "{mode}: {log}");
            for secret in [&value[..12], &value[60..72], "ann@", "theme", &id.expose()[..8]] {
                assert!(!log.contains(secret), "{mode}: {secret}: {log}");
            }
        }
    }
}

#[test]
fn a_value_that_opens_is_not_logged() {
    for (mode, make) in modes() {
        let store = make(NAME, &[key()]);
        let log = Log::default();
        tracing::subscriber::with_default(log.clone(), || {
            assert!(open(&store, &seal(&store, &record())).is_some());
        });
        assert_eq!(*log.0.lock().unwrap(), "", "{mode}");
    }
}
