//! What must hold, from all that clients were told and all that the store carried out.

use std::collections::{BTreeMap, HashMap};

use session_core::{ErrorKind, Key};

use crate::content::Content;

/// What became of one change, as far as its client knows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It was not saved yet.
    Open,
    /// Acknowledged, as a change of this session.
    Acknowledged(usize),
    /// The client was told that nothing was written.
    NotWritten(ErrorKind),
    /// It was discarded before any save tried to write it.
    Discarded,
    Doubt,
    /// In doubt, and then the client was told `Gone`.
    GoneAfterDoubt,
}

/// One session under all of its ids.
#[derive(Debug, Default)]
pub(crate) struct Lineage {
    /// In the order of the rotations.
    pub(crate) keys: Vec<Key>,
    /// The changes that were acknowledged, in that order.
    pub(crate) acknowledged: Vec<u32>,
    /// Somebody tried to destroy it.
    pub(crate) destroy_begun: bool,
    /// Its destruction was acknowledged.
    pub(crate) dead: bool,
    /// It must not expire before.
    pub(crate) alive_until: u64,
    /// The store's lifetime must not end it before.
    pub(crate) ends: u64,
    /// It has had a lifetime of its own.
    pub(crate) own_life: bool,
    pub(crate) rotations: u64,
    /// What the last write left.
    pub(crate) content: Content,
    /// The results of `SessionStore::update`.
    pub(crate) settled: Vec<Vec<u32>>,
}

#[derive(Debug, Default)]
pub(crate) struct KeyState {
    pub(crate) lineage: Option<usize>,
    /// A client holds the id.
    pub(crate) issued: bool,
    /// Where a tombstone leads, and when it expires.
    pub(crate) next: Option<(Key, u64)>,
    /// Somebody holds a newer id of this session.
    pub(crate) superseded: bool,
}

/// What was known of a session when a load began.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Before {
    pub(crate) lineage: usize,
    dead: bool,
    superseded: bool,
    acknowledged: usize,
}

#[derive(Default)]
pub(crate) struct Model {
    pub(crate) keys: HashMap<Key, KeyState>,
    pub(crate) lineages: Vec<Lineage>,
    /// By the number of the change.
    pub(crate) fates: Vec<Fate>,
    /// The changes that a write of a known session carried, with that session.
    pub(crate) written: BTreeMap<u32, usize>,
    origins: HashMap<u32, usize>,
    revisions: HashMap<u64, Key>,
    /// The first is what is reported.
    pub(crate) violations: Vec<String>,
}

impl Model {
    pub(crate) fn violation(&mut self, what: impl Into<String>) {
        self.violations.push(what.into());
    }

    pub(crate) fn new_change(&mut self) -> u32 {
        self.fates.push(Fate::Open);
        u32::try_from(self.fates.len() - 1).expect("a schedule has few changes")
    }

    pub(crate) fn fate(&mut self, change: u32) -> &mut Fate {
        &mut self.fates[change as usize]
    }

    pub(crate) fn lineage_of(&self, key: &Key) -> Option<usize> {
        self.keys.get(key)?.lineage
    }

    pub(crate) fn lineage(&mut self, key: &Key) -> Option<&mut Lineage> {
        let lineage = self.lineage_of(key)?;
        self.lineages.get_mut(lineage)
    }

    /// The store carried out a write. `before` is what it replaced.
    pub(crate) fn wrote(
        &mut self,
        key: Key,
        revision: u64,
        before: Option<&Content>,
        content: &Content,
    ) {
        if self.revisions.insert(revision, key).is_some() {
            self.violation("one revision was stored twice");
        }
        let Some(lineage) = self.lineage_of(&key) else {
            return;
        };
        if !content.is_session() {
            return;
        }
        if self.lineages[lineage].dead {
            self.violation("a session was written after its destruction was acknowledged");
        }
        if before.is_some_and(|before| !before.is_session()) {
            self.violation("a tombstone was replaced by a session");
        }
        self.carry(lineage, content);
    }

    /// The session consists of this from now on.
    fn carry(&mut self, lineage: usize, content: &Content) {
        if !content.extends(&self.lineages[lineage].content) {
            self.violation("a write lost what was there, or applied a change twice");
        }
        self.written.extend(content.changes().map(|change| (change, lineage)));
        let lineage = &mut self.lineages[lineage];
        if content.own_life && !lineage.own_life {
            // Whoever wanted that did not know its id.
            (lineage.own_life, lineage.alive_until) = (true, 0);
        }
        lineage.content = content.clone();
    }

