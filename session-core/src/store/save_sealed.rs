//! The save algorithm of a cookie store. A revocation store, if there is one, remembers logouts and
//! rotations.

use std::sync::Arc;
use std::time::Duration;

use super::attempt::in_doubt;
use super::calls::Calls;
use super::context::Context;
use super::end_mark::ended_until;
use super::mark::{age_of, rotation_of};
use super::outcome::{Done, Saved};
use super::rebase::become_late;
use crate::clock::Instant;
use crate::session::{Doubt, Plan, Prepared, SealedAs, Session, Target};
use crate::{
    Bytes, CookieBackend, Error, ErrorKind, Expiry, Key, Loaded, Record, Result, Revision, Write,
};

/// How often a revocation is tried again because an existing mark expired or changed.
const MAX_MARKS: u32 = 100;
/// How often a save is planned again because others rotated the session or ended the sessions of its
/// account. One time is usual.
const MAX_PLANS: u32 = 100;

/// One save or destruction.
pub(super) struct SaveSealed<'a> {
    context: &'a Context,
    cookie: &'a dyn CookieBackend,
    /// The calls of the revocation store.
    calls: Option<Calls<'a>>,
    session: &'a Session,
    done: Done,
}

impl<'a> SaveSealed<'a> {
    pub(super) fn new(
        context: &'a Context,
        cookie: &'a dyn CookieBackend,
        session: &'a Session,
    ) -> Self {
        let deadline = context.config.deadline;
        let calls = cookie.revocation().map(|revocation| Calls::new(revocation, None, deadline));
        Self { context, cookie, calls, session, done: Done::default() }
    }

    pub(super) async fn run(&mut self) -> Result<Saved> {
        loop {
            let revoked = self.revoke_ended().await;
            revoked.map_err(|error| self.done.and_then_failed(error))?;
            let written = self.write_changes().await;
            // The session was destroyed meanwhile and has to be revoked, even if the write failed.
            if !self.session.state(|state| state.ended.is_empty()) {
                continue;
            }
            written.map_err(|error| self.done.and_then_failed(error))?;
            return Ok(self.done.saved(self.session.state(|state| state.exists())));
        }
    }

    async fn write_changes(&mut self) -> Result<()> {
        for _ in 0..MAX_PLANS {
            let context = self.context;
            let resumed = self.rotation_in_doubt().await?;
            let is_resumed = resumed.is_some();
            let write = match resumed {
                Some(write) => write,
                None => {
                    let new = || context.new_identity();
                    match self.session.state(|state| state.plan(&context.config, new))? {
                        Plan::Write(write) => write,
                        Plan::Nothing | Plan::Touch { .. } => return Ok(()),
                    }
                }
            };
            let error = match self.seal(&write).await {
                Ok(sealed) => {
                    let issued = self.session.state(|state| state.written(&write, Some(sealed)));
                    self.done.write(issued);
                    if is_resumed {
                        continue; // there may be changes since
                    }
                    return Ok(());
                }
                Err(error) => error,
            };
            let error = match error {
                NotSealed::InDoubt(error) => return Err(error),
                // Its mark may be in the revocation store all the same: the doubt remains.
                NotSealed::Failed(error) if is_resumed => return Err(in_doubt(error)),
                error => error,
            };
            self.session.state(|state| state.doubt = None);
            match error {
                NotSealed::Rotated(new) => become_late(self.session, write.version, new)?,
                NotSealed::Gone => {
                    self.session.state(|state| state.set_gone(write.version));
                    return Err(Error::gone());
                }
                NotSealed::SignedInBefore(ended) => {
                    let begins = self.session.state(|state| state.begin_after(ended));
                    if !begins {
                        self.session.state(|state| state.set_gone(write.version));
                        return Err(Error::gone());
                    }
                }
                NotSealed::Failed(error) | NotSealed::InDoubt(error) => return Err(error),
            }
        }
        Err(Error::unavailable("the sessions of the account were ended again and again"))
    }

