//! The limit on the sessions of an account.
//!
//! Every sign-in reads the sessions of the account after its write and ends what is beyond the limit.
//! The sign-in that reads last sees the sessions of all others, so at most as many as the limit are
//! alive then. All sign-ins use the same order: the sessions that come first in it come first in
//! each part of it, too, so that no sign-in ends them, and as many as the limit remain.

use super::account::{Member, Sweep, members};
use super::context::Context;
use super::server::Server;
use crate::session::Session;
use crate::{Error, ErrorKind, OwnerLimit, Result};

/// Before the write: refuses the sign-in if the account has its number of sessions, without this one.
/// A write in doubt may have been carried out, so its sign-in is counted afterwards only.
pub(super) async fn check(server: &Server, context: &Context, session: &Session) -> Result<()> {
    let Some(OwnerLimit::Refuse(max)) = context.config.owner_limit else { return Ok(()) };
    let (owner, own) = session.state(|state| {
        let owner = state.owner_to_get().filter(|_| state.doubt.is_none());
        let live = state.live().map(|stored| stored.identity.key);
        let own: Vec<_> = live.into_iter().chain(state.ended.iter().map(|one| one.key)).collect();
        (owner, own)
    });
    let Some(owner) = owner else { return Ok(()) };
    let found = members(server, context, &owner).await.map_err(Error::as_refusal)?;
    let others = found.iter().filter(|member| !own.contains(&member.key)).count();
    if others < max { Ok(()) } else { Err(too_many()) }
}

/// After the write: ends what is beyond the limit, if a save gave the session its owner.
pub(super) async fn enforce(server: &Server, context: &Context, session: &Session) -> Result<()> {
    let Some(limit) = context.config.owner_limit else { return Ok(()) };
    let uncounted = session.state(|state| {
        let stored = state.live().filter(|_| state.uncounted)?;
        Some((stored.owner.clone()?, stored.identity.key, state.version()))
    });
    let Some((owner, own, version)) = uncounted else { return Ok(()) };
    let mut found = members(server, context, &owner).await.map_err(written)?;
    found.sort_by_key(Member::order);
    let excess = found.len().saturating_sub(limit.max());
    let beyond = match limit {
        OwnerLimit::EndOldest(_) => &found[..excess],
        OwnerLimit::Refuse(_) => &found[found.len() - excess..],
    };
    let sweep = Sweep { server, context, owner: &owner, keep: None };
    for member in beyond {
        sweep.end(member.key, Some(member.document.created)).await.map_err(written)?;
    }
    let has_lost = beyond.iter().any(|member| member.key == own);
    session.state(|state| {
        state.uncounted = false;
        if has_lost {
            state.set_gone(version);
        }
    });
    match limit {
        _ if !has_lost => Ok(()),
        OwnerLimit::Refuse(_) => Err(too_many()),
        OwnerLimit::EndOldest(_) => Err(Error::new(
            ErrorKind::Gone,
            "later sign-ins of the account at the same moment have ended the session",
        )),
    }
}

fn too_many() -> Error {
    Error::new(
        ErrorKind::TooManySessions,
        "the account has as many sessions as owner_limit allows; end another one first",
    )
}

/// The sign-in was written before.
fn written(error: Error) -> Error {
    let message = "the session was saved, and it is not known whether the account has too many";
    Error::unavailable(message).with_source(error)
}
