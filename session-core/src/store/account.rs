//! Finds and ends the sessions of an account.

use std::collections::HashSet;
use std::time::Duration;

use super::calls::Calls;
use super::context::Context;
use super::server::Server;
use crate::document::{Content, Document};
use crate::{Error, ErrorKind, Key, Loaded, Owner, Result};

/// How many keys are read from the index at once.
const PAGE: usize = 500;
/// How often the index is read again while other requests begin sessions.
const MAX_PASSES: u32 = 100;
/// How often a session is loaded again after another request saved it.
const MAX_CONFLICTS: u32 = 20;

/// A live session of an account.
pub(super) struct Member {
    pub(super) key: Key,
    pub(super) document: Document,
    pub(super) expires_in: Duration,
}

impl Member {
    /// The oldest sign-in first, in the same order for everyone.
    pub(super) fn order(&self) -> (u64, Key) {
        (self.document.created, self.key)
    }
}

/// The next keys of the owner.
async fn page(
    server: &Server,
    calls: &Calls<'_>,
    owner: &Owner,
    after: Option<&Key>,
) -> Result<Vec<Key>> {
    let index = server.backend.owner_index().ok_or_else(unsupported)?;
    calls.deadline.limit(index.keys_of(owner, after, PAGE)).await
}

/// The live sessions of the owner: each that was there before the call and is there when it returns,
/// also one that gets a new id meanwhile. That one may be found under both ids.
pub(super) async fn members(
    server: &Server,
    context: &Context,
    owner: &Owner,
) -> Result<Vec<Member>> {
    let (mut members, mut seen, mut after) = (Vec::new(), HashSet::new(), None);
    loop {
        let keys = page(server, &server.calls(context), owner, after.as_ref()).await?;
        for key in &keys {
            let mut next = Some(*key);
            while let Some(key) = next.take().filter(|key| seen.insert(*key)) {
                let Some(found) = server.calls(context).load(&key).await? else { break };
                match Content::decode(found.record.payload) {
                    Ok(Content::Tombstone(tombstone)) => next = Some(tombstone.key),
                    _ if found.record.owner.as_ref() != Some(owner) => {}
                    Ok(Content::Session(document)) => {
                        members.push(Member { key, document, expires_in: found.expires_in });
                    }
                    Err(error) => tracing::warn!(%error, "a session of an account can't be read"),
                }
            }
        }
        after = keys.last().copied();
        if keys.len() < PAGE {
            return Ok(members);
        }
    }
}

/// The end of an account's sessions.
///
/// A pass visits each key of the index. Whoever gives a session a new id meanwhile first creates the new
/// record, which the index then has, too, and then replaces the old record by a tombstone, which keeps the
/// owner and leads to the new key. So a session that is not found under one key is found under the other
/// one, or by the next pass, because its key is new.
pub(super) struct Sweep<'a> {
    server: &'a Server,
    context: &'a Context,
    owner: &'a Owner,
    keep: Option<Key>,
    seen: HashSet<Key>,
    /// What was destroyed, and tombstones, which never change.
    settled: HashSet<Key>,
    ended: u64,
    again: bool,
}

impl<'a> Sweep<'a> {
    pub(super) fn new(
        server: &'a Server,
        context: &'a Context,
        owner: &'a Owner,
        keep: Option<Key>,
    ) -> Self {
        let (seen, settled) = (HashSet::new(), HashSet::new());
        Self { server, context, owner, keep, seen, settled, ended: 0, again: false }
    }

    /// How many sessions have ended.
    pub(super) fn ended(&self) -> u64 {
        self.ended
    }

    fn calls(&self) -> Calls<'a> {
        self.server.calls(self.context)
    }

    /// Ends all sessions but the one to keep, until a pass sees no new key.
    pub(super) async fn run(mut self) -> Result<u64> {
        for _ in 0..MAX_PASSES {
            self.again = false;
            let mut after = None;
            loop {
                let keys = page(self.server, &self.calls(), self.owner, after.as_ref()).await?;
                for key in &keys {
                    self.again |= self.seen.insert(*key);
                    self.end(*key, None).await?;
                }
                after = keys.last().copied();
                if keys.len() < PAGE {
                    break;
                }
            }
            if !self.again {
                return Ok(self.ended);
            }
        }
        Err(Error::unavailable("the account began sessions again and again meanwhile"))
    }

    /// Ends the session under this key, or under the new key to which its tombstone leads. With
    /// `signed_in` it does not end a session of another sign-in than that one.
    pub(super) async fn end(&mut self, mut key: Key, signed_in: Option<u64>) -> Result<()> {
        let calls = self.calls();
        let mut conflicts = 0;
        while Some(key) != self.keep && !self.settled.contains(&key) {
            let Some(Loaded { record, .. }) = calls.load(&key).await? else {
                break;
            };
            match Content::decode(record.payload) {
                Ok(Content::Tombstone(tombstone)) => {
                    self.settled.insert(key);
                    key = tombstone.key;
                    continue;
                }
                // It belongs to another account since.
                _ if record.owner.as_ref() != Some(self.owner) => break,
                Ok(Content::Session(document))
                    if signed_in.is_some_and(|time| time != document.created) =>
                {
                    break;
                }
                // A record that can't be read is removed, too.
                Ok(Content::Session(_)) | Err(_) => {}
            }
            // Other requests save the session again and again: it is destroyed whatever it is now. If it
            // is a tombstone, the next pass finds the session under its new key.
            let only = (conflicts < MAX_CONFLICTS).then_some(record.revision);
            if calls.destroy(&key, only).await? {
                self.settled.insert(key);
                self.ended += 1;
                self.again |= only.is_none();
                calls.forget(self.owner, &key).await;
                break;
            }
            conflicts += 1;
        }
        Ok(())
    }
}

pub(super) fn unsupported() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "this store can't find the sessions of an account: its backend has no owner index",
    )
}
