//! The changes of this request. They are kept separate from the loaded state, so that they can be
//! applied to a record that another request saved meanwhile.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;

use super::watch::{Watch, Watched};
use crate::document::{Document, Encoder, FlashEntry};
use crate::{Owner, Result};

/// One read-modify-write, from the value's JSON to the new JSON.
pub(crate) type Step = Arc<dyn Fn(Option<&[u8]>) -> Result<Bytes> + Send + Sync>;

/// The changes since the last save.
///
/// Every change has an ascending number. A save that succeeds removes the changes up to the last
/// one that it wrote: changes that were made during the save remain.
#[derive(Default)]
pub(crate) struct Changes {
    last: u64,
    /// Allocated by the first change: most requests only read.
    pending: Option<Box<Pending>>,
}

/// The changes that are not saved yet.
#[derive(Default)]
pub(crate) struct Pending {
    /// Boxed, because the map allocates space for eleven entries at once.
    values: BTreeMap<Name, Box<Change>>,
    cleared: Option<u64>,
    pub(crate) flash: FlashChanges,
    pub(crate) owner: Option<(u64, Option<Owner>)>,
    /// The session's own lifetime; the inner `None` restores the store's lifetime.
    pub(crate) lifetime: Option<(u64, Option<Duration>)>,
    /// The inner `None` removes the label.
    pub(crate) label: Option<(u64, Option<Box<str>>)>,
    pub(crate) extend: Option<u64>,
    pub(crate) regenerate: Option<u64>,
    pub(crate) sign_in: Option<u64>,
    /// Closures of the application that are not needed any more. Dropping one may run any code, so
    /// they are dropped outside the session's lock.
    unneeded: Vec<Step>,
}

static NONE: Pending = Pending {
    values: BTreeMap::new(),
    cleared: None,
    flash: FlashChanges { added: Vec::new(), removed: BTreeMap::new() },
    owner: None,
    lifetime: None,
    label: None,
    extend: None,
    regenerate: None,
    sign_in: None,
    unneeded: Vec::new(),
};

impl Deref for Changes {
    type Target = Pending;

    fn deref(&self) -> &Pending {
        self.pending.as_deref().unwrap_or(&NONE)
    }
}

impl DerefMut for Changes {
    fn deref_mut(&mut self) -> &mut Pending {
        self.pending.get_or_insert_default()
    }
}

/// The name of a value. It can be found by its bytes, because strings are ordered like their bytes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Name(Box<str>);

