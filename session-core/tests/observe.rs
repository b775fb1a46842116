//! Spans and events of the store. A program of its own: `tracing` caches for the whole process whether
//! somebody listens, and a thread of another test, without a subscriber, would turn an event off.

#![allow(clippy::unwrap_used)]

#[allow(dead_code)]
#[path = "session/faulty.rs"]
mod faulty;
#[allow(dead_code)]
#[path = "session/support.rs"]
mod support;

use std::fmt::{Debug, Write as _};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use session_core::{Key, Owner, SessionId};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::subscriber::{DefaultGuard, set_default};
use tracing::{Event, Metadata, Subscriber};

use crate::support::{cookie, increment, load, store, stored};

/// Writes down the spans and events of this thread's `session_core`.
#[derive(Clone, Default)]
struct Log(Arc<Inner>);

#[derive(Default)]
struct Inner {
    text: Mutex<String>,
    spans: AtomicU64,
}

impl Log {
    fn listen() -> (Self, DefaultGuard) {
        let log = Self::default();
        let guard = set_default(log.clone());
        (log, guard)
    }

    /// What was written since the last call.
    fn take(&self) -> String {
        std::mem::take(&mut self.0.text.lock().unwrap())
    }

    fn write(&self, what: &str, record: impl FnOnce(&mut Fields<'_>)) {
        let mut text = self.0.text.lock().unwrap();
        write!(text, "{what}").unwrap();
        record(&mut Fields(&mut text));
        text.push('\n');
    }
}

struct Fields<'a>(&'a mut String);

impl Visit for Fields<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        write!(self.0, " {}={value:?}", field.name()).unwrap();
    }
}

impl Subscriber for Log {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("session_core")
    }
    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.write(span.metadata().name(), |fields| span.record(fields));
        Id::from_u64(self.0.spans.fetch_add(1, Ordering::Relaxed) + 1)
    }
    fn record(&self, _: &Id, values: &Record<'_>) {
        self.write("", |fields| values.record(fields));
    }
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, event: &Event<'_>) {
        self.write("event", |fields| event.record(fields));
    }
    fn enter(&self, _: &Id) {}
    fn exit(&self, _: &Id) {}
}

/// The log has the parts, in this order.
fn assert_parts(log: &str, parts: &[&str]) {
    let mut rest = log;
    for part in parts {
        let place = rest.find(part).unwrap_or_else(|| panic!("{part} is not in order in:\n{log}"));
        rest = &rest[place + part.len()..];
    }
}

#[tokio::test]
async fn each_operation_has_a_span_with_its_outcome_and_each_step_an_event() {
    let (log, _guard) = Log::listen();
    let (_, store) = store();
    let (value, _) = stored(&store).await;
    let created = ["session.save store=", "session created", "outcome=\"created\""];
    assert_parts(&log.take(), &[&created[..], &["session.load", "outcome=\"found\""]].concat());

    let session = load(&store, &value).await;
    increment(&session);
    store.save(&session).await.unwrap();
    let updated = log.take();
    assert_parts(&updated, &["session.save", "outcome=\"updated\""]);
    assert!(!updated.contains("event"), "{updated}");

    store.save(&session).await.unwrap();
    assert_parts(&log.take(), &["session.save", "outcome=\"unchanged\""]);

    session.extend();
    session.reset_lifetime();
    store.save(&session).await.unwrap();
    assert_parts(&log.take(), &["session renewed", "outcome=\"renewed\""]);

    session.regenerate();
    store.save(&session).await.unwrap();
    assert_parts(&log.take(), &["session rotated", "old_key=", "outcome=\"rotated\""]);
    assert!(store.load(&value).await.unwrap().is_none());
    assert_parts(&log.take(), &["session.load", "outcome=\"rotated\""]);

    session.sign_in(Owner::new("alice@example").unwrap());
    store.save(&session).await.unwrap();
    let steps = ["session rotated", "session signed in", "outcome=\"signed_in\""];
    assert_parts(&log.take(), &steps);

    assert!(store.is_alive(&session).await.unwrap());
    assert_parts(&log.take(), &["session.is_alive", "outcome=\"alive\""]);

    let value = cookie(&store, &session);
    store.destroy(&session).await.unwrap();
    assert_parts(&log.take(), &["session.destroy", "session ended", "outcome=\"ended\""]);
    assert!(store.load(&value).await.unwrap().is_none());
    assert_parts(&log.take(), &["session.load", "key=", "outcome=\"unknown\""]);
}

#[tokio::test]
async fn the_records_of_another_library_have_spans() {
    let (log, _guard) = Log::listen();
    let (_, store) = store();
    let records = store.records("theirs").unwrap();
    let key = records.key(b"an id of the other library");
    assert!(records.load(&key).await.unwrap().is_none());
    assert_parts(&log.take(), &["session.load store=", "key=", "outcome=\"unknown\""]);
    records.destroy(&key).await.unwrap();
    assert_parts(&log.take(), &["session.destroy store=", "key=", "outcome=\"ended\""]);
}

#[tokio::test]
async fn the_fingerprint_names_a_session_and_contains_no_part_of_its_id_or_key() {
    let (log, _guard) = Log::listen();
    let (_, store) = store();
    let (value, session) = stored(&store).await;
    session.sign_in(Owner::new("alice@example").unwrap());
    let text = log.take();
    let fingerprints: Vec<&str> =
        text.split("key=").skip(1).map(|rest| rest.get(..16).unwrap()).collect();
    assert!(fingerprints.len() >= 3, "{text}");
    assert!(fingerprints.iter().all(|other| *other == fingerprints[0]), "{text}");

    store.save(&session).await.unwrap();
    let text = text + &log.take();
    let id: SessionId = SessionId::parse(&value).unwrap();
    let key: Key = id.key();
    for secret in [&value[..6], &key.to_hex()[..8], "alice"] {
        assert!(!text.contains(secret), "{secret} is in:\n{text}");
    }
}
