//! The save algorithm over a server side backend.
//!
//! A write is compare-and-swap over the revision that was loaded. When it is refused because another
//! request was faster, what that one left is loaded and this request's changes are put on top. When
//! its outcome is not known, the store is asked: a revision is random and the writer's own, so
//! finding it means that the write was carried out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::MutexGuard;

use super::{ALL, Deadline, HALF, Inner, Saved, later};
use crate::document::Document;
use crate::session::{Pending, Plan, Session, State, Target};
use crate::{Backend, Error, ErrorKind, Key, Loaded, Record, Result, Revision, Update, Write};

/// How often a save starts again because another request was faster.
const MAX_CONFLICTS: u32 = 100;
/// How often a write is sent again after it turned out not to have been carried out.
const MAX_RESENDS: u32 = 2;
/// How often updates are computed again because the session was changed meanwhile.
const MAX_ROUNDS: u32 = 100;

pub(super) async fn save(store: &Inner, backend: &dyn Backend, session: &Session) -> Result<Saved> {
    let deadline = Deadline::after(store.config.deadline);
    let _turn = deadline.limit(async { Ok(session.turn_to_save().await) }).await?;
    let save = Save { backend, session, deadline };
    let mut saved = Saved::Unchanged;
    loop {
        if save.destroy_doomed().await? {
            let replaced = session.state(|state| state.exists());
            saved = if replaced { Saved::Issued } else { Saved::Removed };
        }
        let settled = save.settle_left_over().await?;
        match save.write_changes(store).await?.or(settled) {
            Some(Saved::Updated) if saved == Saved::Issued => {}
            Some(written) => saved = written,
            None => {}
        }
        // Again, when the session was destroyed while it was being written.
        if !save.has_doomed() {
            return Ok(saved);
        }
    }
}

/// Carries out what [`Session::destroy`] asked for.
pub(super) async fn destroy(
    backend: &dyn Backend,
    session: &Session,
    deadline: Deadline,
) -> Result<()> {
    let _turn = deadline.limit(async { Ok(session.turn_to_save().await) }).await?;
    Save { backend, session, deadline }.destroy_doomed().await.map(drop)
}

struct Save<'a> {
    backend: &'a dyn Backend,
    session: &'a Session,
    deadline: Deadline,
}

/// What became of a write.
enum Outcome {
    Done(Saved),
    /// Nothing was written: another request was faster.
    Superseded,
}