    /// A rotation in doubt from an earlier save: its mark may be in the revocation store. It has to
    /// be completed with the id that the mark names, because a logout with the old cookie revokes
    /// that id.
    async fn rotation_in_doubt(&self) -> Result<Option<Arc<Prepared>>> {
        let doubt = self.session.state(|state| state.doubt.clone());
        if let (Some(calls), Some(Doubt { write, discarded, .. })) = (&self.calls, doubt)
            && let Target::Rotate(rotation) = &write.target
        {
            let goes_on = !discarded || {
                let mark = calls.load(&rotation.old).await?;
                mark.is_some_and(|mark| mark.record.revision == rotation.tombstone.revision)
            };
            if goes_on {
                return Ok(Some(write));
            }
        }
        // Other writes are not sent to a server, so they are never in doubt.
        self.session.state(|state| state.doubt = None);
        Ok(None)
    }

    async fn seal(&self, write: &Prepared) -> Result<SealedAs, NotSealed> {
        let before = self.session.state(|state| {
            let stored = state.stored.as_ref()?;
            let expires_at = stored.sealed.as_ref()?.expires_at;
            Some((stored.identity.clone(), stored.expires_in(Instant::now()), expires_at))
        });
        let own_mark = match &write.target {
            Target::Rotate(rotation) => Some(rotation.tombstone.revision),
            Target::Create(_) | Target::Update { .. } => None,
        };
        if let (Some(calls), Some((identity, ..))) = (&self.calls, &before)
            && let Some(mark) = calls.load(&identity.key).await?
            && Some(mark.record.revision) != own_mark
        {
            return Err(NotSealed::because_of(&mark));
        }
        if let Some(calls) = &self.calls {
            self.check_owners(calls, write).await?;
        }
        // After the load of the marks: otherwise a slow revocation store could let a cookie outlive
        // a mark.
        let expiry = match (write.ttl_now(), &before) {
            (Some(ttl), _) => Expiry::After(ttl),
            (None, Some((.., expires_at))) => Expiry::At(*expires_at),
            (None, None) => return Err(NotSealed::Gone), // destroyed meanwhile
        };
        let id = match (write.new_identity(), &before) {
            (Some(new), _) => &new.id,
            (None, Some((identity, ..))) => &identity.id,
            (None, None) => return Err(NotSealed::Gone),
        };
        let sealed = self.cookie.seal(id, &write.record, expiry)?;
        if let (Target::Rotate(rotation), Some((_, left, _)), Some(calls)) =
            (&write.target, &before, &self.calls)
        {
            // From this mark a logout with the old cookie learns how long the new cookie may live.
            let new = write.document.lifetime.map_or(Duration::ZERO, Duration::from_millis);
            self.mark_rotation(calls, &rotation.old, &rotation.tombstone, new.max(*left)).await?;
        }
        let (value, expires_at) = (sealed.value.into(), sealed.expires_at);
        Ok(SealedAs { value, expires_at, reseal: false })
    }

    /// Whether all sessions of the owner, or of the owner before, have ended.
    async fn check_owners(&self, calls: &Calls<'_>, write: &Prepared) -> Result<(), NotSealed> {
        let (before, signed_in) = self.session.state(|state| {
            let before = state.live().and_then(|stored| stored.owner.clone());
            (before, state.base.created)
        });
        let after = write.record.owner.as_ref();
        let new = write.document.created;
        if let Some(owner) = &before
            && let Some(ended) = ended_until(calls, self.cookie, owner).await?
        {
            if signed_in <= ended {
                return Err(NotSealed::Gone);
            }
            if after == Some(owner) && new <= ended {
                return Err(NotSealed::SignedInBefore(ended));
            }
        }
        if let Some(owner) = after.filter(|owner| before.as_ref() != Some(owner))
            && let Some(ended) = ended_until(calls, self.cookie, owner).await?
            && new <= ended
        {
            return Err(NotSealed::SignedInBefore(ended));
        }
        Ok(())
    }

