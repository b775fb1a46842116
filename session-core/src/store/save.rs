//! The save algorithm over a server side backend.
//!
//! A write is compare-and-swap over the revision that was loaded. When it is refused because another
//! request was faster, what that one left is loaded and this request's changes are put on top. When
//! its outcome is not known, the store is asked: a revision is random and the writer's own, so
//! finding it means that the write was carried out.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::{Deadline, Inner, Saved, later};
use crate::backend::complete_rotation;
use crate::document::Document;
use crate::session::{Pending, Plan, Session, Stored, Target};
use crate::{Backend, Error, ErrorKind, Key, Loaded, Result, Revision, Update, Write};

/// How often a save starts again because another request was faster.
const MAX_CONFLICTS: u32 = 100;
/// How often a write is sent again after it turned out not to have been carried out.
const MAX_RESENDS: u32 = 2;

pub(super) async fn save(store: &Inner, backend: &dyn Backend, session: &Session) -> Result<Saved> {
    let _turn = session.turn_to_save().await;
    let deadline = Deadline::after(store.config.deadline);
    let nothing_new = match destroy_doomed(backend, session, &deadline).await? {
        true => Saved::Removed,
        false => Saved::Unchanged,
    };
    let save = Save { backend, session, deadline };
    if let Some(left_over) = session.state(|state| state.pending.clone()) {
        // An earlier save did not learn what became of its write.
        let unknown = Error::unavailable("the outcome of an earlier write is not known");
        let issued = match save.resolve(&left_over, unknown).await? {
            Outcome::Done { issued } => Some(issued),
            Outcome::Superseded => {
                save.reload().await?;
                None
            }
        };
        let more = save.finish(store).await?;
        return Ok(match (issued, more) {
            (Some(true), _) | (_, Some(Saved::Issued)) => Saved::Issued,
            (_, Some(saved)) => saved,
            (Some(false), None) => Saved::Updated,
            (None, None) => nothing_new,
        });
    }
    Ok(save.finish(store).await?.unwrap_or(nothing_new))
}

/// Carries out what [`Session::destroy`] asked for; whether there was anything.
pub(super) async fn destroy_doomed(
    backend: &dyn Backend,
    session: &Session,
    deadline: &Deadline,
) -> Result<bool> {
    let mut any = false;
    while let Some(key) = session.state(|state| state.doomed.last().map(|doomed| doomed.key)) {
        any = true;
        deadline.limit(backend.destroy(&key, None)).await?;
        session.state(|state| state.doomed.retain(|doomed| doomed.key != key));
    }
    Ok(any)
}

struct Save<'a> {
    backend: &'a dyn Backend,
    session: &'a Session,
    deadline: Deadline,
}

/// What became of a write.
enum Outcome {
    /// Carried out; whether the client's cookie must change.
    Done { issued: bool },
    /// Nothing was written: another request was faster.
    Superseded,
}