impl Save<'_> {
    fn has_doomed(&self) -> bool {
        self.session.state(|state| !state.doomed.is_empty())
    }

    /// Destroys the sessions that have to be; whether there were any.
    async fn destroy_doomed(&self) -> Result<bool> {
        let mut any = false;
        let next = || self.session.state(|state| state.doomed.last().map(|doomed| doomed.key));
        while let Some(key) = next() {
            any = true;
            let destroyed = self.backend.destroy(&key, None);
            self.deadline.within(ALL, self.backend.time_limit(), destroyed).await?;
            self.session.state(|state| state.destroyed(key));
        }
        Ok(any)
    }

    /// Finds out what became of the write of an earlier save; `None` when nothing did.
    async fn settle_left_over(&self) -> Result<Option<Saved>> {
        let left_over = self.session.state(|state| {
            state.pending.clone().map(|pending| (pending, std::mem::take(&mut state.abandoned)))
        });
        let Some((pending, abandoned)) = left_over else {
            return Ok(None);
        };
        if abandoned {
            let verdict = self.inquire(&pending).await.inspect_err(|_| {
                self.session.state(|state| state.abandoned = state.pending.is_some());
            })?;
            return Ok(match verdict {
                Verdict::CarriedOut => Some(self.settle(&pending)),
                _ => {
                    self.session.state(State::forget_pending);
                    None
                }
            });
        }
        let unknown = Error::unavailable("the outcome of an earlier write is not known");
        match self.resolve(&pending, unknown).await? {
            Outcome::Done(saved) => Ok(Some(saved)),
            Outcome::Superseded => self.rebase(pending.epoch, Some(&pending)).await,
        }
    }

    /// Writes what changed; `None` when nothing did.
    async fn write_changes(&self, store: &Inner) -> Result<Option<Saved>> {
        let mut lane = self.queue_up(store).await?;
        for conflicts in 0..MAX_CONFLICTS {
            let plan = self.session.state(|state| state.plan(&store.config, || store.new_id()))?;
            let pending = match plan {
                Plan::Nothing => return Ok(None),
                Plan::Touch { ttl, seq, epoch } => {
                    return self.touch(ttl, seq, epoch).await.map(Some);
                }
                Plan::Write(pending) => pending,
            };
            match self.write(&pending).await? {
                Outcome::Done(saved) => return Ok(Some(saved)),
                Outcome::Superseded if conflicts > 0 && self.deadline.is_over() => break,
                Outcome::Superseded => {}
            }
            // Requests of this process queue up; against other processes a jittered pause helps.
            if lane.is_none() {
                lane = store.lanes.enter(&self.key()?, &self.deadline).await;
            } else {
                let longest = 1_u64 << conflicts.min(6);
                self.deadline.pause(Duration::from_millis(fastrand::u64(0..=longest))).await;
            }
            if let Some(saved) = self.rebase(pending.epoch, Some(&pending)).await? {
                return Ok(Some(saved));
            }
        }
        Err(Error::conflict())
    }

    /// Where requests of this process fight for the session already, waits a little for its turn and
    /// begins with what they left: a write over what was loaded before would only be refused.
    async fn queue_up<'s>(&self, store: &'s Inner) -> Result<Option<MutexGuard<'s, ()>>> {
        let (key, epoch) = match self.session.state(|state| state.overwrites()) {
            Some((key, epoch)) if store.lanes.are_busy_for(&key) => (key, epoch),
            _ => return Ok(None),
        };
        let lane = store.lanes.enter_soon(&key, &self.deadline).await;
        if lane.is_some() {
            self.rebase(epoch, None).await?;
        }
        Ok(lane)
    }

    /// Renews the session without rewriting it.
    async fn touch(&self, ttl: Duration, seq: u64, epoch: u64) -> Result<Saved> {
        let key = self.key()?;
        let begins = Instant::now();
        let expected = self
            .session
            .state(|state| state.stored.as_ref().map(|stored| stored.revision))
            .ok_or_else(Error::gone)?;
        let touched = self.backend.touch(&key, expected, ttl);
        match self.deadline.within(ALL, self.backend.time_limit(), touched).await {
            Ok(()) => {
                self.session.state(|state| state.renewed(later(begins, ttl), seq, epoch));
                Ok(Saved::Issued)
            }
            Err(error) => {
                if error.kind() == ErrorKind::Gone {
                    self.session.state(|state| state.set_gone(epoch));
                }
                Err(error)
            }
        }
    }

    /// Sends a write and finds out what became of it.
    async fn write(&self, pending: &Arc<Pending>) -> Result<Outcome> {
        // A rotation may take several steps.
        let promised = match pending.target {
            Target::Rotate(_) => None,
            Target::Create(_) | Target::Update => self.backend.time_limit(),
        };
        let sent = self.deadline.within(HALF, promised, self.send(pending)).await;
        let Err(error) = sent else {
            return Ok(Outcome::Done(self.settle(pending)));
        };
        match error.kind() {
            ErrorKind::Conflict => {
                self.session.state(State::forget_pending);
                Ok(Outcome::Superseded)
            }
            // A driver may have sent the write twice: nobody else can have drawn this id, and the
            // old record may be gone by this very rotation.
            ErrorKind::AlreadyExists => self.resolve(pending, error).await,
            ErrorKind::Gone if matches!(pending.target, Target::Rotate(_)) => {
                self.resolve(pending, error).await
            }
            ErrorKind::Gone => {
                self.session.state(|state| state.set_gone(pending.epoch));
                Err(error)
            }
            _ if error.nothing_was_written() => {
                self.session.state(State::forget_pending);
                Err(error)
            }
            _ => self.resolve(pending, error).await,
        }
    }

    /// Asks the store whether a write was carried out, and sends the very same one again if not.
    async fn resolve(&self, pending: &Arc<Pending>, mut cause: Error) -> Result<Outcome> {
        for resends in 0.. {
            let verdict = match self.inquire(pending).await {
                Ok(verdict) => verdict,
                // It can't be asked either: the caller hears of the first failure.
                Err(error) if !error.nothing_was_written() => return Err(in_doubt(cause)),
                Err(error) => return Err(error),
            };
            match verdict {
                Verdict::CarriedOut => return Ok(Outcome::Done(self.settle(pending))),
                Verdict::Gone => {
                    self.session.state(|state| state.set_gone(pending.epoch));
                    return Err(Error::gone());
                }
                Verdict::Superseded => {
                    self.session.state(State::forget_pending);
                    return Ok(Outcome::Superseded);
                }
                Verdict::Unknowable => {
                    return Err(Error::unavailable(
                        "whether a write was carried out can't be known: its acknowledgement was \
                         lost and another request saved the session since",
                    )
                    .with_source(cause));
                }
                Verdict::NotCarriedOut if resends == MAX_RESENDS => break,
                Verdict::NotCarriedOut => {}
            }
            match self.deadline.limit_part(self.send(pending)).await {
                Ok(()) => return Ok(Outcome::Done(self.settle(pending))),
                // A late arrival of the first attempt may look like any of these: ask again.
                Err(error) => cause = error,
            }
        }
        Err(in_doubt(cause))
    }

    async fn inquire(&self, pending: &Pending) -> Result<Verdict> {
        let own = pending.record.revision;
        let key = match &pending.target {
            Target::Create(id) => id.key(),
            Target::Update => self.key()?,
            Target::Rotate(id) => return self.inquire_rotation(&id.key(), own, pending).await,
        };
        Ok(match self.load(&key).await?.map(|found| found.record.revision) {
            Some(found) if found == own => Verdict::CarriedOut,
            found if found == pending.expected => Verdict::NotCarriedOut,
            None => Verdict::Gone,
            Some(_) => Verdict::Unknowable,
        })
    }

    /// A rotation that goes by steps may have stopped between them; then it is completed.
    async fn inquire_rotation(
        &self,
        new: &Key,
        own: Revision,
        pending: &Pending,
    ) -> Result<Verdict> {
        let old = self.key()?;
        let expected = pending.expected.unwrap_or(own);
        let moved = async || {
            self.load(new)
                .await
                .map(|found| found.is_some_and(|found| found.record.revision == own))
        };
        if !moved().await? {
            match self.load(&old).await?.map(|found| found.record.revision) {
                Some(revision) if revision == expected => return Ok(Verdict::NotCarriedOut),
                Some(_) => return Ok(Verdict::Superseded),
                // It may have arrived between the two looks.
                None if !moved().await? => return Ok(Verdict::Gone),
                None => {}
            }
        }
        // By steps: the old record must die by our hand. If it is gone already, that may have been a
        // logout, and logout wins.
        let completed = self.complete_rotation(&old, new, own, expected);
        match self.deadline.limit(completed).await {
            Ok(()) => Ok(Verdict::CarriedOut),
            Err(error) => match error.kind() {
                ErrorKind::Gone => Ok(Verdict::Gone),
                ErrorKind::Conflict => Ok(Verdict::Superseded),
                _ => Err(error),
            },
        }
    }

    async fn send(&self, pending: &Pending) -> Result<()> {
        let record = &pending.record;
        let ttl = pending.ttl_now();
        let expected = pending.expected.unwrap_or(record.revision);
        let update = Update { expected, ttl };
        match &pending.target {
            Target::Create(id) => {
                let ttl = ttl.unwrap_or_default();
                self.backend.save(&id.key(), record, Write::Create { ttl }).await
            }
            Target::Update => self.backend.save(&self.key()?, record, Write::Update(update)).await,
            Target::Rotate(id) => self.rotate(&self.key()?, &id.key(), record, update).await,
        }
    }

    async fn rotate(&self, old: &Key, new: &Key, record: &Record, write: Update) -> Result<()> {
        let standing = self.backend.load(old).await?.ok_or_else(Error::gone)?;
        if standing.record.revision != write.expected {
            return Err(Error::conflict());
        }
        let ttl = write.ttl.unwrap_or(standing.expires_in);
        self.backend.save(new, record, Write::Create { ttl }).await?;
        self.complete_rotation(old, new, record.revision, write.expected).await
    }

    async fn complete_rotation(
        &self,
        old: &Key,
        new: &Key,
        written: Revision,
        expected: Revision,
    ) -> Result<()> {
        if self.backend.destroy(old, Some(expected)).await? {
            return Ok(());
        }
        let verdict = match self.backend.load(old).await? {
            Some(_) => ErrorKind::Conflict,
            None => ErrorKind::Gone,
        };
        self.backend.destroy(new, Some(written)).await?;
        Err(match verdict {
            ErrorKind::Conflict => Error::conflict(),
            _ => Error::gone(),
        })
    }

    fn settle(&self, pending: &Pending) -> Saved {
        match self.session.state(|state| state.settle(pending, None)) {
            true => Saved::Issued,
            false => Saved::Updated,
        }
    }

    /// Puts this request's changes on top of what stands in the store now, all at once or not at
    /// all. `Some` when what stands there is the refused write itself: a driver had sent it twice.
    async fn rebase(&self, epoch: u64, refused: Option<&Pending>) -> Result<Option<Saved>> {
        let Some(Loaded { record, expires_in }) = self.load(&self.key()?).await? else {
            self.session.state(|state| state.set_gone(epoch));
            return Err(Error::gone());
        };
        if let Some(refused) = refused.filter(|refused| refused.record.revision == record.revision)
        {
            return Ok(Some(self.settle(refused)));
        }
        let deadline = later(Instant::now(), expires_in);
        let base = Document::decode(record.payload)?;
        for _ in 0..MAX_ROUNDS {
            let (last, updates) =
                self.session.state(|state| (state.changes.last(), state.changes.updates()));
            let mut outcomes = Vec::with_capacity(updates.len());
            // Outside the lock: the steps are the application's code.
            for (key, steps) in updates {
                let mut value = base.value(&key);
                for step in steps {
                    value = Some(step(value.as_deref())?);
                }
                outcomes.push((key, value));
            }
            let installed = self.session.state(|state| {
                let Some(stored) = state.stored.as_mut().filter(|_| state.epoch == epoch) else {
                    return true; // destroyed meanwhile: there is nothing to put anything on
                };
                if state.changes.last() != last {
                    return false;
                }
                stored.revision = record.revision;
                stored.owner.clone_from(&record.owner);
                stored.deadline = deadline;
                state.base = base.clone();
                for (key, value) in outcomes {
                    state.changes.set_outcome(&key, value);
                }
                true
            });
            if installed {
                return Ok(None);
            }
        }
        Err(Error::conflict())
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.deadline.limit(self.backend.load(key)).await
    }

    /// The key of the session as it is stored now; `Gone` when it was destroyed meanwhile.
    fn key(&self) -> Result<Key> {
        self.session
            .state(|state| state.stored.as_ref().map(|stored| stored.key))
            .ok_or_else(Error::gone)
    }
}

/// What a look into the store says about a write in doubt.
enum Verdict {
    CarriedOut,
    /// What was expected stands there: it can be sent again, with the same revision.
    NotCarriedOut,
    /// It was not carried out and never will be; others have saved meanwhile.
    Superseded,
    Gone,
    /// Another revision stands there: others may have saved before it, or over it.
    Unknowable,
}

/// Some errors would say that nothing was written, which is not known.
fn in_doubt(cause: Error) -> Error {
    if cause.nothing_was_written() {
        return Error::unavailable("the outcome of a write is not known").with_source(cause);
    }
    cause
}
