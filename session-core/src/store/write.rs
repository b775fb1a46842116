//! Sends a write and finds out what became of it.

use std::sync::Arc;
use std::time::Duration;

use super::rebase::{become_late, in_doubt, install};
use super::save::{Progress, Save};
use crate::clock::Instant;
use crate::document::Content;
use crate::session::{Doubt, Identity, Prepared, Target};
use crate::{Error, ErrorKind, Key, Loaded, Record, Result, Revision, Update, Write};

/// How often a write is sent again after it turned out not to have been carried out.
const MAX_RESENDS: u32 = 2;

/// What became of a compare-and-swap.
enum Fate {
    Written,
    /// Nothing was written, and the error says why.
    Refused(Error),
    /// There is no live record any more.
    Gone,
    /// The write was in doubt, and the record has a third revision.
    Replaced(Loaded),
    /// It is not known.
    Unknown(Error),
}

impl Save<'_> {
    pub(super) async fn write(&mut self, write: &Arc<Prepared>) -> Result<Progress> {
        self.resume(&Doubt::from(Arc::clone(write)), false).await
    }

    /// Finds out what became of the write of an earlier save, and completes it.
    pub(super) async fn resolve_doubt(&mut self) -> Result<()> {
        let Some(doubt) = self.session.state(|state| state.doubt.clone()) else {
            return Ok(());
        };
        if doubt.discarded {
            return self.end_discarded(&doubt).await;
        }
        let progress =
            if doubt.refused { Progress::Overtaken } else { self.resume(&doubt, true).await? };
        if let (Progress::Overtaken, Some(key)) = (progress, doubt.write.stored_key()) {
            self.rebase(&key, doubt.write.version, Some(&doubt.write)).await?;
        }
        Ok(())
    }

    /// A write whose changes were discarded is not sent again, but it may have been carried out.
    async fn end_discarded(&mut self, doubt: &Doubt) -> Result<()> {
        let write = &doubt.write;
        let (key, revision) = match &write.target {
            Target::Create(new) => (new.key, write.record.revision),
            Target::Update { key, .. } => (*key, write.record.revision),
            // The old record was not touched, and nobody has the new id.
            Target::Rotate { .. } if !doubt.created => {
                self.take_back(write).await;
                self.end_doubt();
                return Ok(());
            }
            Target::Rotate { old, tombstone, .. } => (*old, tombstone.revision),
        };
        match self.calls.load(&key).await {
            Ok(Some(found)) if found.record.revision == revision => {
                self.finish(write);
                // The updates since then were computed without it.
                let written = Loaded { record: write.record.clone(), expires_in: self.life_left() };
                install(self.session, write.version, &write.document, Some(&written))?;
            }
            Ok(_) => {
                if doubt.created {
                    self.take_back(write).await;
                }
                self.end_doubt();
            }
            Err(error) => return Err(in_doubt(error)),
        }
        Ok(())
    }

    async fn resume(&mut self, doubt: &Doubt, ask_first: bool) -> Result<Progress> {
        let write = &doubt.write;
        match &write.target {
            Target::Create(new) => {
                let ttl = write.ttl_now().unwrap_or_default();
                let created = self.create(write, new, ttl, ask_first).await?;
                if created {
                    self.finish(write);
                }
                Ok(if created { Progress::Done } else { Progress::Replan })
            }
            Target::Update { key, expected } => self.update(write, key, *expected, ask_first).await,
            Target::Rotate { old, expected, new, tombstone } => {
                if !doubt.created {
                    let ttl = write.ttl_now().unwrap_or_else(|| self.life_left());
                    if !self.create(write, new, ttl, ask_first).await? {
                        return Ok(Progress::Replan);
                    }
                    self.resends = 0;
                    self.session.state(|state| {
                        if let Some(doubt) = &mut state.doubt {
                            doubt.created = true;
                        }
                    });
                }
                self.bury(write, old, *expected, tombstone, doubt.created).await
            }
        }
    }

    /// Creates a record under an id that nobody has yet. `false` when that was not carried out: a copy
    /// of the request may still arrive, so the next attempt needs another id.
    async fn create(
        &mut self,
        write: &Prepared,
        new: &Identity,
        ttl: Duration,
        ask_first: bool,
    ) -> Result<bool> {
        let mut cause = None;
        if !ask_first {
            match self.send(&new.key, &write.record, Write::Create { ttl }).await {
                Ok(()) => return Ok(true),
                // A driver may have sent the request twice.
                Err(error) if error.kind() == ErrorKind::AlreadyExists => cause = Some(error),
                Err(error) if error.nothing_was_written() => {
                    self.end_doubt();
                    return Err(error);
                }
                Err(error) => cause = Some(error),
            }
        }
        match self.calls.load(&new.key).await {
            Ok(Some(found)) if found.record.revision == write.record.revision => Ok(true),
            Ok(_) => {
                self.end_doubt();
                self.resends += 1;
                match cause {
                    Some(cause) if self.resends > MAX_RESENDS => Err(in_doubt(cause)),
                    _ => Ok(false),
                }
            }
            Err(error) => Err(in_doubt(cause.unwrap_or(error))),
        }
    }

    async fn update(
        &mut self,
        write: &Prepared,
        key: &Key,
        expected: Revision,
        ask_first: bool,
    ) -> Result<Progress> {
        let ttl = || write.ttl_now();
        match self.compare_and_swap(key, &write.record, expected, ttl, ask_first).await {
            Fate::Written => {
                self.finish(write);
                Ok(Progress::Done)
            }
            Fate::Refused(error) => match error.kind() {
                ErrorKind::Conflict => {
                    // A driver may have sent the request twice: the next load ends the doubt.
                    self.session.state(|state| {
                        if let Some(doubt) = &mut state.doubt {
                            doubt.refused = true;
                        }
                    });
                    Ok(Progress::Overtaken)
                }
                ErrorKind::Gone => self.gone(write),
                _ => {
                    self.end_doubt();
                    Err(error)
                }
            },
            Fate::Gone => self.gone(write),
            Fate::Replaced(found) => self.replaced(write, expected, &found),
            Fate::Unknown(error) => Err(in_doubt(error)),
        }
    }

    /// The second step of a rotation: the old record becomes a tombstone, if it is still the expected
    /// one. Otherwise the new record is taken back.
    async fn bury(
        &mut self,
        write: &Prepared,
        old: &Key,
        expected: Revision,
        tombstone: &Record,
        ask_first: bool,
    ) -> Result<Progress> {
        let ttl = self.context.config.tombstone_ttl.min(self.life_left());
        let fate = self.compare_and_swap(old, tombstone, expected, || Some(ttl), ask_first).await;
        let fate = match fate {
            // A driver may have sent the request twice.
            Fate::Refused(error) if error.kind() == ErrorKind::Conflict => {
                match self.calls.load(old).await {
                    Ok(Some(found)) if found.record.revision == tombstone.revision => Fate::Written,
                    Ok(Some(found)) => Fate::Replaced(found),
                    Ok(None) => Fate::Gone,
                    Err(error) => Fate::Unknown(error),
                }
            }
            fate => fate,
        };
        match fate {
            Fate::Written => {
                self.finish(write);
                Ok(Progress::Done)
            }
            Fate::Unknown(error) => Err(in_doubt(error)),
            Fate::Refused(error) if error.kind() != ErrorKind::Gone => {
                self.take_back(write).await;
                self.end_doubt();
                Err(error)
            }
            Fate::Gone | Fate::Refused(_) => {
                self.take_back(write).await;
                self.gone(write)
            }
            // A tombstone is never replaced, so this one was not and will not be written.
            Fate::Replaced(_) => {
                self.take_back(write).await;
                self.end_doubt();
                Ok(Progress::Overtaken)
            }
        }
    }

    /// Removes the new record of a rotation that failed. Nobody has its id; if it remains, it expires.
    async fn take_back(&self, write: &Prepared) {
        if let Some(new) = write.new_identity()
            && let Err(error) = self.calls.destroy(&new.key, Some(write.record.revision)).await
        {
            tracing::debug!(%error, "the record of an id that nobody has remains until it expires");
        }
    }

    /// Replaces the record of the expected revision, or finds out what became of an attempt.
    async fn compare_and_swap(
        &mut self,
        key: &Key,
        record: &Record,
        expected: Revision,
        ttl: impl Fn() -> Option<Duration>,
        ask_first: bool,
    ) -> Fate {
        let mut cause = Error::unavailable("the outcome of an earlier write is not known");
        // Whether a copy of this write may be on its way.
        let mut sent = ask_first;
        let mut ask = ask_first;
        loop {
            if !ask {
                let update = Update { expected, ttl: ttl() };
                match self.send(key, record, Write::Update(update)).await {
                    Ok(()) => return Fate::Written,
                    Err(error) if error.nothing_was_written() && !sent => {
                        return Fate::Refused(error);
                    }
                    Err(error) if is_refusal(&error) => return Fate::Unknown(error),
                    // The first copy may have arrived since, so a conflict proves nothing.
                    Err(error) => cause = error,
                }
                sent = true;
            }
            ask = false;
            let found = match self.calls.load(key).await {
                Ok(Some(found)) => found,
                Ok(None) => return Fate::Gone,
                // The caller learns of the first failure.
                Err(_) => return Fate::Unknown(cause),
            };
            if found.record.revision == record.revision {
                return Fate::Written;
            }
            if found.record.revision != expected {
                return Fate::Replaced(found);
            }
            if self.resends == MAX_RESENDS {
                return Fate::Unknown(cause);
            }
            self.resends += 1;
        }
    }

    /// Sends a write, and once more if it was refused: another node may accept it.
    async fn send(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        match self.calls.save(key, record, write).await {
            Err(error) if is_refusal(&error) && !self.calls.deadline.is_over() => {
                self.calls.save(key, record, write).await
            }
            outcome => outcome,
        }
    }

    /// A write was in doubt, and the record has a third revision.
    fn replaced(
        &mut self,
        write: &Prepared,
        expected: Revision,
        found: &Loaded,
    ) -> Result<Progress> {
        let base = match Content::decode(found.record.payload.clone())? {
            Content::Tombstone(tombstone) if tombstone.replaced == write.record.revision => {
                // Written, and taken along to the new id.
                self.finish(write);
                self.session.state(|state| state.set_gone(write.version));
                return Ok(Progress::Done);
            }
            Content::Tombstone(tombstone) if tombstone.replaced == expected => {
                become_late(self.session, write.version)?;
                return Ok(Progress::Replan);
            }
            Content::Tombstone(_) => None,
            Content::Session(base) => Some(base),
        };
        // Reported once. The changes of that write are given up, so that none is applied twice.
        self.session.state(|state| {
            state.doubt = None;
            state.changes.forget_up_to(write.version.change);
            if base.is_none() {
                state.set_gone(write.version);
            }
        });
        if let Some(base) = base {
            install(self.session, write.version, &base, Some(found))?;
        }
        Err(Error::unavailable(
            "whether a write was carried out can't be known: its acknowledgement was lost and another \
             request saved the session since; the changes of that write are given up",
        ))
    }

    /// A write was carried out.
    pub(super) fn finish(&mut self, write: &Prepared) {
        let issued = self.session.state(|state| state.written(write, None));
        self.done.write(issued);
    }

    fn gone(&self, write: &Prepared) -> Result<Progress> {
        self.session.state(|state| state.set_gone(write.version));
        Err(Error::gone())
    }

    pub(super) fn end_doubt(&self) {
        self.session.state(|state| state.doubt = None);
    }

    fn life_left(&self) -> Duration {
        let left = self.session.state(|state| {
            state.stored.as_ref().map_or(Duration::ZERO, |stored| stored.expires_in(Instant::now()))
        });
        left.max(Duration::from_millis(1))
    }
}

/// Whether the store refused the operation, so that another attempt may succeed.
fn is_refusal(error: &Error) -> bool {
    error.nothing_was_written() && matches!(error.kind(), ErrorKind::Unavailable | ErrorKind::Other)
}
