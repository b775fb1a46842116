//! Sends a write and finds out its outcome.

use std::sync::Arc;
use std::time::Duration;

use super::attempt::{CreateOutcome, MAX_RESENDS, SwapOutcome, compare_and_swap, create, in_doubt};
use super::rebase::{At, apply_again, become_late, install};
use super::save::{Progress, Save};
use crate::clock::{Instant, unix_millis};
use crate::document::{Content, Document};
use crate::session::{Doubt, Identity, Prepared, Rotation, Target};
use crate::{Error, ErrorKind, Key, Loaded, Record, Result, Revision, Update, Write};

impl Save<'_> {
    pub(super) async fn write(&mut self, write: &Arc<Prepared>) -> Result<Progress> {
        self.resume(write, false, false).await
    }

    /// Finds out what became of the write of an earlier save, and completes it.
    pub(super) async fn resolve_doubt(&mut self) -> Result<Progress> {
        let Some(doubt) = self.session.state(|state| state.doubt.clone()) else {
            return Ok(Progress::Replan);
        };
        if doubt.discarded {
            self.end_discarded(&doubt).await?;
            return Ok(Progress::Replan);
        }
        let progress = match doubt.conflicted {
            true => Progress::Conflict,
            false => self.resume(&doubt.write, doubt.created, true).await?,
        };
        match (progress, doubt.write.stored_key()) {
            (Progress::Conflict, Some(key)) => {
                let rebased = self.rebase(&key, doubt.write.version, Some(&doubt.write)).await;
                match rebased {
                    Err(error) if doubt.conflicted && error.kind() == ErrorKind::Gone => {
                        self.gone_in_doubt(&doubt.write)
                    }
                    rebased => rebased,
                }
            }
            (progress, _) => Ok(progress),
        }
    }

    /// A write whose changes were discarded is not sent again, but it may have been carried out.
    async fn end_discarded(&mut self, doubt: &Doubt) -> Result<()> {
        let write = &doubt.write;
        let (key, revision) = match &write.target {
            Target::Create(new) => (new.key, write.record.revision),
            Target::Update { key, .. } => (*key, write.record.revision),
            // The old record was not changed, and no client has the new id.
            Target::Rotate(_) if !doubt.created => {
                // First: a save that is dropped here must not complete the rotation later.
                self.end_doubt();
                self.remove_new_record(write).await;
                return Ok(());
            }
            Target::Rotate(rotation) => (rotation.old, rotation.tombstone.revision),
        };
        loop {
            let found = self.calls.load(&key).await.map_err(in_doubt)?;
            match (found, &write.target) {
                (Some(found), _) if found.record.revision == revision => {
                    self.finish(write);
                }
                (Some(found), Target::Rotate(rotation))
                    if found.record.revision == rotation.expected =>
                {
                    if !self.change_revision(&key, found.record).await? {
                        continue;
                    }
                    self.remove_new_record(write).await;
                }
                (_, Target::Rotate(_)) => self.remove_new_record(write).await,
                _ => {}
            }
            self.end_doubt();
            return Ok(());
        }
    }

    /// Gives the record another revision, so that a tombstone that is still on its way is refused:
    /// it would lead to an id that nobody has. `false` when the record was replaced meanwhile.
    async fn change_revision(&self, key: &Key, mut record: Record) -> Result<bool> {
        let expected = std::mem::replace(&mut record.revision, Revision::random()?);
        match self.calls.save(key, &record, Write::Update(Update { expected, ttl: None })).await {
            Ok(()) => {
                self.session.state(|state| {
                    if let Some(stored) = &mut state.stored {
                        stored.revision = record.revision;
                    }
                });
                Ok(true)
            }
            Err(error) if matches!(error.kind(), ErrorKind::Conflict | ErrorKind::Gone) => {
                Ok(false)
            }
            Err(error) => Err(in_doubt(error)),
        }
    }

    /// Sends a write. With `ask_first` it finds out the outcome of an earlier attempt. `created`:
    /// the new record of a rotation exists.
    async fn resume(
        &mut self,
        write: &Prepared,
        created: bool,
        ask_first: bool,
    ) -> Result<Progress> {
        match &write.target {
            Target::Create(new) => {
                let ttl = write.ttl_now().unwrap_or_default();
                let created = self.create(write, new, ttl, ask_first).await?;
                if created {
                    self.finish(write);
                }
                Ok(if created { Progress::Done { moved: None } } else { Progress::Replan })
            }
            Target::Update { key, expected } => {
                if let Err(error) = self.enter_owner(write, key).await {
                    if ask_first {
                        return Err(in_doubt(error));
                    }
                    // The write was never sent, and an entry without a record does no harm.
                    self.end_doubt();
                    return Err(error.as_refusal());
                }
                self.update(write, key, *expected, ask_first).await
            }
            Target::Rotate(rotation) => {
                if !created {
                    let ttl = write.ttl_now().unwrap_or_else(|| left_until(rotation.expires));
                    if !self.create(write, &rotation.new, ttl, ask_first).await? {
                        return Ok(Progress::Replan);
                    }
                    self.resends = 0;
                    self.session.state(|state| {
                        if let Some(doubt) = &mut state.doubt {
                            doubt.created = true;
                        }
                    });
                }
                self.write_tombstone(write, rotation, created).await
            }
        }
    }

    /// An update without a new life that changes the owner: the entry of the new one comes first.
    async fn enter_owner(&self, write: &Prepared, key: &Key) -> Result<()> {
        let Some(owner) = write.record.owner.as_ref().filter(|_| write.life.is_none()) else {
            return Ok(());
        };
        let left = self.session.state(|state| {
            let stored = state.stored.as_ref()?;
            let is_new = stored.owner.as_ref() != Some(owner);
            is_new.then(|| stored.expires_in(Instant::now()))
        });
        match left {
            Some(left) => self.calls.prolong(owner, key, left.max(Duration::from_millis(1))).await,
            None => Ok(()),
        }
    }

    /// Creates a record under a new id. `false` if it was not carried out. A copy of the request
    /// may then still arrive, so the next attempt needs another id.
    async fn create(
        &mut self,
        write: &Prepared,
        new: &Identity,
        ttl: Duration,
        ask_first: bool,
    ) -> Result<bool> {
        match create(&self.calls, &new.key, &write.record, ttl, ask_first).await {
            CreateOutcome::Created => Ok(true),
            CreateOutcome::Refused(error) => {
                self.end_doubt();
                Err(error)
            }
            CreateOutcome::Missing(cause) => {
                self.end_doubt();
                self.resends += 1;
                match cause {
                    Some(cause) if self.resends > MAX_RESENDS => Err(in_doubt(cause)),
                    _ => Ok(false),
                }
            }
            CreateOutcome::InDoubt(error) => Err(in_doubt(error)),
        }
    }

    /// As [`compare_and_swap`], with the resends of this save.
    async fn swap(
        &mut self,
        key: &Key,
        record: &Record,
        expected: Revision,
        ttl: impl Fn() -> Option<Duration>,
        ask_first: bool,
    ) -> SwapOutcome {
        compare_and_swap(&self.calls, &mut self.resends, key, record, expected, ttl, ask_first)
            .await
    }

    async fn update(
        &mut self,
        write: &Prepared,
        key: &Key,
        expected: Revision,
        ask_first: bool,
    ) -> Result<Progress> {
        let ttl = || write.ttl_now();
        match self.swap(key, &write.record, expected, ttl, ask_first).await {
            SwapOutcome::Written => {
                self.finish(write);
                Ok(Progress::Done { moved: None })
            }
            SwapOutcome::Refused(error) => match error.kind() {
                ErrorKind::Conflict => {
                    self.session.state(|state| {
                        if let Some(doubt) = &mut state.doubt {
                            doubt.conflicted = true;
                        }
                    });
                    Ok(Progress::Conflict)
                }
                ErrorKind::Gone => self.gone(write),
                _ => {
                    self.end_doubt();
                    Err(error)
                }
            },
            SwapOutcome::Gone => self.gone(write),
            SwapOutcome::GoneInDoubt => self.gone_in_doubt(write),
            SwapOutcome::Replaced(found) => self.replaced(write, expected, &found),
            SwapOutcome::InDoubt(error) => Err(in_doubt(error)),
        }
    }

    /// The second step of a rotation: replaces the old record by a tombstone, if it has the
    /// expected revision. Otherwise removes the new record.
    async fn write_tombstone(
        &mut self,
        write: &Prepared,
        rotation: &Rotation,
        ask_first: bool,
    ) -> Result<Progress> {
        let Rotation { old, expected, expires, tombstone, .. } = rotation;
        let ttl = self.context.config.tombstone_ttl.min(left_until(*expires));
        let fate = self.swap(old, tombstone, *expected, || Some(ttl), ask_first).await;
        let fate = match fate {
            // A driver may have sent the request twice.
            SwapOutcome::Refused(error) if error.kind() == ErrorKind::Conflict => {
                match self.calls.load(old).await {
                    Ok(Some(found)) if found.record.revision == tombstone.revision => {
                        SwapOutcome::Written
                    }
                    Ok(Some(found)) => SwapOutcome::Replaced(found),
                    Ok(None) => SwapOutcome::Gone,
                    Err(error) => SwapOutcome::InDoubt(error),
                }
            }
            fate => fate,
        };
        match fate {
            SwapOutcome::Written => {
                self.finish(write);
                Ok(Progress::Done { moved: None })
            }
            SwapOutcome::InDoubt(error) => Err(in_doubt(error)),
            SwapOutcome::Refused(error) if error.kind() != ErrorKind::Gone => {
                // First: a save that is dropped here must not complete the rotation later.
                self.end_doubt();
                self.remove_new_record(write).await;
                Err(error)
            }
            // No client has the new id, so nothing lives on once the new record is removed.
            SwapOutcome::Gone | SwapOutcome::GoneInDoubt | SwapOutcome::Refused(_) => {
                let gone = self.gone(write);
                self.remove_new_record(write).await;
                gone
            }
            // A tombstone is never replaced, so this tombstone was not written and never will be.
            SwapOutcome::Replaced(_) => {
                // First: a save that is dropped here must not complete the rotation later.
                self.end_doubt();
                self.remove_new_record(write).await;
                Ok(Progress::Conflict)
            }
        }
    }

    /// Removes the new record of a rotation that failed. If that fails, the record expires; no
    /// client has its id.
    async fn remove_new_record(&self, write: &Prepared) {
        if let Some(new) = write.new_identity()
            && let Err(error) = self.calls.destroy(&new.key, Some(write.record.revision)).await
        {
            tracing::debug!(%error, "the record of a failed rotation remains until it expires");
        }
    }

    /// The write was in doubt, and the record has neither its revision nor the expected one.
    fn replaced(
        &mut self,
        write: &Prepared,
        expected: Revision,
        found: &Loaded,
    ) -> Result<Progress> {
        let (base, at) = match Content::decode(found.record.payload.clone())? {
            Content::Tombstone(tombstone) if tombstone.replaced == write.record.revision => {
                self.finish_carried_along(write, tombstone.key);
                return Ok(Progress::Done { moved: Some(tombstone.key) });
            }
            Content::Tombstone(tombstone) if tombstone.replaced == expected => {
                become_late(self.session, write.version, tombstone.key)?;
                return Ok(Progress::Replan);
            }
            Content::Tombstone(tombstone) => {
                (Document::new(unix_millis()), At::OtherId(tombstone.key))
            }
            Content::Session(base) => (base, At::Record(found)),
        };
        let error = self.give_up(write);
        // If a later update fails, the next save returns its error.
        let _ = install(self.session, write.version, &base, at);
        Err(error)
    }

    /// There is no record any more, and an earlier save may have written it before that.
    fn gone_in_doubt(&self, write: &Prepared) -> Result<Progress> {
        self.session.state(|state| state.set_gone(write.version));
        Err(self.give_up(write))
    }

    /// Ends a doubt that nothing can resolve. It is reported once. The changes of the write are given
    /// up, so that none is applied twice.
    fn give_up(&self, write: &Prepared) -> Error {
        self.session.state(|state| {
            state.doubt = None;
            state.give_up(write.version.change);
        });
        Error::unavailable(
            "whether a write was carried out can't be known: its acknowledgement was lost and another \
             request saved or ended the session since; the changes of that write are given up",
        )
    }

    /// Records that a write was carried out.
    pub(super) fn finish(&mut self, write: &Prepared) {
        let (issued, changed_since) = self.session.state(|state| {
            let issued = state.written(write, None);
            (issued, state.changes.any())
        });
        if changed_since {
            apply_again(self.session, write);
        }
        self.done.write(issued);
    }

    fn gone(&self, write: &Prepared) -> Result<Progress> {
        self.session.state(|state| state.set_gone(write.version));
        Err(Error::gone())
    }

    fn end_doubt(&self) {
        self.session.state(|state| state.doubt = None);
    }
}

fn left_until(expires: Instant) -> Duration {
    expires.saturating_duration_since(Instant::now()).max(Duration::from_millis(1))
}
