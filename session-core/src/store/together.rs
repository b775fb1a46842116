//! Writes the waiting saves of one session together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::queue::{Answer, Lead, Leaving, Member, Place};
use super::rebase::{At, apply_again, install, move_away};
use super::save::{Progress, Save};
use crate::document::Document;
use crate::session::{Doubt, Plan, Prepared, Session, Target, Ticket, Version, Watched};
use crate::{Error, Key, Loaded, Result};

/// How many saves are written together at most.
const MAX_TOGETHER: usize = 64;
/// How often a leader tries again after a conflict with another process.
const MAX_CONFLICTS: u32 = 100;

impl Save<'_> {
    /// Waits for a leader that writes the changes of this save, too, or becomes the leader.
    /// `refused` is the write of this save that just conflicted. If a driver sent it twice, it may
    /// have been carried out nevertheless.
    pub(super) async fn join_queue(
        &mut self,
        key: &Key,
        version: Version,
        max_wait: Duration,
        refused: Option<&Arc<Prepared>>,
    ) -> Result<Progress> {
        let queues = &self.context.queues;
        // A leader must not write these changes before the outcome of the refused write is known.
        let (place, refused) = match refused.map(|write| (write, queues.try_lead(key))) {
            Some((write, Some(lead))) => (Place::Leading(lead), Some(write)),
            Some((write, None)) => {
                if let Progress::Done { moved } = self.rebase(key, version, Some(write)).await? {
                    return Ok(Progress::Done { moved });
                }
                (queues.enter(key, self.session), None)
            }
            None => (queues.enter(key, self.session), None),
        };
        let mut lead = match place {
            Place::Leading(lead) => lead,
            Place::Waiting(answer, ticket) => match self.wait(answer, ticket, max_wait).await? {
                Some(Answer::Lead(lead)) => lead,
                Some(Answer::Written { issued }) => {
                    self.done.write(issued);
                    return Ok(Progress::Done { moved: None });
                }
                // It has to be written alone.
                None => return Ok(Progress::Replan),
            },
        };
        if let Some(progress) = self.take_over(&mut lead).await? {
            return Ok(progress);
        }
        if self.session.state(|state| state.changes.new_id()) {
            return self.rebase_and_write(key, version, refused).await;
        }
        let doubt = self.session.state(|state| state.doubt.clone());
        let conflicted = doubt.filter(|doubt| doubt.conflicted).map(|doubt| doubt.write);
        self.lead(&mut lead, key, version, refused.cloned().or(conflicted)).await
    }

    /// Waits for an answer: for at most `max_wait` until a leader takes this save, and from then on
    /// until the deadline, because the leader may write the changes at any moment.
    async fn wait(
        &self,
        mut answer: oneshot::Receiver<Answer>,
        ticket: Ticket,
        max_wait: Duration,
    ) -> Result<Option<Answer>> {
        self.session.state(|state| state.queued = Some(Box::new(ticket)));
        let mut received = self
            .calls
            .deadline
            .limit(async { Ok(tokio::time::timeout(max_wait, &mut answer).await.ok()) })
            .await
            .ok()
            .flatten();
        if received.is_none()
            && let Leaving::Taken(_) = self.context.queues.leave(ticket)
        {
            received = Some(self.calls.deadline.limit(async { Ok(answer.await) }).await?);
        }
        self.session.state(|state| state.queued = None);
        Ok(received.and_then(|received| received.ok()))
    }

    /// Waits until no leader can write the changes of an earlier save whose future was dropped.
    pub(super) async fn leave_queue(&self, ticket: Ticket) -> Result<()> {
        if let Leaving::Taken(Some(leading)) = self.context.queues.leave(ticket) {
            let ended = async { Ok(leading.lock().await) };
            drop(self.calls.deadline.limit(ended).await?);
        }
        self.session.state(|state| state.queued = None);
        Ok(())
    }

    /// Finds out what became of the common write of a leader that left. This save is part of it.
    async fn take_over(&mut self, lead: &mut Lead) -> Result<Option<Progress>> {
        let Some(write) = lead.in_doubt.clone() else {
            return Ok(None);
        };
        // This save may have been destroyed or discarded meanwhile, or may be no member.
        let is_member = self.session.state(|state| {
            state.doubt.as_ref().is_some_and(|doubt| is_same(doubt, &write) && !doubt.discarded)
        });
        if !is_member {
            if lead.members.is_empty() {
                lead.in_doubt = None;
                return Ok(None);
            }
            return Ok(Some(Progress::Replan)); // the lead passes on
        }
        let progress = self.resolve_doubt().await?;
        lead.in_doubt = None;
        if let Progress::Done { moved } = progress {
            lead.members.drain(..).for_each(|member| answer_written(member, &write, moved));
            return Ok(Some(progress));
        }
        lead.members.iter().for_each(|member| end_doubt(member, &write));
        Ok(None)
    }

    /// A new id is for this session only: nothing is written together with it.
    async fn rebase_and_write(
        &mut self,
        key: &Key,
        version: Version,
        refused: Option<&Arc<Prepared>>,
    ) -> Result<Progress> {
        let refused = refused.map(|write| &**write);
        let progress = self.rebase(key, version, refused).await?;
        if let Progress::Done { .. } = progress {
            return Ok(progress);
        }
        let context = self.context;
        match self.session.state(|state| state.plan(&context.config, || context.new_identity()))? {
            Plan::Write(write) => self.write(&write).await,
            Plan::Nothing | Plan::Touch { .. } => Ok(Progress::Replan),
        }
    }

    /// Writes the changes of this save and of the waiting saves, until one write succeeds.
    async fn lead(
        &mut self,
        lead: &mut Lead,
        key: &Key,
        version: Version,
        mut refused: Option<Arc<Prepared>>,
    ) -> Result<Progress> {
        for conflicts in 0..MAX_CONFLICTS {
            let found = self.load_current(key, refused.as_deref()).await?;
            let progress = self.rebase_onto(found.as_ref(), version, refused.as_deref())?;
            if let (Progress::Done { moved }, Some(write)) = (&progress, &refused) {
                lead.members.drain(..).for_each(|member| answer_written(member, write, *moved));
                return Ok(progress);
            }
            let Some(found) = found else {
                return Ok(Progress::Replan);
            };
            let context = self.context;
            let plan = self
                .session
                .state(|state| state.plan(&context.config, || context.new_identity()))?;
            let Plan::Write(own) = plan else {
                return Ok(Progress::Replan);
            };
            if !matches!(own.target, Target::Update { .. }) {
                self.session.state(|state| state.doubt = None); // destroyed meanwhile
                return Ok(Progress::Replan);
            }
            lead.members.retain(|member| !member.waiter.answer.is_closed());
            lead.take(MAX_TOGETHER);
            let write = self.combine(&own, &found, &mut lead.members);
            lead.in_doubt = Some(Arc::clone(&write));
            let written = self.write(&write).await;
            match written {
                Ok(Progress::Done { moved }) => {
                    lead.in_doubt = None;
                    lead.members.drain(..).for_each(|member| answer_written(member, &write, moved));
                    return Ok(Progress::Done { moved });
                }
                // The next load shows whether a driver sent the write twice. Until then the members
                // remain in doubt.
                Ok(_) => {
                    lead.in_doubt = None;
                    lead.members.iter().for_each(|member| conflicted(member, &write));
                    refused = Some(write);
                }
                Err(error) => {
                    if error.nothing_was_written() {
                        lead.in_doubt = None;
                        lead.members.iter().for_each(|member| end_doubt(member, &write));
                    }
                    return Err(error);
                }
            }
            if conflicts > 0 && self.calls.deadline.is_over() {
                break;
            }
            self.calls.deadline.pause_after_conflict(conflicts).await;
        }
        Err(Error::conflict())
    }

    /// Applies the changes of all members after those of this save, one after another. Members that
    /// can't be written together are removed, and have to write by themselves.
    fn combine(
        &self,
        own: &Arc<Prepared>,
        found: &Loaded,
        members: &mut Vec<Member>,
    ) -> Arc<Prepared> {
        let mut last = Arc::clone(own);
        let mut life = own.life;
        let mut watched = Vec::new();
        let all = std::mem::take(members);
        for mut member in all {
            let session = &member.waiter.session;
            let before = Loaded { record: last.record.clone(), ..found.clone() };
            match self.apply(session, member.version, &last.document, &before) {
                Some(write) => {
                    member.version = write.version;
                    life = write.life.or(life);
                    watched.push(write.watched.clone());
                    last = write;
                    members.push(member);
                }
                None => drop(member),
            }
        }
        if members.is_empty() {
            return last;
        }
        let for_all = |version, watched| {
            Arc::new(Prepared {
                target: Target::Update {
                    key: own.stored_key().expect("it is an update"),
                    expected: found.record.revision,
                },
                record: last.record.clone(),
                life,
                document: last.document.clone(),
                version,
                watched,
            })
        };
        let enter_doubt = |session: &Session, version, watched: &Watched| {
            let write = for_all(version, watched.clone());
            session.state(|state| {
                if state.is_same_life(version) {
                    state.doubt = Some(Doubt::from(Arc::clone(&write)));
                }
            });
            write
        };
        for (member, watched) in members.iter().zip(&watched) {
            enter_doubt(&member.waiter.session, member.version, watched);
        }
        enter_doubt(self.session, own.version, &own.watched)
    }

    /// The write of one member, based on the write before it; `None` if it must be written alone.
    ///
    /// The session of the member is then based on a revision that is never stored. If the common
    /// write fails, the next write of the member conflicts and is rebased onto the stored record.
    fn apply(
        &self,
        session: &Session,
        version: Version,
        base: &Document,
        before: &Loaded,
    ) -> Option<Arc<Prepared>> {
        // The updates are code of the application. A panic or error fails only the member it
        // belongs to.
        let installed =
            catch_unwind(AssertUnwindSafe(|| install(session, version, base, At::Record(before))));
        let context = self.context;
        let plan = match installed {
            Ok(Ok(())) => {
                session.state(|state| state.plan(&context.config, || context.new_identity()))
            }
            _ => return None,
        };
        match plan {
            Ok(Plan::Write(write)) if matches!(write.target, Target::Update { .. }) => Some(write),
            Ok(Plan::Write(_)) => {
                session.state(|state| state.doubt = None);
                None
            }
            _ => None,
        }
    }
}

