//! The end of all sessions of an account whose sessions are in cookies.
//!
//! Nobody has a list of them, so the revocation store keeps a time for the account. Each session knows when
//! its account signed in, and has ended if that was not after this time.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::calls::Calls;
use crate::clock::unix_millis;
use crate::{
    Bytes, CookieBackend, Error, ErrorKind, Key, MAX_TTL, Owner, Record, Result, Revision, Update,
    Write,
};

/// How often a mark is written again because others end the same sessions.
const MAX_ATTEMPTS: u32 = 100;

/// ```json
/// {"v":1,"ended":1790000000000}
/// ```
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Mark {
    v: u64,
    /// Unix time in milliseconds. Sessions with a sign-in until then have ended.
    ended: u64,
}

fn key(cookie: &dyn CookieBackend, owner: &Owner) -> Key {
    Key::owner_mark(cookie.cookie_name().as_str(), cookie.purpose(), &owner.digest())
}

fn decode(payload: &Bytes) -> Result<u64> {
    match serde_json::from_slice(payload) {
        Ok(Mark { v: 1, ended }) => Ok(ended),
        _ => Err(Error::corrupt("the mark of an account is not readable")),
    }
}

/// The time of the latest sign-in that has ended.
pub(super) async fn ended_until(
    calls: &Calls<'_>,
    cookie: &dyn CookieBackend,
    owner: &Owner,
) -> Result<Option<u64>> {
    let mark = calls.load(&key(cookie, owner)).await?;
    mark.map(|mark| decode(&mark.record.payload)).transpose()
}

/// Ends the sessions of the owner: one write, and a load and a second write if there is a mark already.
///
/// The time is ahead of this clock by the leeway, for sessions of a server whose clock is ahead. A
/// sign-in afterwards gets a later time, whatever its server's clock says. A mark is later than the
/// one before, for the sign-ins since.
///
/// How long the cookies live is not known, because each session may have a lifetime of its own. So a
/// mark does not expire.
pub(super) async fn end_all(
    calls: &Calls<'_>,
    cookie: &dyn CookieBackend,
    owner: &Owner,
) -> Result<()> {
    let key = key(cookie, owner);
    let mut ended = unix_millis().saturating_add(millis(cookie.leeway()));
    let mut write = Write::Create { ttl: MAX_TTL };
    for _ in 0..MAX_ATTEMPTS {
        let payload = serde_json::to_vec(&Mark { v: 1, ended }).expect("numbers can be written");
        let record = Record { payload: payload.into(), revision: Revision::random()?, owner: None };
        match calls.save(&key, &record, write).await {
            Ok(()) => return Ok(()),
            Err(error) if is_changed(&error) => {}
            Err(error) => return Err(error),
        }
        write = match calls.load(&key).await? {
            Some(found) => {
                ended = ended.max(decode(&found.record.payload)?.saturating_add(1));
                Write::Update(Update { expected: found.record.revision, ttl: Some(MAX_TTL) })
            }
            None => Write::Create { ttl: MAX_TTL },
        };
    }
    Err(Error::unavailable("the mark of the account was changed again and again"))
}

fn is_changed(error: &Error) -> bool {
    matches!(error.kind(), ErrorKind::AlreadyExists | ErrorKind::Conflict | ErrorKind::Gone)
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}
