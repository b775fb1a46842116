//! What this request changed, apart from what was loaded: so that it can be put on top of what
//! another request saved meanwhile.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use crate::document::{Document, Encoder};
use crate::flash::FlashChanges;
use crate::{Owner, Result};

/// One read-modify-write, from the value's JSON to the new JSON.
pub(crate) type Step = Arc<dyn Fn(Option<&[u8]>) -> Result<Bytes> + Send + Sync>;

/// The changes since the last save.
///
/// Every change has a number, ascending. A save remembers the last one that it wrote, and when it
/// succeeded only those are done with: what was changed while the save was under way stays.
#[derive(Default)]
pub(crate) struct Changes {
    last: u64,
    values: BTreeMap<String, (u64, Change)>,
    cleared: Option<u64>,
    pub(crate) flash: FlashChanges,
    pub(crate) owner: Option<(u64, Option<Owner>)>,
    pub(crate) lifetime: Option<(u64, Duration)>,
    pub(crate) extend: Option<u64>,
    pub(crate) regenerate: Option<u64>,
}

enum Change {
    Set(Bytes),
    Remove,
    /// Applied again to whatever stands there when another request was faster. `value` is the
    /// outcome over the present base.
    Update {
        steps: Vec<(u64, Step)>,
        value: Bytes,
    },
}

impl Change {
    fn value(&self) -> Option<&Bytes> {
        match self {
            Self::Set(value) | Self::Update { value, .. } => Some(value),
            Self::Remove => None,
        }
    }
}

impl Changes {
    /// The number of a new change.
    pub(crate) fn next(&mut self) -> u64 {
        self.last += 1;
        self.last
    }

    /// The number of the latest change.
    pub(crate) fn last(&self) -> u64 {
        self.last
    }

    /// Whether the record has to be written.
    pub(crate) fn alter_record(&self) -> bool {
        !self.values.is_empty()
            || self.cleared.is_some()
            || !self.flash.added.is_empty()
            || !self.flash.removed.is_empty()
            || self.owner.is_some()
            || self.lifetime.is_some()
    }

    /// Whether anything at all waits for a save.
    pub(crate) fn any(&self) -> bool {
        self.alter_record() || self.extend.is_some() || self.regenerate.is_some()
    }

    pub(crate) fn set(&mut self, key: &str, value: Bytes) {
        let seq = self.next();
        self.values.insert(key.to_owned(), (seq, Change::Set(value)));
    }

    pub(crate) fn remove(&mut self, key: &str) {
        let seq = self.next();
        self.values.insert(key.to_owned(), (seq, Change::Remove));
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.cleared = Some(self.next());
    }

    /// Records an update whose outcome over the present state is `value`.
    pub(crate) fn update(&mut self, key: &str, step: Step, value: Bytes) {
        let seq = self.next();
        let on_base = self.cleared.is_none();
        match self.values.get_mut(key) {
            Some((last, Change::Update { steps, value: outcome })) => {
                *last = seq;
                steps.push((seq, step));
                *outcome = value;
            }
            // Over a value of this request, or none: the outcome depends on no other request.
            Some(_) => self.set(key, value),
            None if !on_base => self.set(key, value),
            None => {
                let change = Change::Update { steps: vec![(seq, step)], value };
                self.values.insert(key.to_owned(), (seq, change));
            }
        }
    }

    /// The value as this request sees it.
    pub(crate) fn value(&self, base: &Document, key: &str) -> Option<Bytes> {
        match self.values.get(key) {
            Some((_, change)) => change.value().cloned(),
            None if self.cleared.is_some() => None,
            None => base.value(key),
        }
    }

    /// The keys as this request sees them, sorted.
    pub(crate) fn keys(&self, base: &Document) -> Vec<String> {
        let standing = base.entries().map(|(key, _)| key.into_owned());
        let standing =
            standing.filter(|key| self.cleared.is_none() && !self.values.contains_key(key));
        let changed = self.values.iter().filter(|(_, (_, change))| change.value().is_some());
        let mut keys: Vec<_> = standing.chain(changed.map(|(key, _)| key.clone())).collect();
        keys.sort_unstable();
        keys
    }

    pub(crate) fn len(&self, base: &Document) -> usize {
        let mut len = if self.cleared.is_some() { 0 } else { base.len() };
        for (key, (_, change)) in &self.values {
            let stood = self.cleared.is_none() && base.contains(key);
            match (stood, change.value().is_some()) {
                (false, true) => len += 1,
                (true, false) => len -= 1,
                _ => {}
            }
        }
        len
    }

    /// The base with the changes on top, encoded.
    pub(crate) fn encode(&self, base: &Document) -> Document {
        let lifetime = match &self.lifetime {
            Some((_, lifetime)) => u64::try_from(lifetime.as_millis()).ok(),
            None => base.lifetime,
        };
        let added: usize = self
            .values
            .iter()
            .filter_map(|(key, (_, change))| Some(key.len() + change.value()?.len() + 9))
            .sum();
        let mut encoder = Encoder::new(base.created, lifetime, base.payload().len() + added);
        let standing = self.cleared.is_none().then_some(base);
        for (key, json) in standing.into_iter().flat_map(Document::entries) {
            match self.values.get(&*key) {
                None => encoder.value(&key, json),
                Some((_, change)) => {
                    if let Some(json) = change.value() {
                        encoder.value(&key, json);
                    }
                }
            }
        }
        for (key, (_, change)) in &self.values {
            if let Some(json) = change.value()
                && standing.is_none_or(|base| !base.contains(key))
            {
                encoder.value(key, json);
            }
        }
        let flash = base
            .flash
            .iter()
            .filter(|entry| !self.flash.removed.contains_key(&entry.id))
            // A change that was written and is put on top of itself again adds nothing.
            .filter(|entry| self.flash.added.iter().all(|(_, added)| added.id != entry.id))
            .chain(self.flash.added.iter().map(|(_, entry)| entry))
            .cloned()
            .collect();
        encoder.finish(flash)
    }

    /// Forgets what a successful save wrote: every change up to `seq`.
    pub(crate) fn settle(&mut self, seq: u64) {
        if seq == self.last {
            *self = Self { last: seq, ..Self::default() };
            return;
        }
        self.values.retain(|_, (last, change)| {
            if let Change::Update { steps, .. } = change {
                steps.retain(|(number, _)| *number > seq);
            }
            *last > seq
        });
        self.flash.added.retain(|(number, _)| *number > seq);
        self.flash.removed.retain(|_, number| *number > seq);
        let outlasts = |number: &u64| *number > seq;
        self.cleared = self.cleared.filter(outlasts);
        self.extend = self.extend.filter(outlasts);
        self.regenerate = self.regenerate.filter(outlasts);
        self.owner = self.owner.take().filter(|(number, _)| *number > seq);
        self.lifetime = self.lifetime.filter(|(number, _)| *number > seq);
    }

    /// The updates that have to be computed again over a new base.
    pub(crate) fn updates(&self) -> Vec<(String, Vec<Step>)> {
        self.values
            .iter()
            .filter_map(|(key, (_, change))| match change {
                Change::Update { steps, .. } => {
                    Some((key.clone(), steps.iter().map(|(_, step)| step.clone()).collect()))
                }
                _ => None,
            })
            .collect()
    }

    /// Stores the outcome of an update over a new base.
    pub(crate) fn set_outcome(&mut self, key: &str, outcome: Bytes) {
        if let Some((_, Change::Update { value, .. })) = self.values.get_mut(key) {
            *value = outcome;
        }
    }
}
