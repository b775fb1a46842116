//! Saves of one session that wait for each other in this process, written together.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

use super::queue::{Answer, Lead, Place, Waiter};
use super::rebase::{At, apply_again, install};
use super::save::{Progress, Save};
use crate::document::Document;
use crate::session::{Doubt, Plan, Prepared, Session, Target, Version};
use crate::{Error, Key, Loaded, Result};

/// How many saves are written together.
const MAX_TOGETHER: usize = 64;
/// How often a leader starts again because another process was faster.
const MAX_CONFLICTS: u32 = 100;

/// A waiting save whose changes are part of the write. Dropped, it is told to write alone.
struct Member {
    waiter: Waiter,
    version: Version,
}

impl Save<'_> {
    /// Waits for a save that writes this one's changes, too, or leads. `refused` is this save's write
    /// that was refused just now: it may have been carried out all the same, if a driver sent it twice.
    pub(super) async fn join_queue(
        &mut self,
        key: &Key,
        version: Version,
        patience: Duration,
        refused: Option<&Arc<Prepared>>,
    ) -> Result<Progress> {
        let queues = &self.context.queues;
        let place = match refused {
            None => queues.enter(key, self.session),
            // Others must not apply the changes before it is known what became of them.
            Some(write) => match queues.try_lead(key) {
                Some(lead) => Place::Leading(lead),
                None => return self.rebase(key, version, Some(write)).await,
            },
        };
        let lead = match place {
            Place::Leading(lead) => lead,
            Place::Waiting(answer) => {
                let answer = tokio::time::timeout(patience, answer);
                match self.calls.deadline.limit(async { Ok(answer.await) }).await {
                    Ok(Ok(Ok(Answer::Lead(lead)))) => lead,
                    Ok(Ok(Ok(Answer::Written { issued }))) => {
                        self.done.write(issued);
                        return Ok(Progress::Done);
                    }
                    // It has to be written alone, or the leader left, or it took too long. The leader
                    // may have sent its changes already.
                    _ => {
                        self.resolve_doubt().await?;
                        return Ok(Progress::Replan);
                    }
                }
            }
        };
        if self.session.state(|state| state.changes.new_id()) {
            return self.rebase_and_write(key, version, refused).await;
        }
        self.lead(&lead, key, version, refused).await
    }

    /// A new id is for this session only: nothing is written together with it.
    async fn rebase_and_write(
        &mut self,
        key: &Key,
        version: Version,
        refused: Option<&Arc<Prepared>>,
    ) -> Result<Progress> {
        let refused = refused.map(|write| &**write);
        if let Progress::Done = self.rebase(key, version, refused).await? {
            return Ok(Progress::Done);
        }
        let context = self.context;
        match self.session.state(|state| state.plan(&context.config, || context.new_identity()))? {
            Plan::Write(write) => self.write(&write).await,
            Plan::Nothing | Plan::Touch { .. } => Ok(Progress::Replan),
        }
    }

    /// Writes the changes of this save and of those that wait, until one write is accepted.
    async fn lead(
        &mut self,
        lead: &Lead,
        key: &Key,
        version: Version,
        refused: Option<&Arc<Prepared>>,
    ) -> Result<Progress> {
        let mut members: Vec<Member> = Vec::new();
        let mut refused = refused.cloned();
        for conflicts in 0..MAX_CONFLICTS {
            let found = self.load_current(key, refused.as_deref()).await?;
            let progress = self.rebase_onto(found.as_ref(), version, refused.as_deref())?;
            if let (Progress::Done, Some(write)) = (progress, &refused) {
                members.into_iter().for_each(|member| answer_written(member, write));
                return Ok(Progress::Done);
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
            members.retain(|member| !member.waiter.answer.is_closed());
            let more = lead.take(MAX_TOGETHER.saturating_sub(members.len()));
            members.extend(more.into_iter().map(|waiter| {
                let version = waiter.session.state(|state| state.version());
                Member { waiter, version }
            }));
            let write = self.combine(&own, &found, &mut members);
            match self.write(&write).await {
                Ok(Progress::Done) => {
                    members.into_iter().for_each(|member| answer_written(member, &write));
                    return Ok(Progress::Done);
                }
                // The next load shows whether a driver sent it twice, so the members remain in doubt.
                Ok(_) => {
                    members.iter().for_each(|member| conflicted(member, &write));
                    refused = Some(write);
                }
                Err(error) => {
                    if error.nothing_was_written() {
                        members.iter().for_each(|member| end_doubt(member, &write));
                    }
                    return Err(error);
                }
            }
            if conflicts > 0 && self.calls.deadline.is_over() {
                break;
            }
            // Another process was faster.
            let longest = 1_u64 << conflicts.min(6);
            self.calls.deadline.pause(Duration::from_millis(fastrand::u64(0..longest))).await;
        }
        Err(Error::conflict())
    }

    /// Applies the changes of all members on top of this save's, one after another. Members that can't
    /// be written together with it are told so and removed.
    fn combine(
        &self,
        own: &Arc<Prepared>,
        found: &Loaded,
        members: &mut Vec<Member>,
    ) -> Arc<Prepared> {
        let mut last = Arc::clone(own);
        let mut ttl = own.ttl;
        let all = std::mem::take(members);
        for mut member in all {
            let session = &member.waiter.session;
            let before = Loaded { record: last.record.clone(), ..found.clone() };
            match self.apply(session, member.version, &last.document, &before) {
                Some(write) => {
                    member.version = write.version;
                    ttl = write.ttl.or(ttl);
                    last = write;
                    members.push(member);
                }
                None => drop(member),
            }
        }
        if members.is_empty() {
            return last;
        }
        let for_all = |version| {
            Arc::new(Prepared {
                target: Target::Update {
                    key: own.stored_key().expect("it is an update"),
                    expected: found.record.revision,
                },
                record: last.record.clone(),
                ttl,
                begins: own.begins,
                document: last.document.clone(),
                version,
            })
        };
        let enter_doubt = |session: &Session, version| {
            let write = for_all(version);
            session.state(|state| {
                if state.is_same_life(version) {
                    state.doubt = Some(Doubt::from(Arc::clone(&write)));
                }
            });
            write
        };
        for member in &*members {
            enter_doubt(&member.waiter.session, member.version);
        }
        enter_doubt(self.session, own.version)
    }

    /// The write of one member on top of what is before it; `None` when it must be written alone.
    ///
    /// The session of the member is based on a revision then that is never stored by itself. If the
    /// common write fails, its next write is refused, and it is based on what is stored.
    fn apply(
        &self,
        session: &Session,
        version: Version,
        base: &Document,
        before: &Loaded,
    ) -> Option<Arc<Prepared>> {
        // The updates are the application's code. What is wrong with one is only its own.
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

fn answer_written(member: Member, write: &Prepared) {
    let Member { waiter, version } = member;
    let session = &waiter.session;
    let issued = session.state(|state| {
        let doubt = state.doubt.as_ref().filter(|doubt| is_same(doubt, write))?;
        let own = Arc::clone(&doubt.write);
        Some((state.is_same_life(version) && state.written(&own, None), own))
    });
    if let Some((_, own)) = &issued {
        // The updates are the application's code.
        let _ = catch_unwind(AssertUnwindSafe(|| apply_again(session, own)));
    }
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
