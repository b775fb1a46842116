//! The save algorithm of a cookie store: there is nothing to compare with, the cookie is the store.

use std::time::{Duration, Instant};

use super::{Deadline, Inner, Saved};
use crate::session::{Pending, Plan, SealedAs, Session, Target};
use crate::{Bytes, CookieBackend, Error, ErrorKind, Expiry, Key, Record, Result, Revision, Write};

pub(super) async fn save(
    store: &Inner,
    cookie: &dyn CookieBackend,
    session: &Session,
) -> Result<Saved> {
    let _turn = session.turn_to_save().await;
    let deadline = Deadline::after(store.config.deadline);
    let nothing_new = match revoke_doomed(store, cookie, session, &deadline).await? {
        true => Saved::Removed,
        false => Saved::Unchanged,
    };
    let plan = session.state(|state| state.plan(&store.config, || store.new_id()))?;
    let Plan::Write(pending) = plan else {
        return Ok(nothing_new);
    };
    let sealed = seal(store, cookie, session, &pending, &deadline).await;
    session.state(|state| {
        state.pending = None; // nothing was sent anywhere: it is never in doubt
        match sealed {
            Ok(sealed) => {
                state.settle(&pending, Some(sealed));
                Ok(Saved::Issued)
            }
            Err(error) => {
                if error.kind() == ErrorKind::Gone {
                    state.set_gone();
                }
                Err(error)
            }
        }
    })
}

async fn seal(
    store: &Inner,
    cookie: &dyn CookieBackend,
    session: &Session,
    pending: &Pending,
    deadline: &Deadline,
) -> Result<SealedAs> {
    let before = session.state(|state| {
        let stored = state.stored.as_ref()?;
        let expires_at = stored.sealed.as_ref()?.expires_at;
        Some((stored.id.clone(), stored.key, expires_at, stored.expires_in(Instant::now())))
    });
    if let (Some(revoked), Some((_, key, ..))) = (cookie.revocation(), &before)
        && deadline.limit(revoked.load(key)).await?.is_some()
    {
        return Err(Error::gone());
    }
    let id = match (&pending.target, &before) {
        (Target::Create(id) | Target::Rotate(id), _) | (Target::Update, Some((id, ..))) => id,
        (Target::Update, None) => return Err(Error::gone()),
    };
    let expiry = match (pending.ttl, &before) {
        (Some(ttl), _) => Expiry::After(ttl),
        (None, Some((_, _, expires_at, _))) => Expiry::At(*expires_at),
        (None, None) => return Err(Error::gone()),
    };
    let sealed = cookie.seal(id, &pending.record, expiry)?;
    if let (Target::Rotate(_), Some((_, old, _, left))) = (&pending.target, &before) {
        revoke(store, cookie, old, *left, deadline).await?;
    }
    Ok(SealedAs { value: sealed.value.into(), expires_at: sealed.expires_at, reseal: false })
}

/// Carries out what [`Session::destroy`] asked for; whether there was anything.
pub(super) async fn revoke_doomed(
    store: &Inner,
    cookie: &dyn CookieBackend,
    session: &Session,
    deadline: &Deadline,
) -> Result<bool> {
    let mut any = false;
    while let Some((key, left)) =
        session.state(|state| state.doomed.last().map(|doomed| (doomed.key, doomed.expires_in)))
    {
        any = true;
        revoke(store, cookie, &key, left, deadline).await?;
        session.state(|state| state.doomed.retain(|doomed| doomed.key != key));
    }
    Ok(any)
}

/// Remembers a session as destroyed for as long as a cookie of it can live. A parallel request may
/// have renewed it meanwhile, so that is at least a whole lifetime.
async fn revoke(
    store: &Inner,
    cookie: &dyn CookieBackend,
    key: &Key,
    left: Duration,
    deadline: &Deadline,
) -> Result<()> {
    let Some(revoked) = cookie.revocation() else {
        return Ok(());
    };
    let ttl = left.max(store.config.lifetime).saturating_add(cookie.leeway());
    let mark = Record { payload: Bytes::new(), revision: Revision::from_u64(0), owner: None };
    match deadline.limit(revoked.save(key, &mark, Write::Create { ttl })).await {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
