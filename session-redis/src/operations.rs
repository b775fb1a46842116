//! The operations, each for any number of keys of one server.

use std::io::Write as _;
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisWrite as _, Value};
use session_core::{
    CreateItem, DestroyItem, Error, ErrorKind, Loaded, Result, TouchItem, UpdateItem, ttl_millis,
};

use crate::exchange::Exchange;
use crate::failure::Failure;
use crate::layout;
use crate::scripts::{self, Script};

/// Bytes beside name and record in a command: words, head, expiry, lengths.
const ROOM: usize = 64;
/// Records are written into commands, and commands are in memory.
const IN_MEMORY: &str = "writing to memory does not fail";

/// Refuses a user that may not run what sessions need, and a server that does not know it. Trouble that may
/// pass is left to the operations.
pub(crate) async fn check_rights(exchange: Exchange<'_>) -> Result<()> {
    let call = |naming| scripts::RIGHTS.call(naming, 0, 0, 0);
    let failure = match exchange.call(call, b"session:rights", true).await {
        Ok(Value::BulkString(missing)) if missing.is_empty() => return Ok(()),
        Ok(Value::BulkString(missing)) => Failure::no_right(&String::from_utf8_lossy(&missing)),
        Ok(other) => Failure::of_reply(&other),
        Err(failure) => failure,
    };
    match Error::from(failure) {
        error if error.kind() == ErrorKind::InvalidConfig => Err(error),
        _ => Ok(()),
    }
}

/// `MGET`, or `GET` for one, and `PTTL` for each. Should a record be replaced between the two, its life
/// may be that of the new one; should it be destroyed, it is not there.
pub(crate) async fn load(exchange: Exchange<'_>, names: &[Vec<u8>]) -> Vec<Result<Option<Loaded>>> {
    let Some(first) = names.first() else { return Vec::new() };
    let bytes: usize = names.iter().map(Vec::len).sum();
    let mut get = Cmd::with_capacity(1 + names.len(), 4 + bytes);
    get.arg(if names.len() == 1 { "GET" } else { "MGET" }).arg(names);
    let mut commands = Pipeline::with_capacity(1 + names.len());
    commands.add_command(get);
    for name in names {
        commands.add_command(command("PTTL", name));
    }
    let mut replies = match exchange.send(&commands, first, true).await {
        Ok(replies) => replies.into_iter(),
        Err(failure) => return for_all(names.len(), &failure),
    };
    let values = match replies.next() {
        Some(Value::Array(values)) if values.len() == names.len() => values,
        Some(value) if names.len() == 1 => vec![value],
        other => return for_all(names.len(), &Failure::of_reply(&other.unwrap_or(Value::Nil))),
    };
    let mut results = Vec::with_capacity(names.len());
    for ((value, life), name) in values.into_iter().zip(replies).zip(names) {
        // A value of another type is nothing to `MGET`, but it has a life: `GET` tells what it is.
        if value == Value::Nil && life != Value::Int(-2) && names.len() > 1 {
            results.append(&mut Box::pin(load(exchange, std::slice::from_ref(name))).await);
        } else {
            results.push(loaded(value, &life).map_err(Error::from));
        }
    }
    results
}

fn loaded(value: Value, left: &Value) -> Result<Option<Loaded>, Failure> {
    let value = match value {
        Value::BulkString(value) => value,
        Value::Nil => return Ok(None),
        other => return Err(Failure::of_reply(&other)),
    };
    let left = match left {
        Value::Int(-2) => return Ok(None),
        Value::Int(left) => u64::try_from(*left).map_err(|_| Failure::without_expiry())?,
        other => return Err(Failure::of_reply(other)),
    };
    let record = layout::decode(value).ok_or_else(Failure::no_record)?;
    // See `expiry`.
    Ok(Some(Loaded { record, expires_in: Duration::from_millis(left + 1) }))
}

