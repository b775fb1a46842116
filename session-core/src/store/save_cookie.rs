//! The save algorithm of a cookie store: there is nothing to compare with, the cookie is the store.

use std::time::{Duration, Instant};

use super::{Deadline, Inner, Saved};
use crate::session::{Pending, Plan, SealedAs, Session, State, Target};
use crate::{
    Backend, Bytes, CookieBackend, Error, ErrorKind, Expiry, Key, Record, Result, Revision, Write,
};

pub(super) async fn save(
    store: &Inner,
    cookie: &dyn CookieBackend,
    session: &Session,
) -> Result<Saved> {
    let deadline = Deadline::after(store.config.deadline);
    let _turn = deadline.limit(async { Ok(session.turn_to_save().await) }).await?;
    let save = SaveCookie { store, cookie, session, deadline };
    let mut saved = Saved::Unchanged;
    // Again, when the session was destroyed while it was being written.
    while save.has_doomed() || saved == Saved::Unchanged {
        if save.revoke_doomed().await? {
            let replaced = session.state(|state| state.exists());
            saved = if replaced { Saved::Issued } else { Saved::Removed };
        }
        let plan = session.state(|state| state.plan(&store.config, || store.new_id()))?;
        let Plan::Write(pending) = plan else {
            break;
        };
        let sealed = save.seal(&pending).await;
        session.state(|state| {
            state.forget_pending(); // nothing was sent anywhere: it is never in doubt
            match sealed {
                Ok(sealed) => {
                    state.settle(&pending, Some(sealed));
                    Ok(())
                }
                Err(error) => {
                    if error.kind() == ErrorKind::Gone {
                        state.set_gone(pending.epoch);
                    }
                    Err(error)
                }
            }
        })?;
        saved = Saved::Issued;
    }
    Ok(saved)
}

/// Carries out what [`Session::destroy`] asked for.
pub(super) async fn destroy(
    store: &Inner,
    cookie: &dyn CookieBackend,
    session: &Session,
    deadline: Deadline,
) -> Result<()> {
    let _turn = deadline.limit(async { Ok(session.turn_to_save().await) }).await?;
    SaveCookie { store, cookie, session, deadline }.revoke_doomed().await.map(drop)
}

struct SaveCookie<'a> {
    store: &'a Inner,
    cookie: &'a dyn CookieBackend,
    session: &'a Session,
    deadline: Deadline,
}

impl SaveCookie<'_> {
    fn has_doomed(&self) -> bool {
        self.session.state(|state| !state.doomed.is_empty())
    }

    /// Revokes the sessions that have to be; whether there were any.
    async fn revoke_doomed(&self) -> Result<bool> {
        let mut any = false;
        let next =
            || self.session.state(|state| state.doomed.last().map(|d| (d.key, d.expires_in)));
        while let Some((key, life)) = next() {
            any = true;
            if let Some(revoked) = self.cookie.revocation() {
                // Any mark will do, so any number may be its revision.
                let mark = Revision::from_u64(fastrand::u64(..));
                match self.mark(revoked, &key, mark, life).await {
                    Err(error) if error.kind() != ErrorKind::AlreadyExists => return Err(error),
                    _ => {}
                }
            }
            self.session.state(|state| state.destroyed(key));
        }
        Ok(any)
    }

    async fn seal(&self, pending: &Pending) -> Result<SealedAs> {
        let before = self.session.state(|state| {
            let stored = state.stored.as_ref()?;
            let sealed = stored.sealed.clone()?;
            Some((stored.id.clone(), stored.key, stored.expires_in(Instant::now()), sealed))
        });
        let expiry = match (pending.ttl_now(), &before) {
            (Some(ttl), _) => Expiry::After(ttl),
            (None, Some((.., sealed))) => Expiry::At(sealed.expires_at),
            (None, None) => return Err(Error::gone()),
        };
        let id = match (&pending.target, &before) {
            (Target::Create(id) | Target::Rotate(id), _) | (Target::Update, Some((id, ..))) => id,
            (Target::Update, None) => return Err(Error::gone()),
        };
        if let (Some(revoked), Some((_, key, _, sealed))) = (self.cookie.revocation(), &before) {
            let mark = self.deadline.limit(revoked.load(key)).await?;
            if mark.is_some_and(|mark| Some(mark.record.revision) != sealed.mark) {
                return Err(Error::gone());
            }
        }
        let sealed = self.cookie.seal(id, &pending.record, expiry)?;
        if let (Target::Rotate(_), Some((_, old, left, before))) = (&pending.target, &before)
            && let Some(revoked) = self.cookie.revocation()
        {
            let mark = before.mark.unwrap_or(pending.record.revision);
            self.revoke_rotated(revoked, old, mark, *left).await?;
        }
        let (value, expires_at) = (sealed.value.into(), sealed.expires_at);
        Ok(SealedAs { value, expires_at, reseal: false, mark: None })
    }

    /// Revokes the id that a rotation leaves behind. Of two rotations one succeeds, and none after a
    /// logout: the mark of the other is there already then.
    async fn revoke_rotated(
        &self,
        revoked: &dyn Backend,
        old: &Key,
        mark: Revision,
        left: Duration,
    ) -> Result<()> {
        // Remembered first: if the answer is lost, the next save knows its own mark.
        self.session.state(|state| {
            let sealed = state.stored.as_mut().and_then(|stored| stored.sealed.as_mut());
            if let Some(sealed) = sealed {
                sealed.mark = Some(mark);
            }
        });
        let Err(error) = self.mark(revoked, old, mark, left).await else {
            return Ok(());
        };
        if error.nothing_was_written() && error.kind() != ErrorKind::AlreadyExists {
            return Err(error);
        }
        match self.deadline.limit(revoked.load(old)).await? {
            Some(found) if found.record.revision == mark => Ok(()),
            Some(_) => Err(Error::gone()),
            None => Err(error),
        }
    }

    /// Remembers a session as destroyed for as long as a cookie of it can live. A parallel request
    /// may have renewed it meanwhile, so that is at least a whole lifetime.
    async fn mark(
        &self,
        revoked: &dyn Backend,
        key: &Key,
        revision: Revision,
        life: Duration,
    ) -> Result<()> {
        let own = self.session.state(State::own_lifetime);
        let ttl = life.max(own).max(self.store.config.lifetime);
        // Once for the leeway itself, once for another server's clock that it allows for.
        let ttl = ttl.saturating_add(self.cookie.leeway().saturating_mul(2));
        let record = Record { payload: Bytes::new(), revision, owner: None };
        let marked =
            self.deadline.limit_part(revoked.save(key, &record, Write::Create { ttl })).await;
        if matches!(&marked, Err(error) if error.kind() == ErrorKind::AlreadyExists) {
            // The other mark may be meant for a shorter time.
            let other = self.deadline.limit(revoked.load(key)).await?;
            if let Some(other) = other.filter(|other| other.expires_in < ttl) {
                self.deadline.limit(revoked.touch(key, other.record.revision, ttl)).await?;
            }
        }
        marked
    }
}