impl Borrow<[u8]> for Name {
    fn borrow(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

/// The changes to the flash, each with its number.
#[derive(Default)]
pub(crate) struct FlashChanges {
    pub(crate) added: Vec<(u64, FlashEntry)>,
    pub(crate) removed: BTreeMap<u64, u64>,
}

/// The change of one value: the insert or removal by this request, if any, and the updates after
/// it. Updates of a stored value are applied again after a conflict.
#[derive(Default)]
struct Change {
    own: Option<(u64, Option<Bytes>)>,
    updates: Vec<Update>,
    /// The result on the current base.
    value: Option<Bytes>,
}

struct Update {
    number: u64,
    step: Step,
    watch: Option<Arc<Watch>>,
}

impl Pending {
    fn forget_values(&mut self) {
        for change in std::mem::take(&mut self.values).into_values() {
            self.unneeded.extend(change.updates.into_iter().map(|update| update.step));
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

    /// Removes all changes; the numbers continue.
    pub(crate) fn reset(&mut self) {
        if let Some(pending) = self.pending.as_deref_mut() {
            pending.forget_values();
            let unneeded = std::mem::take(&mut pending.unneeded);
            *pending = Pending { unneeded, ..Pending::default() };
        }
    }

    /// Whether there are closures to drop outside the session's lock.
    pub(crate) fn has_unneeded(&self) -> bool {
        !self.unneeded.is_empty()
    }

    /// The closures to drop outside the session's lock.
    pub(crate) fn take_unneeded(&mut self) -> Vec<Step> {
        self.pending
            .as_mut()
            .map(|pending| std::mem::take(&mut pending.unneeded))
            .unwrap_or_default()
    }

    /// Whether the record has to be written.
    pub(crate) fn alter_record(&self) -> bool {
        !self.values.is_empty()
            || self.cleared.is_some()
            || !self.flash.added.is_empty()
            || !self.flash.removed.is_empty()
            || self.owner.is_some()
            || self.lifetime.is_some()
            || self.label.is_some()
            || self.new_id()
    }

    /// Whether the session has to get a new id.
    pub(crate) fn new_id(&self) -> bool {
        self.regenerate.is_some() || self.sign_in.is_some()
    }

    /// Whether the session's lifetime begins again.
    pub(crate) fn new_life(&self) -> bool {
        self.sign_in.is_some() || matches!(self.lifetime, Some((_, None)))
    }

    /// Whether there is anything to save.
    pub(crate) fn any(&self) -> bool {
        self.alter_record() || self.extend.is_some()
    }

    pub(crate) fn set(&mut self, name: &str, value: Bytes) {
        self.put(name, Some(value));
    }

    pub(crate) fn remove(&mut self, name: &str) {
        self.put(name, None);
    }

    fn put(&mut self, name: &str, value: Option<Bytes>) {
        let own = Some((self.next(), value.clone()));
        let change = Box::new(Change { own, updates: Vec::new(), value });
        if let Some(replaced) = self.values.insert(Name(name.into()), change) {
            self.unneeded.extend(replaced.updates.into_iter().map(|update| update.step));
        }
    }

    pub(crate) fn clear(&mut self) {
        self.forget_values();
        self.cleared = Some(self.next());
    }

    /// Adds an update, whose result on the current value is `value`.
    pub(crate) fn update(
        &mut self,
        name: &str,
        step: Step,
        watch: Option<Arc<Watch>>,
        value: Bytes,
    ) {
        let number = self.next();
        let own = self.cleared.map(|cleared| (cleared, None));
        let change = self
            .values
            .entry(Name(name.into()))
            .or_insert_with(|| Box::new(Change { own, ..Change::default() }));
        change.updates.push(Update { number, step, watch });
        change.value = Some(value);
    }

    /// The value as this request sees it.
    pub(crate) fn value(&self, base: &Document, name: &str) -> Option<Bytes> {
        match self.values.get(name.as_bytes()) {
            Some(change) => change.value.clone(),
            None if self.cleared.is_some() => None,
            None => base.value(name),
        }
    }

    /// The names as this request sees them, sorted.
    pub(crate) fn names(&self, base: &Document) -> Vec<String> {
        let stored = base.members().map(|member| String::from_utf8_lossy(member.name).into_owned());
        let stored = stored
            .filter(|name| self.cleared.is_none() && !self.values.contains_key(name.as_bytes()));
        let changed = self.values.iter().filter(|(_, change)| change.value.is_some());
        let mut names: Vec<_> = stored.chain(changed.map(|(name, _)| name.0.to_string())).collect();
        names.sort_unstable();
        names
    }

    pub(crate) fn len(&self, base: &Document) -> usize {
        let keeps_base = self.cleared.is_none();
        let mut len = if keeps_base { base.len() } else { 0 };
        for (name, change) in &self.values {
            match (keeps_base && base.contains(&name.0), change.value.is_some()) {
                (false, true) => len += 1,
                (true, false) => len -= 1,
                _ => {}
            }
        }
        len
    }

    /// Encodes the base with the changes applied. A new life begins at `now`.
    pub(crate) fn encode(&self, base: &Document, now: impl FnOnce() -> u64) -> Document {
        let lifetime = match &self.lifetime {
            Some((_, own)) => own.and_then(|own| u64::try_from(own.as_millis()).ok()),
            None => base.lifetime,
        };
        let label = match &self.label {
            Some((_, label)) => label.clone(),
            None => base.label.clone(),
        };
        let created = if self.new_life() { now() } else { base.created };
        let added: usize = self
            .values
            .iter()
            .filter_map(|(name, change)| Some(name.0.len() + change.value.as_ref()?.len() + 9))
            .sum();
        let expected = base.len() + self.values.len();
        let expected_bytes = base.payload().len() + added;
        let mut encoder = Encoder::new(base, created, lifetime, label, expected, expected_bytes);
        if self.cleared.is_none() {
            for member in base.members() {
                match self.values.get(member.name).map(|change| &change.value) {
                    None => encoder.copy(&member),
                    Some(Some(json)) => encoder.replace(&member, json),
                    Some(None) => {}
                }
            }
        }
        for (Name(name), change) in &self.values {
            if let Some(json) = &change.value
                && (self.cleared.is_some() || !base.contains(name))
            {
                encoder.value(name, json);
            }
        }
        let flash = base
            .flash
            .iter()
            .filter(|entry| !self.flash.removed.contains_key(&entry.id))
            // If a change is applied to its own result again, it adds nothing.
            .filter(|entry| self.flash.added.iter().all(|(_, added)| added.id != entry.id))
            .chain(self.flash.added.iter().map(|(_, entry)| entry))
            .cloned()
            .collect();
        encoder.finish(flash)
    }

    /// Removes the changes that a save wrote: all up to this number.
    pub(crate) fn forget_up_to(&mut self, written: u64) {
        if written == self.last {
            self.reset();
            return;
        }
        let is_later = |number: u64| number > written;
        let Some(pending) = self.pending.as_deref_mut() else { return };
        let unneeded = &mut pending.unneeded;
        pending.values.retain(|_, change| {
            change.own.take_if(|(number, _)| !is_later(*number));
            let old = change.updates.extract_if(.., |update| !is_later(update.number));
            unneeded.extend(old.map(|update| update.step));
            change.own.is_some() || !change.updates.is_empty()
        });
        pending.flash.added.retain(|(number, _)| is_later(*number));
        pending.flash.removed.retain(|_, number| is_later(*number));
        pending.cleared.take_if(|number| !is_later(*number));
        pending.extend.take_if(|number| !is_later(*number));
        pending.regenerate.take_if(|number| !is_later(*number));
        pending.sign_in.take_if(|number| !is_later(*number));
        pending.owner.take_if(|(number, _)| !is_later(*number));
        pending.lifetime.take_if(|(number, _)| !is_later(*number));
        pending.label.take_if(|(number, _)| !is_later(*number));
    }

    /// The updates whose result depends on the stored value, by the name of the value.
    pub(crate) fn updates(&self) -> Vec<(String, Vec<Step>)> {
        self.values
            .iter()
            .filter(|(_, change)| change.own.is_none())
            .map(|(name, change)| {
                let steps = change.updates.iter().map(|update| Arc::clone(&update.step));
                (name.0.to_string(), steps.collect())
            })
            .collect()
    }

    /// The watched updates, with their results on the current base.
    pub(crate) fn watched(&self) -> Watched {
        let updates = self.values.values().flat_map(|change| &change.updates);
        updates.filter_map(|update| update.watch.clone()).collect()
    }

    /// Sets the result of the updates of one value on a new base.
    pub(crate) fn set_result(&mut self, name: &str, result: Option<Bytes>) {
        let values = self.pending.as_mut().map(|pending| &mut pending.values);
        if let Some(change) = values.and_then(|values| values.get_mut(name.as_bytes())) {
            change.value = result;
        }
    }
}
