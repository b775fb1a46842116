//! Records the outcomes that the clients got, and compares them with the store.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};

use serde_json::{Map, Value};
use session_core::{Key, SessionId};

use super::network::{Network, Table, say};

/// The outcome of a change, as the client got it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Outcome {
    Written,
    /// According to an error.
    NotWritten,
    InDoubt,
}

#[derive(Default)]
struct Notes {
    /// The ids of the clients' cookies, oldest first.
    ids: Vec<(String, Key)>,
    /// Ids that an acknowledged rotation replaced.
    replaced: Vec<Key>,
    /// Sessions (their first keys) that an acknowledged logout ended.
    ended: HashSet<Key>,
    /// Sessions for which a logout was at least tried.
    threatened: HashSet<Key>,
    /// Each change: its mark, its session and its outcome.
    changes: Vec<(String, Key, Outcome)>,
    /// The results of `store.update`, for each session.
    numbers: HashSet<(Key, u32)>,
}

/// Shared by all clients.
pub(super) struct Ledger {
    network: Arc<Network>,
    notes: Mutex<Notes>,
}

impl Ledger {
    pub(super) fn new(network: Arc<Network>) -> Self {
        Self { network, notes: Mutex::default() }
    }

    fn notes<T>(&self, note: impl FnOnce(&mut Notes) -> T) -> T {
        note(&mut self.notes.lock().unwrap())
    }

    /// The newest id of a client's cookie, or a random one.
    pub(super) fn an_id(&self, random: &mut fastrand::Rng) -> String {
        self.notes(|notes| match random.bool() {
            true => notes.ids.last().unwrap().0.clone(),
            false => random.choice(&notes.ids).unwrap().0.clone(),
        })
    }

    pub(super) fn issued(&self, id: &str) {
        self.notes(|notes| {
            if !notes.ids.iter().any(|(known, _)| known == id) {
                notes.ids.push((id.to_owned(), key(id)));
            }
        });
        self.check();
    }

    /// Records an acknowledged save that gave the session another id.
    pub(super) fn rotated(&self, old: &str, new: &str, signs_in: bool) {
        let (old, new) = (key(old), key(new));
        let is_moved = self.network.table(|table| first(table, old) == first(table, new));
        // Only a late sign-in creates a separate session.
        let is_late = signs_in && self.network.table(|table| table.moved.contains_key(&old));
        assert!(is_moved || is_late, "the new id does not follow from the old one");
        self.notes(|notes| notes.replaced.push(old));
        self.check();
    }

    pub(super) fn logout_begins(&self, id: &str) {
        let first = self.first(id);
        self.notes(|notes| notes.threatened.insert(first));
    }

    pub(super) fn logged_out(&self, id: &str) {
        say(|| format!("logged out: {id:.6}"));
        let first = self.first(id);
        self.notes(|notes| notes.ended.insert(first));
        self.check();
    }

    pub(super) fn changed(&self, mark: String, id: &str, outcome: Outcome) {
        let first = self.first(id);
        self.notes(|notes| notes.changes.push((mark, first, outcome)));
    }

    pub(super) fn counted(&self, id: &str, number: u32) {
        let first = self.first(id);
        let is_new = self.notes(|notes| notes.numbers.insert((first, number)));
        assert!(is_new, "two updates returned {number}");
    }

    fn first(&self, id: &str) -> Key {
        self.network.table(|table| first(table, key(id)))
    }

    /// Whether the network has no failures.
    pub(super) fn is_calm(&self) -> bool {
        self.network.accidents == 0
    }

    /// Checks the invariants that hold at every moment.
    pub(super) fn check(&self) {
        self.network.table(|table| {
            let notes = self.notes.lock().unwrap();
            assert!(!table.renewed_tombstone, "a tombstone was renewed");
            for old in &notes.replaced {
                assert!(!table.is_session(old), "an id that was replaced loads");
            }
            let mut alive = HashSet::new();
            for (_, key) in &notes.ids {
                if table.is_session(key) {
                    let first = first(table, *key);
                    assert!(alive.insert(first), "two ids of one session load");
                }
            }
            for key in table.records.keys().filter(|key| table.is_session(key)) {
                let is_ended = notes.ended.contains(&first(table, *key));
                assert!(!is_ended, "a session lives after its logout");
            }
        });
    }

    /// Checks the invariants that hold in the end, when no request is in flight.
    pub(super) fn check_end(&self) {
        self.check();
        let notes = self.notes.lock().unwrap();
        let sessions = self.network.table(|table| sessions(table));
        let known: HashSet<_> = notes.ids.iter().map(|(id, _)| self.first(id)).collect();
        if self.is_calm() {
            assert!(
                sessions.keys().all(|first| known.contains(first)),
                "a session whose id no client has"
            );
        }
        for first in &known {
            if !notes.threatened.contains(first) {
                assert!(sessions.contains_key(first), "a session was lost without a logout");
            }
        }
        for (first, data) in sessions.iter().filter(|(first, _)| known.contains(first)) {
            let marks = data.keys().filter(|name| name.starts_with("by ")).count();
            let n = data["n"].as_u64().unwrap();
            assert_eq!(n, marks as u64, "an increment was lost or applied twice");
            for (mark, of, outcome) in &notes.changes {
                let is_there = data.contains_key(mark);
                match outcome {
                    Outcome::Written if of == first => assert!(is_there, "lost: {mark}"),
                    Outcome::NotWritten => assert!(
                        !is_there,
                        "written, although an error said that it was not: {mark}"
                    ),
                    _ => {}
                }
            }
        }
    }
}

fn key(id: &str) -> Key {
    SessionId::parse(id).unwrap().key()
}

/// The first key of the session that has or had this key.
fn first(table: &Table, key: Key) -> Key {
    match table.moved.iter().find(|(_, new)| **new == key) {
        Some((old, _)) => first(table, *old),
        None => key,
    }
}

/// The values of all live sessions, by their first keys.
fn sessions(table: &Table) -> HashMap<Key, Map<String, Value>> {
    let mut sessions = HashMap::new();
    for (key, (record, _)) in table.records.iter().filter(|(key, _)| table.is_session(key)) {
        let payload: Value = serde_json::from_slice(&record.payload).unwrap();
        let data = payload["data"].as_object().unwrap().clone();
        assert!(sessions.insert(first(table, *key), data).is_none(), "a session lives twice");
    }
    sessions
}
