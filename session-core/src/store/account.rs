//! Finds and ends the sessions of an account.

use std::collections::HashSet;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::{StreamExt as _, stream};

use super::calls::Calls;
use super::context::Context;
use super::server::Server;
use crate::document::{Content, Document};
use crate::{Error, ErrorKind, Key, Loaded, Owner, Result};

/// How many keys are read from the index at once.
const PAGE: usize = 500;
/// How many sessions are loaded or ended at the same time. A store that takes batches sends them together.
const PARALLEL: usize = 32;
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
        let (count, last) = (keys.len(), keys.last().copied());
        let found = keys.into_iter().map(|key| member(server, context, owner, key));
        let mut found = stream::iter(found).buffered(PARALLEL);
        while let Some(member) = found.next().await {
            members.extend(member?.filter(|member| seen.insert(member.key)));
        }
        after = last;
        if count < PAGE {
            return Ok(members);
        }
    }
}

/// The session under this key, or under the new key to which its tombstone leads.
async fn member(
    server: &Server,
    context: &Context,
    owner: &Owner,
    mut key: Key,
) -> Result<Option<Member>> {
    let mut visited = HashSet::new();
    while visited.insert(key) {
        let Some(Loaded { record, expires_in }) = server.calls(context).load(&key).await? else {
            break;
        };
        match Content::decode(record.payload) {
            Ok(Content::Tombstone(tombstone)) => key = tombstone.key,
            _ if record.owner.as_ref() != Some(owner) => break,
            Ok(Content::Session(document)) => {
                return Ok(Some(Member { key, document, expires_in }));
            }
            Err(error) => {
                tracing::warn!(%error, "a session of an account can't be read");
                break;
            }
        }
    }
    Ok(None)
}

/// The end of an account's sessions.
///
/// A pass visits each key of the index. Whoever gives a session a new id meanwhile first creates the new
/// record, which the index then has, too, and then replaces the old record by a tombstone, which keeps the
/// owner and leads to the new key. So a session that is not found under one key is found under the other
/// one, or by the next pass, because its key is new.
pub(super) struct Sweep<'a> {
    pub(super) server: &'a Server,
    pub(super) context: &'a Context,
    pub(super) owner: &'a Owner,
    pub(super) keep: Option<Key>,
}

/// What became of one key, and of those to which its tombstones lead.
#[derive(Default)]
pub(super) struct Swept {
    /// Whether a session has ended.
    pub(super) ended: bool,
    /// What was destroyed, and tombstones, which never change.
    settled: Vec<Key>,
    /// Another pass is needed.
    again: bool,
}

impl Sweep<'_> {
    /// Ends all sessions but the one to keep, until a pass sees no new key. Returns how many have ended.
    pub(super) async fn run(self) -> Result<u64> {
        let (mut seen, mut settled, mut ended) = (HashSet::new(), HashSet::new(), 0);
        for _ in 0..MAX_PASSES {
            let (mut again, mut after) = (false, None);
            loop {
                let calls = self.server.calls(self.context);
                let keys = page(self.server, &calls, self.owner, after.as_ref()).await?;
                again |= keys.iter().fold(false, |new, key| seen.insert(*key) | new);
                let (count, last) = (keys.len(), keys.last().copied());
                let open = keys.into_iter().filter(|key| !settled.contains(key)).collect();
                for swept in self.end_each(open).await? {
                    ended += u64::from(swept.ended);
                    again |= swept.again;
                    settled.extend(swept.settled);
                }
                after = last;
                if count < PAGE {
                    break;
                }
            }
            if !again {
                return Ok(ended);
            }
        }
        Err(Error::unavailable("the account began sessions again and again meanwhile"))
    }

    /// After a failure it begins no other, but completes those that it has begun.
    async fn end_each(&self, keys: Vec<Key>) -> Result<Vec<Swept>> {
        let has_failed = &AtomicBool::new(false);
        let keys = keys.into_iter().take_while(|_| !has_failed.load(Ordering::Relaxed));
        let ends = keys.map(|key| async move {
            let swept = self.end(key, None).await;
            has_failed.fetch_or(swept.is_err(), Ordering::Relaxed);
            swept
        });
        let ends: Vec<_> = stream::iter(ends).buffer_unordered(PARALLEL).collect().await;
        ends.into_iter().collect()
    }

    /// Ends the session under this key, or under the new key to which its tombstone leads. With
    /// `signed_in` it does not end a session of another sign-in than that one.
    pub(super) async fn end(&self, mut key: Key, signed_in: Option<u64>) -> Result<Swept> {
        let calls = self.server.calls(self.context);
        let (mut swept, mut conflicts) = (Swept::default(), 0);
        while Some(key) != self.keep && !swept.settled.contains(&key) {
            let Some(Loaded { record, .. }) = calls.load(&key).await? else {
                // For a store that confirms destructions: an earlier one may not have been confirmed, and
                // a failover could bring the session back.
                swept.ended = calls.destroy(&key, None).await?;
                swept.settled.push(key);
                break;
            };
            match Content::decode(record.payload) {
                Ok(Content::Tombstone(tombstone)) => {
                    swept.settled.push(key);
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
                swept.settled.push(key);
                swept.ended = true;
                swept.again = only.is_none();
                calls.forget(self.owner, &key).await;
                break;
            }
            conflicts += 1;
        }
        Ok(swept)
    }
}

pub(super) fn unsupported() -> Error {
    Error::new(
        ErrorKind::Unsupported,
        "this store can't find the sessions of an account: its backend has no owner index",
    )
}
