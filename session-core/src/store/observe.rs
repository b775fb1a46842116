//! What `tracing` and `metrics` show of a store: one span and one measurement for each operation, and one
//! event for each step in the life of a session. Nothing is computed or allocated while nobody wants it.
//!
//! A span has the fields `store`, `key` (a fingerprint) and `outcome`. A span that closes without an
//! outcome belongs to a future that was dropped.

use std::fmt;
use std::pin::Pin;

use sha2::{Digest, Sha256};
use tracing::field::{Empty, display};
use tracing::{Instrument as _, Level, Span};

use super::context::Context;
use super::outcome::{Found, Saved};
use crate::clock::Instant;
use crate::measure::Measurement;
use crate::session::Session;
use crate::{Error, ErrorKind, Key, Result, SessionId};

const EVENTS: &str = "session_core::events";

/// One operation, from its first step to its outcome.
pub(super) struct Operation<'a> {
    store: &'static str,
    span: Span,
    measurement: Measurement<'a>,
}

/// The span has a literal name, because its metadata is static.
macro_rules! begin {
    ($name:ident, $span:literal) => {
        pub(super) fn $name(context: &'a Context, store: &'static str) -> Self {
            let span = tracing::debug_span!(
                target: "session_core", $span, store, key = Empty, outcome = Empty
            );
            Self { store, span, measurement: context.metrics.begin(store, stringify!($name)) }
        }
    };
}

impl<'a> Operation<'a> {
    begin!(load, "session.load");
    begin!(save, "session.save");
    begin!(destroy, "session.destroy");
    begin!(is_alive, "session.is_alive");
    begin!(gc, "session.gc");

    /// Runs the operation in its span. The future is pinned where it was made, because moving one of
    /// its size costs as much as a tenth of a load in memory.
    pub(super) async fn run<T>(
        &self,
        work: Pin<&mut impl Future<Output = Result<T>>>,
    ) -> Result<T> {
        let result = match self.span.is_disabled() {
            true => work.await,
            false => work.instrument(self.span.clone()).await,
        };
        if let Err(error) = &result {
            self.ends(failure(error));
        }
        result
    }

    /// Runs `f` in the span, for events that belong to the operation.
    pub(super) fn inside<T>(&self, f: impl FnOnce() -> T) -> T {
        self.span.in_scope(f)
    }

    /// Names the session of a cookie. A sealed session has its key inside the cookie, so it is named
    /// when it is found.
    pub(super) fn begins_with(&self, context: &Context, cookie_value: &str) {
        if !self.span.is_disabled() {
            self.key(SessionId::parse(cookie_value).map(|id| context.key(&id)));
        }
    }

    pub(super) fn found(&self, found: &Found) {
        self.ends(match found {
            Found::Session(_) if self.span.is_disabled() => "found",
            Found::Session(session) => {
                self.key(session.state(|state| {
                    let stored = state.live()?;
                    stored.sealed.as_ref().map(|_| stored.identity.key)
                }));
                "found"
            }
            Found::Rotated(_) => "rotated",
            Found::Nothing => "unknown",
        });
    }

    pub(super) fn alive(&self, alive: bool) {
        self.ends(if alive { "alive" } else { "ended" });
    }

    pub(super) fn collected(&self, records: u64) {
        self.measurement.collected(records);
        self.ends("collected");
    }

    /// Remembers the session before a save or a destruction, if somebody listens.
    pub(super) fn before(&self, session: &Session) -> Option<Before> {
        let listens = !self.span.is_disabled()
            || self.measurement.is_heard()
            || tracing::enabled!(target: EVENTS, Level::DEBUG);
        let before = listens.then(|| Before::of(session))?;
        self.key(before.key.or(before.ended));
        Some(before)
    }

    pub(super) fn saved(&self, before: &Before, session: &Session, saved: Saved) {
        let after = Before::of(session);
        if before.key.or(before.ended).is_none() {
            self.key(after.key);
        }
        let steps = Steps::between(before, &after, saved);
        self.report(&steps, before.key.or(before.ended), after.key);
        self.ends(steps.outcome(saved));
    }

