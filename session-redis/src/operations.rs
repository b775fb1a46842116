//! The five operations, each for any number of keys of one server.

use std::io::Write as _;
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisWrite as _, Value};
use session_core::{Error, Loaded, Record, Result, Revision};

use crate::exchange::{Arguments, Exchange};
use crate::failure::Failure;
use crate::layout;
use crate::scripts::{self, Script};

/// Bytes beside the record in a create or update: head, expiry, lengths.
const ROOM: usize = 64;
/// Records are written into commands, and commands are in memory.
const IN_MEMORY: &str = "writing to memory does not fail";

pub(crate) struct Create<'a> {
    pub(crate) name: Vec<u8>,
    pub(crate) record: &'a Record,
    /// In milliseconds.
    pub(crate) ttl: u64,
}

pub(crate) struct Update<'a> {
    pub(crate) name: Vec<u8>,
    pub(crate) record: &'a Record,
    pub(crate) expected: Revision,
    /// In milliseconds.
    pub(crate) ttl: Option<u64>,
}

pub(crate) struct Touch {
    pub(crate) name: Vec<u8>,
    pub(crate) expected: Revision,
    /// In milliseconds.
    pub(crate) ttl: u64,
}

/// `GET` and `PTTL`. Should a record be replaced between the two, its life may be that of the new one;
/// should it be destroyed, it is not there.
pub(crate) async fn load(exchange: Exchange<'_>, names: &[Vec<u8>]) -> Vec<Result<Option<Loaded>>> {
    let Some(first) = names.first() else { return Vec::new() };
    let mut commands = Pipeline::with_capacity(2 * names.len());
    for name in names {
        for command in ["GET", "PTTL"] {
            let mut about = Cmd::with_capacity(2, command.len() + name.len());
            about.arg(command).arg(name);
            commands.add_command(about);
        }
    }
    let mut replies = match exchange.send(&commands, first, true).await {
        Ok(replies) => replies.into_iter(),
        Err(failure) => return for_all(names.len(), &failure),
    };
    let mut results = Vec::with_capacity(names.len());
    while let (Some(value), Some(left)) = (replies.next(), replies.next()) {
        results.push(loaded(value, &left).map_err(Error::from));
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
pub(crate) async fn create(exchange: Exchange<'_>, creates: &[Create<'_>]) -> Vec<Result<()>> {
    let Some(first) = creates.first() else { return Vec::new() };
    let mut commands = Pipeline::with_capacity(creates.len());
    for Create { name, record, ttl } in creates {
        let mut set = Cmd::with_capacity(6, name.len() + layout::length(record) + ROOM);
        set.arg("SET").arg(name);
        layout::write(&mut set.writer_for_next_arg(), record).expect(IN_MEMORY);
        set.arg("PX").arg(expiry(*ttl)).arg("NX");
        commands.add_command(set);
    }
    match exchange.send(&commands, &first.name, false).await {
        Ok(replies) => replies.iter().map(created).collect(),
        Err(failure) => for_all(creates.len(), &failure),
    }
}

fn created(reply: &Value) -> Result<()> {
    match reply {
        Value::Okay => Ok(()),
        Value::Nil => Err(Error::already_exists()),
        other => Err(Failure::of_reply(other).into()),
    }
}

pub(crate) async fn update(exchange: Exchange<'_>, updates: &[Update<'_>]) -> Vec<Result<()>> {
    let names: Vec<&[u8]> = updates.iter().map(|update| &update.name[..]).collect();
    let bytes = updates.iter().map(|update| layout::length(update.record) + ROOM).sum();
    let add = |call: &mut Cmd| {
        for Update { record, expected, ttl, .. } in updates {
            let mut head = call.writer_for_next_arg();
            head.write_all(&layout::head(*expected)).expect(IN_MEMORY);
            if let Some(ttl) = ttl {
                write!(head, "{}", expiry(*ttl)).expect(IN_MEMORY);
            }
            drop(head);
            layout::write(&mut call.writer_for_next_arg(), record).expect(IN_MEMORY);
        }
    };
    let arguments = Arguments { number: 2 * updates.len(), bytes, add: &add };
    each(exchange, &scripts::UPDATE, &names, arguments, false, written).await
}

pub(crate) async fn touch(exchange: Exchange<'_>, touches: &[Touch]) -> Vec<Result<()>> {
    let names: Vec<&[u8]> = touches.iter().map(|touch| &touch.name[..]).collect();
    let add = |call: &mut Cmd| {
        for Touch { expected, ttl, .. } in touches {
            call.arg(&layout::head(*expected)[..]).arg(expiry(*ttl));
        }
    };
    let number = 2 * touches.len();
    let arguments = Arguments { number, bytes: ROOM * touches.len(), add: &add };
    // Twice is as good as once.
    each(exchange, &scripts::TOUCH, &names, arguments, true, written).await
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

/// `DEL` for each.
pub(crate) async fn destroy(exchange: Exchange<'_>, names: &[&[u8]]) -> Vec<Result<bool>> {
    let Some(first) = names.first() else { return Vec::new() };
    let mut commands = Pipeline::with_capacity(names.len());
    for name in names {
        let mut delete = Cmd::with_capacity(2, 3 + name.len());
        delete.arg("DEL").arg(name);
        commands.add_command(delete);
    }
    match exchange.send(&commands, first, false).await {
        Ok(replies) => replies.iter().map(destroyed).collect(),
        Err(failure) => for_all(names.len(), &failure),
    }
}

/// Destroys records of these revisions only.
pub(crate) async fn destroy_only(
    exchange: Exchange<'_>,
    names: &[&[u8]],
    only: &[Revision],
) -> Vec<Result<bool>> {
    let add = |call: &mut Cmd| {
        for revision in only {
            call.arg(&layout::head(*revision)[..]);
        }
    };
    let arguments = Arguments { number: only.len(), bytes: ROOM * only.len(), add: &add };
    each(exchange, &scripts::DESTROY, names, arguments, false, destroyed).await
}

fn destroyed(reply: &Value) -> Result<bool> {
    match reply {
        Value::Int(1) => Ok(true),
        // No record, another revision, or a value that has none.
        Value::Int(-2..=0) => Ok(false),
        other => match Failure::of_reply(other) {
            failure if failure.is_of_the_record() => Ok(false),
            failure => Err(failure.into()),
        },
    }
}

/// Calls a script and reads its result for each key.
async fn each<T>(
    exchange: Exchange<'_>,
    script: &Script,
    names: &[&[u8]],
    arguments: Arguments<'_>,
    repeatable: bool,
    result: fn(&Value) -> Result<T>,
) -> Vec<Result<T>> {
    let keys = names.len();
    if keys == 0 {
        return Vec::new();
    }
    match exchange.call(script, names, arguments, repeatable).await {
        Ok(Value::Int(done)) if usize::try_from(done) == Ok(keys) => {
            (0..keys).map(|_| result(&Value::Int(1))).collect()
        }
        Ok(Value::Array(replies)) if replies.len() == keys => replies.iter().map(result).collect(),
        Ok(other) => for_all(keys, &Failure::of_reply(&other)),
        Err(failure) => for_all(keys, &failure),
    }
}

fn for_all<T>(keys: usize, failure: &Failure) -> Vec<Result<T>> {
    (0..keys).map(|_| Err(failure.clone().into())).collect()
}

/// The expiry of a key whose record has this ttl. Redis keeps a key through the whole of its last
/// millisecond, and a record has expired at its deadline, hence one less.
fn expiry(ttl: u64) -> u64 {
    (ttl - 1).max(1)
}
