//! What must hold when nothing is on its way any more.

use std::collections::BTreeSet;

use session_core::{ErrorKind, Key};

use crate::content::Content;
use crate::model::{Fate, Lineage, Model};
use crate::setup::{EPOCH, Setup};

/// What the store has under a key.
pub(crate) struct Kept<'a> {
    pub(crate) content: &'a Content,
    pub(crate) expiry: u64,
}

impl Model {
    pub(crate) fn check_all<'a>(&mut self, now: u64, kept: impl Fn(&Key) -> Option<Kept<'a>>) {
        let mut wrong = Vec::new();
        for lineage in &self.lineages {
            wrong.extend(self.check_ids(lineage, now, &kept));
            let is_issued = |key| self.keys.get(key).is_some_and(|state| state.issued);
            if lineage.keys.iter().any(is_issued) {
                wrong.extend(check_life(lineage, now, &kept));
            }
            wrong.extend(self.check_changes(lineage));
        }
        wrong.extend(self.check_fates());
        self.violations.extend(wrong);
    }

    fn check_ids<'a>(
        &self,
        lineage: &Lineage,
        now: u64,
        kept: &impl Fn(&Key) -> Option<Kept<'a>>,
    ) -> Option<String> {
        let loads = |key: &&Key| {
            kept(key).is_some_and(|kept| kept.content.is_session() && kept.expiry > now)
        };
        let issued = |key: &&Key| self.keys.get(*key).is_some_and(|state| state.issued);
        if lineage.dead && lineage.keys.iter().any(|key| loads(&key)) {
            return Some("a session lives on after its destruction was acknowledged".to_owned());
        }
        let held = lineage.keys.iter().filter(issued).filter(loads).count();
        (held > 1).then(|| "two ids of one session load".to_owned())
    }

    fn check_changes(&self, lineage: &Lineage) -> Option<String> {
        let content = &lineage.content;
        let there: BTreeSet<u32> = content.changes().collect();
        if !lineage.acknowledged.iter().all(|change| there.contains(change)) {
            return Some("an acknowledged change is not there".to_owned());
        }
        if !lineage.settled.iter().all(|result| content.updates.starts_with(result)) {
            return Some("a settled update returned what was not written".to_owned());
        }
        None
    }

    fn check_fates(&self) -> Option<String> {
        for (change, fate) in (0_u32..).zip(&self.fates) {
            let Some(lineage) = self.written.get(&change).map(|place| &self.lineages[*place])
            else {
                continue;
            };
            let lives = !lineage.destroy_begun;
            match fate {
                Fate::NotWritten(ErrorKind::Gone) | Fate::GoneAfterDoubt if lives => {
                    return Some(format!(
                        "the client was told Gone, but its change {change} lives on"
                    ));
                }
                Fate::NotWritten(ErrorKind::Gone) | Fate::GoneAfterDoubt => {}
                Fate::NotWritten(_) => {
                    return Some(format!(
                        "change {change} was written and its client was told: {fate:?}"
                    ));
                }
                Fate::Discarded => {
                    return Some(format!("change {change} was written after it was discarded"));
                }
                Fate::Open | Fate::Acknowledged(_) | Fate::Doubt => {}
            }
        }
        None
    }
}

/// An acknowledged session is there until its end, and not longer.
fn check_life<'a>(
    lineage: &Lineage,
    now: u64,
    kept: &impl Fn(&Key) -> Option<Kept<'a>>,
) -> Option<String> {
    if lineage.destroy_begun {
        return None;
    }
    let Some(last) = lineage.keys.last().and_then(kept) else {
        return Some("an acknowledged session is not there".to_owned());
    };
    if !last.content.is_session() {
        return Some("an acknowledged session is not there".to_owned());
    }
    if last.expiry < lineage.alive_until.min(now) {
        return Some(format!(
            "a session expired at {} ms, and not later than {} ms",
            last.expiry, lineage.alive_until
        ));
    }
    None
}

/// The latest moment at which a session of the store's lifetime may expire, by the virtual clock.
/// `created` is what the session says, by the clock of a server that is off by `skew` at most. A life
/// begins when the request arrives, which may be as late as the network and the store can make it; that
/// is so for each rotation, too.
pub(crate) fn latest_expiry(created: u64, skew: u64, rotations: u64) -> u64 {
    let late = (1 + rotations) * 8 * Setup::DEADLINE;
    created.saturating_sub(EPOCH) + 2 * skew + Setup::LIFETIME + late
}