/// Tells a member that the common write was carried out. `moved` is the new key, if another request took
/// the session to one since.
fn answer_written(member: Member, write: &Prepared, moved: Option<Key>) {
    let Member { waiter, version } = member;
    let session = &waiter.session;
    let issued = session.state(|state| {
        let doubt = state.doubt.as_ref().filter(|doubt| is_same(doubt, write))?;
        let own = Arc::clone(&doubt.write);
        Some((state.is_same_life(version) && state.written(&own, None), own))
    });
    // The updates are the application's code.
    let _ = catch_unwind(AssertUnwindSafe(|| match (moved, &issued) {
        (Some(new), _) => move_away(session, version, new),
        (None, Some((_, own))) => apply_again(session, own),
        (None, None) => {}
    }));
    let issued = issued.is_some_and(|(issued, _)| issued);
    drop(waiter.answer.send(Answer::Written { issued }));
}

fn conflicted(member: &Member, write: &Prepared) {
    member.waiter.session.state(|state| {
        if let Some(doubt) = state.doubt.as_mut().filter(|doubt| is_same(doubt, write)) {
            doubt.conflicted = true;
        }
    });
}

fn end_doubt(member: &Member, write: &Prepared) {
    member.waiter.session.state(|state| {
        if state.doubt.as_ref().is_some_and(|doubt| is_same(doubt, write)) {
            state.doubt = None;
        }
    });
}

fn is_same(doubt: &Doubt, write: &Prepared) -> bool {
    doubt.write.record.revision == write.record.revision
}