impl Save<'_> {
    /// Writes until nothing is left to write; `None` when nothing was.
    async fn finish(&self, store: &Inner) -> Result<Option<Saved>> {
        let mut lane = None;
        for conflicts in 0..MAX_CONFLICTS {
            let plan = self.session.state(|state| state.plan(&store.config, || store.new_id()))?;
            let pending = match plan {
                Plan::Nothing => return Ok(None),
                Plan::Touch { ttl, seq } => return self.touch(ttl, seq).await.map(Some),
                Plan::Write(pending) => pending,
            };
            match self.write(&pending).await? {
                Outcome::Done { issued: true } => return Ok(Some(Saved::Issued)),
                Outcome::Done { issued: false } => return Ok(Some(Saved::Updated)),
                Outcome::Superseded if self.deadline.is_over() => break,
                Outcome::Superseded => {}
            }
            // Requests of this process that fight for one session queue up from here; against other
            // processes a jittered pause helps.
            if lane.is_none() {
                lane = self.enter_lane(store).await;
            } else {
                let longest = 1_u64 << conflicts.min(6);
                self.deadline.pause(Duration::from_millis(fastrand::u64(0..=longest))).await;
            }
            self.reload().await?;
        }
        Err(Error::conflict())
    }

    async fn enter_lane<'s>(&self, store: &'s Inner) -> Option<tokio::sync::MutexGuard<'s, ()>> {
        let key = self.session.state(|state| Some(state.stored.as_ref()?.key))?;
        let lane = &store.lanes[usize::from(key.as_bytes()[31]) % store.lanes.len()];
        self.deadline.limit(async { Ok(lane.lock().await) }).await.ok()
    }

    /// Renews the session without rewriting it.
    async fn touch(&self, ttl: Duration, seq: u64) -> Result<Saved> {
        let key = self.key()?;
        match self.deadline.limit(self.backend.touch(&key, ttl)).await {
            Ok(()) => {
                self.session.state(|state| state.renewed(ttl, seq));
                Ok(Saved::Issued)
            }
            Err(error) => {
                if error.kind() == ErrorKind::Gone {
                    self.session.state(|state| state.set_gone());
                }
                Err(error)
            }
        }
    }

    /// Sends a write and finds out what became of it.
    async fn write(&self, pending: &Arc<Pending>) -> Result<Outcome> {
        let Err(error) = self.deadline.limit_part(self.send(pending)).await else {
            return Ok(self.settle(pending));
        };
        match error.kind() {
            ErrorKind::Conflict => Ok(Outcome::Superseded),
            ErrorKind::Gone => {
                self.session.state(|state| state.set_gone());
                Err(error)
            }
            kind if kind.is_definite() => {
                self.session.state(|state| state.pending = None);
                Err(error)
            }
            _ => self.resolve(pending, error).await,
        }
    }

    /// Asks the store whether a write was carried out, and sends the very same one again if not.
    async fn resolve(&self, pending: &Arc<Pending>, mut cause: Error) -> Result<Outcome> {
        for _ in 0..=MAX_RESENDS {
            let verdict = match self.inquire(pending).await {
                Ok(verdict) => verdict,
                // It can't be asked either: the caller hears of the first failure.
                Err(error) if !error.kind().is_definite() => return Err(cause),
                Err(error) => return Err(error),
            };
            match verdict {
                Verdict::CarriedOut => return Ok(self.settle(pending)),
                Verdict::Gone => {
                    self.session.state(|state| state.set_gone());
                    return Err(Error::gone());
                }
                Verdict::Superseded => return Ok(Outcome::Superseded),
                Verdict::Unknowable => {
                    return Err(Error::unavailable(
                        "whether a write was carried out can't be known: its acknowledgement was \
                         lost and another request saved the session since",
                    )
                    .with_source(cause));
                }
                Verdict::NotCarriedOut => {}
            }
            match self.deadline.limit_part(self.send(pending)).await {
                Ok(()) => return Ok(self.settle(pending)),
                // A late arrival of the first attempt may look like any of these: ask again.
                Err(error) => cause = error,
            }
        }
        Err(cause)
    }

    async fn inquire(&self, pending: &Pending) -> Result<Verdict> {
        let own = pending.record.revision;
        match &pending.target {
            Target::Create(id) => Ok(match self.load(&id.key()).await? {
                None => Verdict::NotCarriedOut,
                Some(found) if found.record.revision == own => Verdict::CarriedOut,
                Some(_) => Verdict::Unknowable,
            }),
            Target::Update => Ok(match self.load(&self.key()?).await? {
                None => Verdict::Gone,
                Some(found) if found.record.revision == own => Verdict::CarriedOut,
                Some(found) if Some(found.record.revision) == pending.expected => {
                    Verdict::NotCarriedOut
                }
                Some(_) => Verdict::Unknowable,
            }),
            Target::Rotate(id) => self.inquire_rotation(&id.key(), own, pending).await,
        }
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
        let moved = self.load(new).await?.is_some_and(|found| found.record.revision == own);
        let standing = self.load(&old).await?.map(|found| found.record.revision);
        if !moved {
            return Ok(match standing {
                None => Verdict::Gone,
                Some(revision) if revision == expected => Verdict::NotCarriedOut,
                Some(_) => Verdict::Superseded,
            });
        }
        if standing.is_none() && self.backend.capabilities().rotates_atomically {
            return Ok(Verdict::CarriedOut);
        }
        // By steps: the old record must die by our hand. If it is gone already, that may have been a
        // logout, and logout wins.
        let completed = complete_rotation(self.backend, &old, new, own, expected);
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
        let update = || {
            let expected = pending.expected.unwrap_or(record.revision);
            Update { expected, ttl: pending.ttl }
        };
        match &pending.target {
            Target::Create(id) => {
                let ttl = pending.ttl.unwrap_or_default();
                self.backend.save(&id.key(), record, Write::Create { ttl }).await
            }
            Target::Update => {
                self.backend.save(&self.key()?, record, Write::Update(update())).await
            }
            Target::Rotate(id) => {
                self.backend.rotate(&self.key()?, &id.key(), record, update()).await
            }
        }
    }

    fn settle(&self, pending: &Pending) -> Outcome {
        Outcome::Done { issued: self.session.state(|state| state.settle(pending, None)) }
    }

    /// Puts this request's changes on top of what stands in the store now.
    async fn reload(&self) -> Result<()> {
        let now = Instant::now();
        let Some(Loaded { record, expires_in }) = self.load(&self.key()?).await? else {
            self.session.state(|state| state.set_gone());
            return Err(Error::gone());
        };
        let document = Document::decode(&record.payload)?;
        self.session.state(|state| {
            if let Some(stored) = &mut state.stored {
                stored.revision = record.revision;
                stored.owner = record.owner;
                stored.deadline = later(now, expires_in);
            }
            state.base = document.clone();
            state.pending = None;
            state.version += 1;
        });
        self.apply_updates_again(&document)
    }

    /// Computes the outcome of every `update` over a new base.
    fn apply_updates_again(&self, base: &Document) -> Result<()> {
        loop {
            let (version, updates) =
                self.session.state(|state| (state.version, state.changes.updates()));
            let mut outcomes = Vec::with_capacity(updates.len());
            // Outside the lock: the steps are the application's code.
            for (key, steps) in updates {
                let mut value = base.value(&key);
                for step in steps {
                    value = Some(step(value.as_deref())?);
                }
                outcomes.extend(value.map(|value| (key, value)));
            }
            let installed = self.session.state(|state| {
                let unchanged = state.version == version;
                if unchanged {
                    for (key, value) in outcomes {
                        state.changes.set_outcome(&key, value);
                    }
                }
                unchanged
            });
            if installed {
                return Ok(());
            }
        }
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.deadline.limit(self.backend.load(key)).await
    }

    /// The key of the session as it is stored now; `Gone` when it was destroyed meanwhile.
    fn key(&self) -> Result<Key> {
        self.session
            .state(|state| state.stored.as_ref().map(|stored: &Stored| stored.key))
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
