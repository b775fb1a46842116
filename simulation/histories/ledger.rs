//! What one visitor was told of a session, and what must follow from it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use session_core::Error;

/// What all visitors of one store did.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) operations: AtomicU64,
    pub(crate) acknowledged: AtomicU64,
    pub(crate) changes: AtomicU64,
    pub(crate) in_doubt: AtomicU64,
    pub(crate) refused: AtomicU64,
    pub(crate) sessions: AtomicU64,
    pub(crate) audited: AtomicU64,
    /// The slowest operation, in milliseconds.
    pub(crate) slowest: AtomicU64,
    violations: Mutex<Vec<String>>,
}

impl Counts {
    pub(crate) fn operation<T>(&self, took: Duration, outcome: Option<&Result<T, Error>>) {
        add(&self.operations);
        let millis = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
        self.slowest.fetch_max(millis, Ordering::Relaxed);
        match outcome {
            Some(Ok(_)) => add(&self.acknowledged),
            Some(Err(error)) if error.nothing_was_written() => add(&self.refused),
            Some(Err(_)) | None => add(&self.in_doubt),
        }
    }

    pub(crate) fn violation(&self, what: impl Into<String>) {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).push(what.into());
    }

    pub(crate) fn violations(&self) -> Vec<String> {
        self.violations.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

pub(crate) fn add(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// What became of one change, as far as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    Acknowledged,
    /// The client was told that nothing was written.
    NotWritten,
    Doubt,
}

/// One session under all of its ids.
#[derive(Default)]
pub(crate) struct Ledger(Mutex<State>);

#[derive(Default)]
pub(crate) struct State {
    /// In the order of the rotations.
    pub(crate) cookies: Vec<Cookie>,
    /// Somebody tried to end the session.
    pub(crate) ending: bool,
    /// Its end was acknowledged.
    pub(crate) dead: bool,
    fates: BTreeMap<u32, Fate>,
    /// In the order of the acknowledgements.
    acknowledged: Vec<u32>,
    /// The results of `SessionStore::update`.
    settled: Vec<Vec<u32>>,
    last_change: u32,
}

pub(crate) struct Cookie {
    pub(crate) value: String,
    /// A client has the next id.
    replaced: bool,
    /// Somebody tried to give the session a new id while this was the last one.
    rotating: bool,
}

/// What was known when a load began.
pub(crate) struct Before {
    pub(crate) cookie: usize,
    pub(crate) value: String,
    dead: bool,
    replaced: bool,
    acknowledged: usize,
}

/// What a load found.
pub(crate) enum Seen<'a> {
    Session(&'a BTreeSet<u32>),
    Rotated,
    Nothing,
}

impl Ledger {
    pub(crate) fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    pub(crate) fn new_change(&mut self) -> u32 {
        self.last_change += 1;
        self.last_change
    }

    /// `None`: nobody has an id yet.
    pub(crate) fn before(&self, cookie: usize) -> Option<Before> {
        let Cookie { value, replaced, .. } = self.cookies.get(cookie)?;
        Some(Before {
            cookie,
            value: value.clone(),
            dead: self.dead,
            replaced: *replaced,
            acknowledged: self.acknowledged.len(),
        })
    }

    pub(crate) fn after(&self, before: &Before, seen: &Seen<'_>) -> Option<&'static str> {
        let cookie = &self.cookies[before.cookie];
        match seen {
            Seen::Session(_) if before.dead => Some("a session was loaded after its end"),
            Seen::Session(_) if before.replaced => {
                Some("a session was loaded with an id that had been replaced")
            }
            Seen::Session(there) => {
                let known = &self.acknowledged[..before.acknowledged];
                let lost = known.iter().any(|change| !there.contains(change));
                lost.then_some("a load did not show a change that had been acknowledged before")
            }
            Seen::Rotated if !cookie.rotating => Some("an id was replaced by nobody"),
            Seen::Nothing if !cookie.rotating && !self.ending => {
                Some("a load did not find a session that lives")
            }
            Seen::Rotated | Seen::Nothing => None,
        }
    }

    pub(crate) fn begin_rotation(&mut self, cookie: usize) {
        if let Some(cookie) = self.cookies.get_mut(cookie) {
            cookie.rotating = true;
        }
    }

    /// A client has this id from now on. Returns its number.
    pub(crate) fn issued(&mut self, value: String) -> usize {
        if let Some(known) = self.cookies.iter().position(|cookie| cookie.value == value) {
            return known;
        }
        for cookie in &mut self.cookies {
            cookie.replaced = true;
        }
        self.cookies.push(Cookie { value, replaced: false, rotating: false });
        self.cookies.len() - 1
    }

    pub(crate) fn set(&mut self, change: u32, fate: Fate) {
        let before = self.fates.insert(change, fate);
        if fate == Fate::Acknowledged && before != Some(Fate::Acknowledged) {
            self.acknowledged.push(change);
        }
    }

    pub(crate) fn is_in_doubt(&self, change: u32) -> bool {
        self.fates.get(&change) == Some(&Fate::Doubt)
    }

    pub(crate) fn settled(&mut self, result: Vec<u32>) {
        self.settled.push(result);
    }

    /// Whether the last id may have been replaced by one that no client got.
    pub(crate) fn may_have_moved(&self) -> bool {
        self.cookies.last().is_none_or(|cookie| cookie.rotating)
    }

    /// Checks the content of a session that nobody uses any more: `list` is what the updates left,
    /// `names` what was inserted.
    pub(crate) fn audit(&self, list: &[u32], names: &BTreeSet<u32>) -> Option<String> {
        let mut there = names.clone();
        for change in list {
            if !there.insert(*change) {
                return Some("a change was applied twice".to_owned());
            }
        }
        for (change, fate) in &self.fates {
            match (fate, there.contains(change)) {
                (Fate::Acknowledged, false) => {
                    return Some("an acknowledged change is not there".to_owned());
                }
                (Fate::NotWritten, true) => {
                    return Some(
                        "a change is there whose client was told that nothing was written"
                            .to_owned(),
                    );
                }
                _ => {}
            }
        }
        let wrong = self.settled.iter().any(|result| !list.starts_with(result));
        wrong.then(|| "a settled update returned what was not written".to_owned())
    }
}
