//! The save algorithm on a server side backend.
//!
//! A write is a compare-and-swap against the loaded revision. After a conflict with another
//! request, the current record is loaded and the changes of this request are applied to it (a
//! rebase). If the write is in doubt, the record is loaded, too: a revision is random and belongs
//! to one write, so a record with this revision shows that the write was carried out.

use std::time::Duration;

use tokio::sync::MutexGuard;

use super::calls::Calls;
use super::context::Context;
use super::outcome::{Done, Saved};
use crate::clock::{Instant, later};
use crate::document::Content;
use crate::session::{Ended, Plan, Session, Ticket, Version};
use crate::{Error, ErrorKind, Key, Result, Revision};

/// How often a save tries again after a conflict.
const MAX_CONFLICTS: u32 = 100;
/// How long a save that had no conflict waits in the queue of its session, because the leader may
/// hang.
const MAX_WAIT: Duration = Duration::from_millis(250);
/// How often a destruction loads the record again after a conflict.
const MAX_LOADS: u32 = 100;

/// One save or destruction.
pub(super) struct Save<'a> {
    pub(super) context: &'a Context,
    pub(super) calls: Calls<'a>,
    pub(super) session: &'a Session,
    pub(super) done: Done,
    /// How often a write was sent again after it was found not to be carried out.
    pub(super) resends: u32,
}

/// The outcome of a write that did not fail.
pub(super) enum Progress {
    /// It was carried out. `moved` is the new key, if another request gave the session one since.
    Done { moved: Option<Key> },
    /// Nothing was written, because another request was faster.
    Conflict,
    /// Nothing was written that anybody can load. It has to be planned again, with a new id.
    Replan,
}

impl<'a> Save<'a> {
    pub(super) fn new(context: &'a Context, calls: Calls<'a>, session: &'a Session) -> Self {
        Self { context, calls, session, done: Done::default(), resends: 0 }
    }

