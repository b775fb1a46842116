//! Applies the changes of this request to a record that another request saved.

use super::attempt::in_doubt;
use super::save::{Progress, Save};
use crate::clock::{Instant, later, unix_millis};
use crate::document::{Content, Document};
use crate::session::{Prepared, Session, Target, Version, rotated};
use crate::{Error, Key, Loaded, Result};

/// How often updates are computed again because the session changed meanwhile.
const MAX_ROUNDS: u32 = 100;

impl Save<'_> {
    /// Loads the current record and applies this request's changes to it, all or none. `Done` if
    /// the record shows that the refused write was carried out, because a driver sent it twice.
    pub(super) async fn rebase(
        &mut self,
        key: &Key,
        version: Version,
        refused: Option<&Prepared>,
    ) -> Result<Progress> {
        let found = self.load_current(key, refused).await?;
        self.rebase_onto(found.as_ref(), version, refused)
    }

    /// Loads the record after a write was refused. If that fails, the write is in doubt, because a
    /// driver may have sent it twice.
    pub(super) async fn load_current(
        &self,
        key: &Key,
        refused: Option<&Prepared>,
    ) -> Result<Option<Loaded>> {
        let found = self.calls.load(key).await;
        found.map_err(|error| if refused.is_some() { in_doubt(error) } else { error })
    }

    /// [`rebase`](Self::rebase) onto a record that was loaded just now.
    pub(super) fn rebase_onto(
        &mut self,
        found: Option<&Loaded>,
        version: Version,
        refused: Option<&Prepared>,
    ) -> Result<Progress> {
        let Some(found) = found else {
            self.session.state(|state| state.set_gone(version));
            return Err(Error::gone());
        };
        let update = refused.filter(|write| matches!(write.target, Target::Update { .. }));
        let wrote = |revision| update.filter(|write| write.record.revision == revision);
        if let Some(write) = wrote(found.record.revision) {
            self.finish(write);
            return Ok(Progress::Done { moved: None });
        }
        match Content::decode(found.record.payload.clone())? {
            Content::Session(base) => {
                install(self.session, version, &base, At::Record(found))?;
                self.context.metrics.merged();
            }
            Content::Tombstone(tombstone) => {
                if let Some(write) = wrote(tombstone.replaced) {
                    self.finish_carried_along(write, tombstone.key);
                    return Ok(Progress::Done { moved: Some(tombstone.key) });
                }
                become_late(self.session, version, tombstone.key)?;
            }
        }
        Ok(Progress::Conflict)
    }

    /// Completes a write that was carried out before another request gave the session a new id.
    pub(super) fn finish_carried_along(&mut self, write: &Prepared, new: Key) {
        self.finish(write);
        move_away(self.session, write.version, new);
    }
}

/// Another request took what was written along to a new id: this handle is late.
pub(super) fn move_away(session: &Session, version: Version, new: Key) {
    let nothing = Document::new(unix_millis());
    // What was changed since then can't be based on nothing if an update fails.
    if install(session, version, &nothing, At::OtherId(new)).is_err() {
        session.state(|state| state.set_gone(version));
    }
}

/// The place where the session was found.
#[derive(Clone, Copy)]
pub(super) enum At<'a> {
    Record(&'a Loaded),
    /// The session has another id, with this key: this request is late.
    OtherId(Key),
}

/// Handles that another request gave the session a new id. A sign-in becomes a separate session,
/// without the old values. All other changes are given up.
pub(super) fn become_late(session: &Session, version: Version, new: Key) -> Result<()> {
    if session.state(|state| state.changes.sign_in.is_some()) {
        return install(session, version, &Document::new(unix_millis()), At::OtherId(new));
    }
    session.state(|state| {
        if state.is_same_life(version) {
            state.set_late(new);
            state.give_up(state.changes.last());
            state.changes.reset();
        }
    });
    tracing::debug!(
        "a request had an id that was replaced a moment ago; its changes are not stored"
    );
    Err(rotated())
}

/// After a write: the updates that came later were computed without what was written with it, such as
/// the changes of other requests, so they are computed again. One that fails says so at the next save.
pub(super) fn apply_again(session: &Session, write: &Prepared) {
    let expires = session.state(|state| {
        let stored = state.stored.as_ref().filter(|_| !state.changes.updates().is_empty())?;
        Some(stored.expires)
    });
    if let Some(expires) = expires {
        let expires_in = expires.saturating_duration_since(Instant::now());
        let written = Loaded { record: write.record.clone(), expires_in };
        let _ = install(session, write.version, &write.document, At::Record(&written));
    }
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
        // Outside the lock: the steps are code of the application.
        for (name, steps) in updates {
            let mut value = base.value(&name);
            for step in steps {
                value = Some(step(value.as_deref())?);
            }
            results.push((name, value));
        }
        let installed = session.state(|state| {
            if !state.is_same_life(version) {
                return true; // destroyed meanwhile: there is no base any more
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