/// `SET … PX … NX` for each.
pub(crate) async fn create(
    exchange: Exchange<'_>,
    prefix: &str,
    items: &[CreateItem],
) -> Vec<Result<()>> {
    let (creates, invalid) =
        split(items, |item| Ok((layout::name(prefix, &item.key), &item.record, expiry(item.ttl)?)));
    let mut commands = Pipeline::with_capacity(creates.len());
    for (name, record, expiry) in &creates {
        let mut set = Cmd::with_capacity(6, name.len() + layout::length(record) + ROOM);
        set.arg("SET").arg(name);
        layout::write(&mut set.writer_for_next_arg(), record).expect(IN_MEMORY);
        set.arg("PX").arg(expiry).arg("NX");
        commands.add_command(set);
    }
    let created = |reply: &Value| match reply {
        Value::Okay => Ok(()),
        Value::Nil => Err(Error::already_exists()),
        other => Err(Failure::of_reply(other).into()),
    };
    let key = creates.first().map(|(name, ..)| &name[..]);
    merge(pipeline(exchange, &commands, key, created).await, invalid)
}

pub(crate) async fn update(
    exchange: Exchange<'_>,
    prefix: &str,
    items: &[UpdateItem],
) -> Vec<Result<()>> {
    let (updates, invalid) = split(items, |item| {
        let expiry = item.update.ttl.map(expiry).transpose()?;
        Ok((layout::name(prefix, &item.key), (item, expiry)))
    });
    let add = |call: &mut Cmd, (item, expiry): &(&UpdateItem, Option<u64>)| {
        let mut head = call.writer_for_next_arg();
        head.write_all(&layout::head(item.update.expected)).expect(IN_MEMORY);
        if let Some(expiry) = expiry {
            write!(head, "{expiry}").expect(IN_MEMORY);
        }
        drop(head);
        layout::write(&mut call.writer_for_next_arg(), &item.record).expect(IN_MEMORY);
    };
    let bytes = items.iter().map(|item| layout::length(&item.record) + ROOM).sum();
    let run = Run { script: &scripts::UPDATE, arguments: 2, bytes, repeatable: false };
    merge(run.on(exchange, &updates, add, written).await, invalid)
}

pub(crate) async fn touch(
    exchange: Exchange<'_>,
    prefix: &str,
    items: &[TouchItem],
) -> Vec<Result<()>> {
    let (touches, invalid) = split(items, |item| {
        Ok((layout::name(prefix, &item.key), (item.expected, expiry(item.ttl)?)))
    });
    let add = |call: &mut Cmd, (expected, expiry): &(_, u64)| {
        call.arg(&layout::head(*expected)[..]).arg(expiry);
    };
    let bytes = items.len() * ROOM;
    // Twice is as good as once.
    let run = Run { script: &scripts::TOUCH, arguments: 2, bytes, repeatable: true };
    merge(run.on(exchange, &touches, add, written).await, invalid)
}

fn written(reply: &Value) -> Result<()> {
    match reply {
        Value::Int(1) => Ok(()),
        Value::Int(0) => Err(Error::conflict()),
        Value::Int(-1) => Err(Error::gone()),
        Value::Int(-2) => Err(Failure::no_record().into()),
        other => Err(Failure::of_reply(other).into()),
    }
}

/// What became of a key that was to be destroyed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Destroyed {
    Removed,
    /// It was not there.
    Missing,
    /// It has another revision, or a value that is no record.
    Kept,
}

/// `DEL` for each, or the script for those that have an expected revision.
pub(crate) async fn destroy(
    exchange: Exchange<'_>,
    prefix: &str,
    items: &[DestroyItem],
) -> Vec<Result<Destroyed>> {
    let (mut deletes, mut first, mut compares) = (Pipeline::new(), None, Vec::new());
    for item in items {
        let name = layout::name(prefix, &item.key);
        match item.only {
            Some(expected) => compares.push((name, expected)),
            None => {
                deletes.add_command(command("DEL", &name));
                first.get_or_insert(name);
            }
        }
    }
    let add = |call: &mut Cmd, expected: &_| {
        call.arg(&layout::head(*expected)[..]);
    };
    let bytes = compares.len() * ROOM;
    let run = Run { script: &scripts::DESTROY, arguments: 1, bytes, repeatable: false };
    let mut deleted = pipeline(exchange, &deletes, first.as_deref(), deleted).await.into_iter();
    let mut compared = run.on(exchange, &compares, add, compared).await.into_iter();
    let next = |item: &DestroyItem| match item.only {
        Some(_) => compared.next(),
        None => deleted.next(),
    };
    items.iter().filter_map(next).collect()
}