    /// The store replaced a session by a tombstone. `content` is what there is under the new key.
    pub(crate) fn rotated(&mut self, old: Key, new: Key, expiry: u64, content: Option<&Content>) {
        let lineage = self.lineage_of(&old).unwrap_or(self.lineages.len());
        if lineage == self.lineages.len() {
            // Nobody was told of its first id yet.
            self.lineages.push(Lineage { keys: vec![old], ..Lineage::default() });
        }
        let state = self.keys.entry(old).or_default();
        (state.next, state.lineage) = (Some((new, expiry)), Some(lineage));
        let Some(content) = content else {
            if !self.lineages[lineage].destroy_begun {
                self.violation("a tombstone leads to a record that is not there");
            }
            return;
        };
        let state = self.keys.entry(new).or_default();
        if state.lineage.replace(lineage).is_some() {
            self.violation("two tombstones lead to one record");
        }
        if self.lineages[lineage].dead {
            self.violation("a session got a new id after its destruction was acknowledged");
        }
        self.lineages[lineage].keys.push(new);
        self.lineages[lineage].rotations += 1;
        self.carry(lineage, content);
    }

    /// The store removed a live record.
    ///
    /// A rotation that is in doubt for longer than its tombstone lives can't be told from a logout. Its
    /// session is given up: nobody has the new id.
    pub(crate) fn removed(&mut self, key: &Key, content: &Content, now: u64) {
        if let Some(lineage) = self.lineage_of(key)
            && !self.keys[key].issued
            && self.leads_to(key).is_some_and(|expiry| expiry <= now)
        {
            self.lineages[lineage].destroy_begun = true;
        }
        // A handle may destroy a session before anybody was told an id of it.
        let held = self.lineage_of(key).is_some_and(|lineage| {
            self.lineages[lineage].keys.iter().any(|key| self.keys[key].issued)
        });
        let asked = !held || self.lineage(key).is_none_or(|lineage| lineage.destroy_begun);
        if content.is_session() && !asked {
            self.violation("a session was removed that nobody wanted to end");
        }
    }

    /// When the tombstone that leads to this key expires.
    fn leads_to(&self, key: &Key) -> Option<u64> {
        let lineage = &self.lineages[self.lineage_of(key)?];
        let mut next = lineage.keys.iter().filter_map(|old| self.keys.get(old)?.next);
        next.find(|(new, _)| new == key).map(|(_, expiry)| expiry)
    }

    /// A client holds this id from now on. `content` is what is stored under it.
    pub(crate) fn issue(&mut self, key: Key, origin: Option<u32>, content: Option<&Content>) {
        let state = self.keys.entry(key).or_default();
        state.issued = true;
        let lineage = match state.lineage {
            Some(lineage) => lineage,
            None => {
                let lineage = self.lineages.len();
                state.lineage = Some(lineage);
                self.lineages.push(Lineage { keys: vec![key], ..Lineage::default() });
                if let Some(content) = content {
                    self.carry(lineage, content);
                }
                lineage
            }
        };
        if let Some(origin) = origin
            && *self.origins.entry(origin).or_insert(lineage) != lineage
        {
            self.violation("a session got a second id while the first one was not replaced");
        }
        for other in self.lineages[lineage].keys.clone() {
            if other == key {
                break;
            }
            self.keys.entry(other).or_default().superseded = true;
        }
    }

    pub(crate) fn acknowledge(&mut self, change: u32, key: &Key) {
        let Some(lineage) = self.lineage_of(key) else {
            return;
        };
        *self.fate(change) = Fate::Acknowledged(lineage);
        self.lineages[lineage].acknowledged.push(change);
    }

    pub(crate) fn before(&self, key: &Key) -> Option<Before> {
        let state = self.keys.get(key)?;
        let lineage = state.lineage?;
        let Lineage { dead, acknowledged, .. } = &self.lineages[lineage];
        let (dead, acknowledged) = (*dead, acknowledged.len());
        Some(Before { lineage, dead, superseded: state.superseded, acknowledged })
    }

    /// A load that began with `before` found this session.
    pub(crate) fn found(&mut self, before: Before, has: impl Fn(u32) -> bool) {
        if before.dead {
            self.violation("a session was loaded after its destruction was acknowledged");
        }
        if before.superseded {
            self.violation("a session was loaded with an id that had been replaced");
        }
        let lineage = &self.lineages[before.lineage];
        if !lineage.acknowledged[..before.acknowledged].iter().all(|change| has(*change)) {
            self.violation("a load did not show a change that had been acknowledged before");
        }
    }

    /// A load that began with `before` found no session.
    pub(crate) fn not_found(&mut self, key: &Key, before: Before, now: u64) {
        let lineage = &self.lineages[before.lineage];
        let over = lineage.destroy_begun || now >= lineage.alive_until;
        if !over && self.keys[key].next.is_none() {
            self.violation("a load did not find a session that lives");
        }
    }

    /// A destruction by somebody that holds this id was acknowledged. Where a tombstone on the way has
    /// expired, nothing led to the session any more.
    pub(crate) fn destroyed(&mut self, key: &Key, now: u64) {
        let mut at = *key;
        while let Some((next, expiry)) = self.keys.get(&at).and_then(|state| state.next) {
            if now >= expiry {
                return;
            }
            at = next;
        }
        if let Some(lineage) = self.lineage(key) {
            lineage.dead = true;
        }
    }
}