    /// Revokes the old id of a rotation. Of two rotations one succeeds, and none succeeds after a
    /// logout, because the other has already created a mark.
    async fn mark_rotation(
        &self,
        calls: &Calls<'_>,
        old: &Key,
        mark: &Record,
        life: Duration,
    ) -> Result<(), NotSealed> {
        let error = match self.mark(calls, old, mark, life).await {
            Ok(None) => return Ok(()),
            Ok(Some(other)) if other.record.revision == mark.revision => return Ok(()),
            Ok(Some(other)) => return Err(NotSealed::because_of(&other)),
            Err(error) if error.nothing_was_written() => return Err(error.into()),
            Err(error) => error,
        };
        match calls.load(old).await {
            Ok(Some(found)) if found.record.revision == mark.revision => Ok(()),
            Ok(Some(found)) => Err(NotSealed::because_of(&found)),
            Ok(None) | Err(_) => Err(NotSealed::InDoubt(error)),
        }
    }

    /// Revokes the sessions that this handle has ended. If another request gave one of them a new
    /// id, the new id is revoked, too.
    pub(super) async fn revoke_ended(&mut self) -> Result<()> {
        while let Some(ended) = self.session.state(|state| state.ended.first().copied()) {
            let mut next = self.calls.is_some().then_some((ended.key, ended.expires_in));
            while let (Some((key, life)), Some(calls)) = (next, &self.calls) {
                let logout =
                    Record { payload: Bytes::new(), revision: Revision::random()?, owner: None };
                let other = self.mark(calls, &key, &logout, life).await?;
                next = other.as_ref().and_then(|mark| {
                    let rotation = rotation_of(mark)?;
                    // The ttl of the mark covered a whole life of the new id. The session may have
                    // been renewed since then.
                    Some((rotation.key, mark.expires_in.saturating_add(age_of(&rotation))))
                });
            }
            self.session.state(|state| state.destroyed(ended.key));
            self.done.remove();
        }
        Ok(())
    }

    /// Creates a revocation mark that lasts as long as a cookie of the session can live. That is at
    /// least a whole lifetime, because a parallel request may have renewed the session. Returns an
    /// existing mark, if there is one; its life was extended to the same length.
    async fn mark(
        &self,
        calls: &Calls<'_>,
        key: &Key,
        mark: &Record,
        life: Duration,
    ) -> Result<Option<Loaded>> {
        let own = self.session.state(|state| state.own_lifetime());
        let config = &self.context.config;
        let usual =
            config.lifetime.into_iter().chain(config.idle_timeout).min().unwrap_or_default();
        let ttl = life.max(own).max(usual);
        // Twice: once for the leeway itself, once for the clock of another server.
        let ttl = ttl.saturating_add(self.cookie.leeway().saturating_mul(2));
        // Only the first call can be a refusal. After it, something may have been written.
        let unknown =
            |error| Error::unavailable("a revocation mark can't be loaded").with_source(error);
        for _ in 0..MAX_MARKS {
            match calls.save(key, mark, Write::Create { ttl }).await {
                Ok(()) => return Ok(None),
                Err(error) if error.kind() == ErrorKind::AlreadyExists => {}
                Err(error) => return Err(error),
            }
            // The existing mark may expire at any moment, or its ttl may be too short.
            let Some(other) = calls.load(key).await.map_err(unknown)? else {
                continue;
            };
            if other.expires_in >= ttl {
                return Ok(Some(other));
            }
            match calls.touch(key, other.record.revision, ttl).await {
                Ok(()) => return Ok(Some(other)),
                Err(error) if matches!(error.kind(), ErrorKind::Gone | ErrorKind::Conflict) => {}
                Err(error) => return Err(unknown(error)),
            }
        }
        Err(Error::unavailable("the revocation mark of a session was changed again and again"))
    }
}

/// Why a session could not be sealed.
enum NotSealed {
    Gone,
    /// The sessions of the owner have ended that signed in until this time.
    SignedInBefore(u64),
    /// Another request gave the session a new id, with this key.
    Rotated(Key),
    /// The mark of the rotation may be in the revocation store, or may still arrive there.
    InDoubt(Error),
    Failed(Error),
}

impl NotSealed {
    /// Another request created this mark before.
    fn because_of(mark: &Loaded) -> Self {
        match rotation_of(mark) {
            Some(rotation) => Self::Rotated(rotation.key),
            None => Self::Gone,
        }
    }
}

impl From<Error> for NotSealed {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}
