//! Applies the changes of this request to what another request left.

use std::time::Instant;

use super::save::{Progress, Save};
use crate::clock::{later, unix_millis};
use crate::document::{Content, Document};
use crate::session::{Prepared, Session, Target, Version, rotated};
use crate::{Error, Key, Loaded, Result};

/// How often updates are computed again because the session was changed meanwhile.
const MAX_ROUNDS: u32 = 100;

impl Save<'_> {
    /// Loads the current record and applies this request's changes to it, all or none. `Done` when the
    /// record shows that the refused write was carried out: a driver had sent it twice.
    pub(super) async fn rebase(
        &mut self,
        key: &Key,
        version: Version,
        refused: Option<&Prepared>,
    ) -> Result<Progress> {
        let Some(found) = self.calls.load(key).await? else {
            self.session.state(|state| state.set_gone(version));
            return Err(Error::gone());
        };
        let own = refused.map(|write| write.record.revision);
        let is_update = refused.is_some_and(|write| matches!(write.target, Target::Update { .. }));
        if is_update && own == Some(found.record.revision) {
            self.finish(refused.expect("it has a revision"));
            return Ok(Progress::Done);
        }
        match Content::decode(found.record.payload.clone())? {
            Content::Session(base) => install(self.session, version, &base, At::Record(&found))?,
            Content::Tombstone(tombstone) if is_update && own == Some(tombstone.replaced) => {
                self.finish_carried_along(refused.expect("it has a revision"), tombstone.key);
                return Ok(Progress::Done);
            }
            Content::Tombstone(tombstone) => become_late(self.session, version, tombstone.key)?,
        }
        Ok(Progress::Overtaken)
    }

    /// [`rebase`](Self::rebase) for a save that has not written anything yet.
    pub(super) async fn reload(&self, key: &Key, version: Version) -> Result<()> {
        let Some(found) = self.calls.load(key).await? else {
            self.session.state(|state| state.set_gone(version));
            return Err(Error::gone());
        };
        match Content::decode(found.record.payload.clone())? {
            Content::Session(base) => install(self.session, version, &base, At::Record(&found)),
            Content::Tombstone(tombstone) => become_late(self.session, version, tombstone.key),
        }
    }

    /// A write was carried out, and another request took it along to a new id.
    pub(super) fn finish_carried_along(&mut self, write: &Prepared, new: Key) {
        self.finish(write);
        let nothing = Document::new(unix_millis());
        // What was changed since then can't be based on nothing if an update fails.
        if install(self.session, write.version, &nothing, At::OtherId(new)).is_err() {
            self.session.state(|state| state.set_gone(write.version));
        }
    }
}

/// Where the session was found.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    Record(&'a Loaded),
    /// Under another id, with this key: this session is late.
    OtherId(Key),
}

/// Another request gave the session a new id. A sign-in becomes a session of its own, based on nothing;
/// any other change is given up.
pub(super) fn become_late(session: &Session, version: Version, new: Key) -> Result<()> {
    if session.state(|state| state.changes.sign_in.is_some()) {
        return install(session, version, &Document::new(unix_millis()), At::OtherId(new));
    }
    session.state(|state| {
        if state.is_same_life(version) {
            state.set_late(new);
            state.changes.reset();
        }
    });
    tracing::debug!("a request came with an id that was replaced: its changes are not stored");
    Err(rotated())
}

/// Makes this document the base of the session, with the updates applied to it.
pub(super) fn install(
    session: &Session,
    version: Version,
    base: &Document,
    at: At<'_>,
) -> Result<()> {
    let now = Instant::now();
    for _ in 0..MAX_ROUNDS {
        let (last, updates) =
            session.state(|state| (state.changes.last(), state.changes.updates()));
        let mut results = Vec::with_capacity(updates.len());
        // Outside the lock: the steps are the application's code.
        for (name, steps) in updates {
            let mut value = base.value(&name);
            for step in steps {
                value = Some(step(value.as_deref())?);
            }
            results.push((name, value));
        }
        let installed = session.state(|state| {
            if !state.is_same_life(version) {
                return true; // destroyed meanwhile: there is nothing to apply anything to
            }
            if state.changes.last() != last {
                return false;
            }
            match (&mut state.stored, at) {
                (Some(stored), At::Record(found)) => {
                    stored.revision = found.record.revision;
                    stored.owner.clone_from(&found.record.owner);
                    stored.expires = later(now, found.expires_in);
                    state.base = base.clone();
                    state.doubt = None;
                }
                (_, At::OtherId(new)) => state.set_late(new),
                (None, At::Record(_)) => return true, // it is late already
            }
            for (name, value) in results {
                state.changes.set_result(&name, value);
            }
            true
        });
        if installed {
            return Ok(());
        }
    }
    Err(Error::conflict())
}
