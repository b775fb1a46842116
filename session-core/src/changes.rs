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
    /// Boxed: the map makes room for eleven at once.
    values: BTreeMap<Box<str>, Box<Change>>,
    cleared: Option<u64>,
    pub(crate) flash: FlashChanges,
    pub(crate) owner: Option<(u64, Option<Owner>)>,
    pub(crate) lifetime: Option<(u64, Duration)>,
    pub(crate) extend: Option<u64>,
    pub(crate) regenerate: Option<u64>,
}

/// The change of one value: what this request put or removed itself, if it did, and the updates that
/// come after that. Updates over the stored value are applied again when another request was faster.
#[derive(Default)]
struct Change {
    own: Option<(u64, Option<Bytes>)>,
    steps: Vec<(u64, Step)>,
    /// The outcome, for updates over the stored value: over the present base.
    value: Option<Bytes>,
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

    /// No changes; the numbers go on.
    pub(crate) fn reset(&mut self) {
        *self = Self { last: self.last, ..Self::default() };
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
        self.put(key, Some(value));
    }

    pub(crate) fn remove(&mut self, key: &str) {
        self.put(key, None);
    }

    fn put(&mut self, key: &str, value: Option<Bytes>) {
        let own = Some((self.next(), value.clone()));
        self.values.insert(key.into(), Box::new(Change { own, steps: Vec::new(), value }));
    }

    pub(crate) fn clear(&mut self) {
        self.values.clear();
        self.cleared = Some(self.next());
    }

    /// Records an update whose outcome over the present state is `value`.
    pub(crate) fn update(&mut self, key: &str, step: Step, value: Bytes) {
        let seq = self.next();
        let own = self.cleared.map(|cleared| (cleared, None));
        let change = self
            .values
            .entry(key.into())
            .or_insert_with(|| Box::new(Change { own, ..Change::default() }));
        change.steps.push((seq, step));
        change.value = Some(value);
    }

    /// The value as this request sees it.
    pub(crate) fn value(&self, base: &Document, key: &str) -> Option<Bytes> {
        match self.values.get(key) {
            Some(change) => change.value.clone(),
            None if self.cleared.is_some() => None,
            None => base.value(key),
        }
    }

    /// The keys as this request sees them, sorted.
    pub(crate) fn keys(&self, base: &Document) -> Vec<String> {
        let standing =
            base.members().map(|member| String::from_utf8_lossy(member.key).into_owned());
        let standing = standing
            .filter(|key| self.cleared.is_none() && !self.values.contains_key(key.as_str()));
        let changed = self.values.iter().filter(|(_, change)| change.value.is_some());
        let mut keys: Vec<_> = standing.chain(changed.map(|(key, _)| key.to_string())).collect();
        keys.sort_unstable();
        keys
    }

    pub(crate) fn len(&self, base: &Document) -> usize {
        let standing = self.cleared.is_none();
        let mut len = if standing { base.len() } else { 0 };
        for (key, change) in &self.values {
            match (standing && base.contains(key), change.value.is_some()) {
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
            .filter_map(|(key, change)| Some(key.len() + change.value.as_ref()?.len() + 9))
            .sum();
        let expected = base.len() + self.values.len();
        let expected_bytes = base.payload().len() + added;
        let mut encoder = Encoder::new(base.created, lifetime, expected, expected_bytes);
        let standing = self.cleared.is_none().then_some(base);
        for member in standing.into_iter().flat_map(Document::members) {
            // The document was checked to be UTF-8.
            let key = std::str::from_utf8(member.key).unwrap_or_default();
            match self.values.get(key) {
                None => encoder.copy(&member),
                Some(change) => {
                    if let Some(json) = &change.value {
                        encoder.value(key, json);
                    }
                }
            }
        }
        for (key, change) in &self.values {
            if let Some(json) = &change.value
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
            self.reset();
            return;
        }
        let outlasts = |number: u64| number > seq;
        self.values.retain(|_, change| {
            change.own.take_if(|(number, _)| !outlasts(*number));
            change.steps.retain(|(number, _)| outlasts(*number));
            change.own.is_some() || !change.steps.is_empty()
        });
        self.flash.added.retain(|(number, _)| outlasts(*number));
        self.flash.removed.retain(|_, number| outlasts(*number));
        self.cleared.take_if(|number| !outlasts(*number));
        self.extend.take_if(|number| !outlasts(*number));
        self.regenerate.take_if(|number| !outlasts(*number));
        self.owner.take_if(|(number, _)| !outlasts(*number));
        self.lifetime.take_if(|(number, _)| !outlasts(*number));
    }

    /// The updates whose outcome depends on the stored value, with their keys.
    pub(crate) fn updates(&self) -> Vec<(String, Vec<Step>)> {
        self.values
            .iter()
            .filter(|(_, change)| change.own.is_none())
            .map(|(key, change)| {
                (key.to_string(), change.steps.iter().map(|(_, step)| Arc::clone(step)).collect())
            })
            .collect()
    }

    /// Stores the outcome of an update over a new base.
    pub(crate) fn set_outcome(&mut self, key: &str, outcome: Option<Bytes>) {
        if let Some(change) = self.values.get_mut(key) {
            change.value = outcome;
        }
    }
}