    /// The saves of one session run one after another.
    pub(super) async fn lock(&self) -> Result<MutexGuard<'a, ()>> {
        let session = self.session;
        // Also a free lock is awaited: this is where a task yields that calls a store in memory in a
        // loop, because tokio counts it.
        self.calls.deadline.limit(async { Ok(session.lock_for_save().await) }).await
    }

    pub(super) async fn run(mut self) -> Result<Saved> {
        loop {
            let (queued, mut ended, mut in_doubt) = self.pending();
            if let Some(ticket) = queued {
                self.leave_queue(ticket).await?;
                (_, ended, in_doubt) = self.pending();
            }
            if ended {
                let result = self.end_sessions().await;
                result.map_err(|error| self.done.and_then_failed(error))?;
            }
            let written = self.write_changes(in_doubt).await;
            let (ended, exists) =
                self.session.state(|state| (!state.ended.is_empty(), state.exists()));
            // The session was destroyed meanwhile and has to be removed, even if the write failed.
            if ended {
                continue;
            }
            written.map_err(|error| self.done.and_then_failed(error))?;
            return Ok(self.done.saved(exists));
        }
    }

    /// What earlier saves have left: a place in a queue, sessions to destroy, a write in doubt.
    fn pending(&self) -> (Option<Ticket>, bool, bool) {
        self.session.state(|state| {
            let queued = state.queued.as_deref().copied();
            (queued, !state.ended.is_empty(), state.doubt.is_some())
        })
    }

    /// Removes the sessions that this handle has ended, the oldest first.
    pub(super) async fn end_sessions(&mut self) -> Result<()> {
        while let Some(ended) = self.session.state(|state| state.ended.first().copied()) {
            self.end(&ended).await?;
            self.session.state(|state| state.destroyed(ended.key));
            self.done.remove();
        }
        Ok(())
    }

    /// Removes one session. If another request gave it a new id, it is removed under its new id.
    async fn end(&self, ended: &Ended) -> Result<()> {
        let Ended { mut key, mut revision, unread, .. } = *ended;
        if unread {
            return self.remove_unread(&key).await;
        }
        for _ in 0..MAX_LOADS {
            if let Some(revision) = revision {
                match self.calls.destroy(&key, Some(revision)).await {
                    Ok(true) => return Ok(()),
                    Ok(false) => {}
                    Err(error) => {
                        self.session.state(|state| state.tried(ended.key));
                        return Err(error);
                    }
                }
            }
            let found = match self.calls.load(&key).await {
                Ok(Some(found)) => found,
                // Once more for a store that confirms destructions: the first was not confirmed.
                Ok(None) if ended.tried => return self.remove_unread(&key).await,
                Ok(None) => return Ok(()),
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    return self.remove_unread(&key).await;
                }
                Err(error) => return Err(error),
            };
            match Content::decode(found.record.payload) {
                Ok(Content::Tombstone(tombstone)) => (key, revision) = (tombstone.key, None),
                Ok(Content::Session(_)) => revision = Some(found.record.revision),
                Err(_) => return self.remove_unread(&key).await,
            }
        }
        // The record must not be removed without being loaded: if it is a tombstone, the session
        // under the new id would remain.
        Err(Error::unavailable(
            "other requests saved the session again and again while it was destroyed",
        ))
    }

    async fn remove_unread(&self, key: &Key) -> Result<()> {
        self.calls.destroy(key, None).await.map(drop)
    }

    async fn write_changes(&mut self, in_doubt: bool) -> Result<()> {
        if in_doubt {
            self.resolve_doubt().await?;
        }
        let mut queued = false;
        for conflicts in 0..MAX_CONFLICTS {
            if let Some((key, version)) = self.contended().filter(|_| !queued) {
                queued = true;
                if let Progress::Done { .. } =
                    self.join_queue(&key, version, MAX_WAIT, None).await?
                {
                    return Ok(());
                }
            }
            let context = self.context;
            let plan = self
                .session
                .state(|state| state.plan(&context.config, || context.new_identity()))?;
            let (write, key, version, progress) = match plan {
                Plan::Nothing => return Ok(()),
                Plan::Touch { key, expected, ttl, version } => {
                    (None, Some(key), version, self.touch(&key, expected, ttl, version).await?)
                }
                Plan::Write(write) => {
                    let progress = self.write(&write).await?;
                    if let Progress::Done { .. } = progress {
                        return Ok(());
                    }
                    let (key, version) = (write.stored_key(), write.version);
                    (Some(write), key, version, progress)
                }
            };
            let key = match (progress, key) {
                (Progress::Done { .. }, _) => return Ok(()),
                (Progress::Conflict, Some(key)) => key,
                (Progress::Conflict | Progress::Replan, _) => continue,
            };
            if conflicts > 0 && self.calls.deadline.is_over() {
                break;
            }
            let progress = if queued || write.is_none() {
                self.calls.deadline.pause_after_conflict(conflicts).await;
                self.rebase(&key, version, write.as_deref()).await?
            } else {
                queued = true;
                let max_wait = self.calls.deadline.left() / 2;
                self.join_queue(&key, version, max_wait, write.as_ref()).await?
            };
            if let Progress::Done { .. } = progress {
                return Ok(());
            }
        }
        Err(Error::conflict())
    }

    /// The session of this save, if other requests of this process are saving it now: a write
    /// against the loaded revision would conflict.
    fn contended(&self) -> Option<(Key, Version)> {
        if self.context.queues.are_idle() {
            return None;
        }
        let (key, version) = self.session.state(|state| {
            let key = state.live()?.identity.key;
            state.changes.alter_record().then(|| (key, state.version()))
        })?;
        self.context.queues.is_busy(&key).then_some((key, version))
    }

    /// Renews the session without rewriting it.
    async fn touch(
        &mut self,
        key: &Key,
        expected: Revision,
        ttl: Duration,
        version: Version,
    ) -> Result<Progress> {
        let begins = Instant::now();
        let owner = self.session.state(|state| state.stored.as_ref()?.owner.clone());
        if let Some(owner) = owner {
            self.calls.prolong(&owner, key, ttl).await?;
        }
        match self.calls.touch(key, expected, ttl).await {
            Ok(()) => {
                self.session.state(|state| state.renewed(later(begins, ttl), version));
                self.done.write(true);
                Ok(Progress::Done { moved: None })
            }
            // Another request saved the session, and may have renewed it.
            Err(error) if error.kind() == ErrorKind::Conflict => Ok(Progress::Conflict),
            Err(error) => {
                if error.kind() == ErrorKind::Gone {
                    self.session.state(|state| state.set_gone(version));
                }
                Err(error)
            }
        }
    }
}
