//! What a payload says to the checker.

use std::collections::{BTreeMap, BTreeSet};

use serde::Deserialize;
use serde_json::value::RawValue;
use session_core::Key;

/// The name of the value that holds the numbers of the updates, in the order in which they were applied.
pub(crate) const UPDATES: &str = "updates";
/// The name of the value that tells which session this is.
pub(crate) const ORIGIN: &str = "origin";

/// The name of the value that a change of its own puts.
pub(crate) fn name_of(change: u32) -> String {
    format!("i{change}")
}

/// A payload, as far as the checker wants to know.
#[derive(Debug, Default, Clone)]
pub(crate) struct Content {
    /// Unix time in milliseconds, by the clock of the server that created the session.
    pub(crate) created: u64,
    /// It has a lifetime of its own.
    pub(crate) own_life: bool,
    pub(crate) origin: Option<u32>,
    pub(crate) updates: Vec<u32>,
    pub(crate) inserts: BTreeSet<u32>,
    /// For a tombstone: where the session is now.
    pub(crate) next: Option<Key>,
}

#[derive(Deserialize)]
struct Wire<'a> {
    #[serde(default)]
    created: u64,
    lifetime: Option<u64>,
    #[serde(default, borrow)]
    data: BTreeMap<&'a str, &'a RawValue>,
    #[serde(borrow)]
    rotated: Option<Rotated<'a>>,
}

#[derive(Deserialize)]
struct Rotated<'a> {
    key: &'a str,
}

impl Content {
    /// `None` for what is neither a session nor a tombstone.
    pub(crate) fn read(payload: &[u8]) -> Option<Self> {
        let Wire { created, lifetime, data, rotated } = serde_json::from_slice(payload).ok()?;
        let mut content = Self { created, own_life: lifetime.is_some(), ..Self::default() };
        for (name, json) in data {
            match name {
                UPDATES => content.updates = serde_json::from_str(json.get()).ok()?,
                ORIGIN => content.origin = serde_json::from_str(json.get()).ok()?,
                _ => {
                    content.inserts.insert(name.strip_prefix('i')?.parse().ok()?);
                }
            }
        }
        if let Some(rotated) = rotated {
            content.next = Some(Key::from_hex(rotated.key)?);
        }
        Some(content)
    }

    pub(crate) fn is_session(&self) -> bool {
        self.next.is_none()
    }

    /// The numbers of all changes that are in it.
    pub(crate) fn changes(&self) -> impl Iterator<Item = u32> {
        self.updates.iter().chain(&self.inserts).copied()
    }

    /// Whether everything that was there before is here, in the same order, and nothing twice.
    pub(crate) fn extends(&self, before: &Self) -> bool {
        let mut seen = BTreeSet::new();
        self.updates.starts_with(&before.updates)
            && before.inserts.is_subset(&self.inserts)
            && self.updates.iter().all(|change| seen.insert(*change))
    }
}