    pub(super) fn destroyed(&self, before: &Before) {
        if before.ended.is_some() {
            self.report(&Steps { ended: true, ..Steps::default() }, before.ended, None);
        }
        self.ends("ended");
    }

    /// One event for each step in the life of the session.
    fn report(&self, steps: &Steps, old: Option<Key>, new: Option<Key>) {
        let Self { store, span, .. } = self;
        let _entered = span.enter();
        if steps.ended
            && let Some(key) = old.map(Fingerprint)
        {
            tracing::debug!(target: EVENTS, store, %key, "session ended");
        }
        let Some(key) = new.map(Fingerprint) else {
            return;
        };
        if steps.created {
            tracing::debug!(target: EVENTS, store, %key, "session created");
        }
        if steps.rotated
            && let Some(old_key) = old.map(Fingerprint)
        {
            tracing::debug!(target: EVENTS, store, %key, %old_key, "session rotated");
        }
        if steps.signed_in {
            tracing::debug!(target: EVENTS, store, %key, "session signed in");
        }
        if steps.renewed {
            tracing::debug!(target: EVENTS, store, %key, "session renewed");
        }
    }

    pub(super) fn key(&self, key: Option<Key>) {
        if let Some(key) = key.filter(|_| !self.span.is_disabled()) {
            self.span.record("key", display(Fingerprint(key)));
        }
    }

    pub(super) fn ends(&self, outcome: &'static str) {
        self.measurement.ends(outcome);
        // Also a disabled span costs a call.
        if !self.span.is_disabled() {
            self.span.record("outcome", outcome);
        }
    }
}

/// A session before a save, or after it.
pub(super) struct Before {
    key: Option<Key>,
    expires: Option<Instant>,
    signs_in: bool,
    /// The first session that has to be destroyed.
    ended: Option<Key>,
}

impl Before {
    fn of(session: &Session) -> Self {
        session.state(|state| {
            let live = state.live();
            Self {
                key: live.map(|stored| stored.identity.key),
                expires: live.map(|stored| stored.expires),
                signs_in: state.changes.sign_in.is_some(),
                ended: state.ended.first().map(|ended| ended.key),
            }
        })
    }
}

/// The steps of one save.
#[derive(Default)]
struct Steps {
    created: bool,
    rotated: bool,
    signed_in: bool,
    renewed: bool,
    ended: bool,
}

impl Steps {
    fn between(before: &Before, after: &Before, saved: Saved) -> Self {
        let same = before.key.is_some() && before.key == after.key;
        Self {
            created: before.key.is_none() && after.key.is_some(),
            rotated: before.key.is_some() && after.key.is_some() && !same,
            signed_in: before.signs_in && !after.signs_in && after.key.is_some(),
            // A deadline that was read from the store again differs a little.
            renewed: same && saved == Saved::Issued && before.expires < after.expires,
            ended: before.ended.is_some() && after.ended.is_none(),
        }
    }

    /// The most important step.
    fn outcome(&self, saved: Saved) -> &'static str {
        match self {
            Self { signed_in: true, .. } => "signed_in",
            Self { rotated: true, .. } => "rotated",
            Self { created: true, .. } => "created",
            Self { ended: true, .. } => "ended",
            Self { renewed: true, .. } => "renewed",
            _ if saved == Saved::Unchanged => "unchanged",
            _ => "updated",
        }
    }
}

fn failure(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::Unavailable if error.nothing_was_written() => "refused",
        ErrorKind::Unavailable => "unavailable",
        ErrorKind::Gone => "gone",
        ErrorKind::Conflict => "conflict",
        ErrorKind::Corrupt => "corrupt",
        ErrorKind::TooLarge => "too_large",
        ErrorKind::TooManySessions => "too_many_sessions",
        _ => "failed",
    }
}

/// Tells sessions apart in a log, the same on every node. It is a digest of the key, so it leads
/// neither to the key nor to the session id.
struct Fingerprint(Key);

impl fmt::Display for Fingerprint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digest = Sha256::new()
            .chain_update("session fingerprint\0")
            .chain_update(self.0.as_bytes())
            .finalize();
        digest.iter().take(8).try_for_each(|byte| write!(f, "{byte:02x}"))
    }
}
