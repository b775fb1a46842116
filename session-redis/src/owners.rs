//! The index of owners: for each owner a sorted set of its keys, by the end of their lives.
//!
//! In a cluster the set and the records are in different slots. So an entry is written before its record,
//! with a margin, and an entry whose record is gone remains until its end.

use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use session_core::{Error, Key, Owner, Result};

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::operations::Run;
use crate::scripts;

/// How long after the end of an entry its record may live: the record is written after the entry.
const MARGIN: Duration = Duration::from_secs(3);

/// One entry that is to be written.
pub(crate) struct Entry<'a> {
    pub(crate) owner: &'a Owner,
    pub(crate) key: &'a Key,
    pub(crate) ttl: u64,
}

/// How an entry is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// It is never shortened, because its record may live longer.
    Prolong,
    /// After its record was shortened.
    Set,
}

/// The name of an owner's set: the prefix, `owner:` and a digest, because names are in logs.
fn name(prefix: &str, owner: &Owner) -> Vec<u8> {
    [prefix.as_bytes(), b"owner:", owner.digest().to_hex().as_bytes()].concat()
}

/// Writes entries. Returns for each whether it ends later than asked for.
pub(crate) async fn enter(
    exchange: Exchange<'_>,
    prefix: &str,
    timeout: Duration,
    mode: Mode,
    entries: &[Entry<'_>],
) -> Vec<Result<bool>> {
    let named: Vec<_> =
        entries.iter().map(|entry| (name(prefix, entry.owner), (entry.key, entry.ttl))).collect();
    let margin = u64::try_from((MARGIN + timeout).as_millis()).unwrap_or(u64::MAX);
    let flag = if mode == Mode::Set { "XX" } else { "GT" };
    let add = |call: &mut Cmd, (key, ttl): &(&Key, u64)| {
        call.arg(&key.as_bytes()[..]).arg(ttl).arg(margin).arg(flag);
    };
    let run =
        Run { script: &scripts::ENTER, arguments: 4, bytes: named.len() * 128, repeatable: true };
    run.on(exchange, &named, add, entered).await
}

fn entered(reply: &Value) -> Result<bool> {
    match reply {
        Value::Int(1) => Ok(false),
        Value::Int(2) => Ok(true),
        // Entries are written before records: nothing was.
        other => Err(Error::from(Failure::of_reply(other).refused())),
    }
}

/// The keys whose entries have not ended, in ascending order.
pub(crate) async fn keys(
    exchange: Exchange<'_>,
    prefix: &str,
    timeout: Duration,
    owner: &Owner,
) -> Result<Vec<Key>> {
    let name = name(prefix, owner);
    let margin = u64::try_from((MARGIN + timeout).as_millis()).unwrap_or(u64::MAX);
    let call = |naming| {
        let mut call = scripts::OWNED.call(naming, 1, 1, name.len() + 32);
        call.arg(&name).arg(margin);
        call
    };
    let members = match exchange.call(call, &name, true).await? {
        Value::Array(members) => members,
        other => return Err(Failure::of_reply(&other).into()),
    };
    let key = |member| match member {
        Value::BulkString(bytes) => Some(Key::from_bytes(bytes.try_into().ok()?)),
        _ => None,
    };
    let mut keys: Vec<Key> = members.into_iter().filter_map(key).collect();
    keys.sort_unstable();
    Ok(keys)
}

pub(crate) async fn remove(
    exchange: Exchange<'_>,
    prefix: &str,
    owner: &Owner,
    key: &Key,
) -> Result<()> {
    let name = name(prefix, owner);
    let mut remove = Cmd::with_capacity(3, name.len() + 64);
    remove.arg("ZREM").arg(&name).arg(&key.as_bytes()[..]);
    let mut commands = Pipeline::with_capacity(1);
    commands.add_command(remove);
    match &exchange.send(&commands, &name, true).await?[..] {
        [Value::Int(_)] => Ok(()),
        replies => Err(Failure::of_reply(replies.first().unwrap_or(&Value::Nil)).into()),
    }
}