/// A reply to `DEL`.
fn deleted(reply: &Value) -> Result<Destroyed> {
    match reply {
        Value::Int(1) => Ok(Destroyed::Removed),
        Value::Int(0) => Ok(Destroyed::Missing),
        other => Err(Failure::of_reply(other).into()),
    }
}

/// A reply of the script that compares first.
fn compared(reply: &Value) -> Result<Destroyed> {
    match reply {
        Value::Int(1) => Ok(Destroyed::Removed),
        Value::Int(-1) => Ok(Destroyed::Missing),
        Value::Int(0 | -2) => Ok(Destroyed::Kept),
        other => match Error::from(Failure::of_reply(other)) {
            error if error.kind() == ErrorKind::Corrupt => Ok(Destroyed::Kept),
            error => Err(error),
        },
    }
}

/// How a script is called.
pub(crate) struct Run {
    pub(crate) script: &'static Script,
    /// For each key.
    pub(crate) arguments: usize,
    /// Of all arguments, about.
    pub(crate) bytes: usize,
    pub(crate) repeatable: bool,
}

impl Run {
    /// Calls the script for keys with these names, and reads its result for each.
    pub(crate) async fn on<I: Sync, T>(
        self,
        exchange: Exchange<'_>,
        items: &[(Vec<u8>, I)],
        add: impl Fn(&mut Cmd, &I) + Sync,
        result: fn(&Value) -> Result<T>,
    ) -> Vec<Result<T>> {
        let Some((first, _)) = items.first() else { return Vec::new() };
        let count = items.len();
        let call = |naming| {
            let bytes = self.bytes + count * (first.len() + ROOM);
            let mut call = self.script.call(naming, count, self.arguments * count, bytes);
            items.iter().for_each(|(name, _)| {
                call.arg(name);
            });
            items.iter().for_each(|(_, item)| add(&mut call, item));
            call
        };
        match exchange.call(call, first, self.repeatable).await {
            Ok(Value::Int(done)) if usize::try_from(done) == Ok(count) => {
                items.iter().map(|_| result(&Value::Int(1))).collect()
            }
            Ok(Value::Array(all)) if all.len() == count => all.iter().map(result).collect(),
            Ok(other) => for_all(count, &Failure::of_reply(&other)),
            Err(failure) => for_all(count, &failure),
        }
    }
}

/// Sends a command for each key, and reads the reply to each.
async fn pipeline<T>(
    exchange: Exchange<'_>,
    commands: &Pipeline,
    key: Option<&[u8]>,
    result: fn(&Value) -> Result<T>,
) -> Vec<Result<T>> {
    let Some(key) = key else { return Vec::new() };
    match exchange.send(commands, key, false).await {
        Ok(replies) => replies.iter().map(result).collect(),
        Err(failure) => for_all(commands.len(), &failure),
    }
}

fn command(word: &str, name: &[u8]) -> Cmd {
    let mut command = Cmd::with_capacity(2, word.len() + name.len());
    command.arg(word).arg(name);
    command
}

fn for_all<T>(keys: usize, failure: &Failure) -> Vec<Result<T>> {
    (0..keys).map(|_| Err(failure.clone().into())).collect()
}

/// What can be sent, and the errors of the other items with their places.
fn split<'a, I, T>(
    items: &'a [I],
    prepare: impl Fn(&'a I) -> Result<T>,
) -> (Vec<T>, Vec<(usize, Error)>) {
    let (mut valid, mut invalid) = (Vec::with_capacity(items.len()), Vec::new());
    for (place, item) in items.iter().enumerate() {
        match prepare(item) {
            Ok(prepared) => valid.push(prepared),
            Err(error) => invalid.push((place, error)),
        }
    }
    (valid, invalid)
}

/// The results of all items in their order.
pub(crate) fn merge<T>(
    mut results: Vec<Result<T>>,
    invalid: Vec<(usize, Error)>,
) -> Vec<Result<T>> {
    for (place, error) in invalid {
        results.insert(place, Err(error));
    }
    results
}

/// The expiry of a key whose record has this ttl, in milliseconds. Redis keeps a key through the whole of
/// its last millisecond, and a record has expired at its deadline, hence one less.
pub(crate) fn expiry(ttl: Duration) -> Result<u64> {
    Ok((ttl_millis(ttl)? - 1).max(1))
}
