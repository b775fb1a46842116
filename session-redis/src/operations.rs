//! The commands of each operation, and what their replies mean.

use std::sync::Arc;
use std::time::{Duration, Instant};

use redis::{Pipeline, Value};
use session_core::{Error, Loaded, Result};

use crate::failure::{Failure, is_unknown_script};
use crate::layout;
use crate::link::{Link, Request};
use crate::scripts::{self, Lua, Naming};
use crate::sharing::Shareable;

/// A link and how long to wait for it.
#[derive(Debug, Clone)]
pub(crate) struct Lane {
    pub(crate) link: Arc<Link>,
    pub(crate) timeout: Duration,
}

impl Lane {
    /// One reply for each command.
    async fn exchange(
        &self,
        commands: &Pipeline,
        key: &str,
        repeatable: bool,
    ) -> Result<Vec<Value>, Failure> {
        self.exchange_within(self.timeout, commands, key, repeatable).await
    }

    async fn exchange_within(
        &self,
        limit: Duration,
        commands: &Pipeline,
        key: &str,
        repeatable: bool,
    ) -> Result<Vec<Value>, Failure> {
        let request = Request { commands, key, repeatable };
        let replies = self.link.exchange(&request, limit).await?;
        if replies.len() == commands.len() {
            Ok(replies)
        } else {
            Err(Failure::of_reply(&Value::Array(replies)))
        }
    }

    /// Calls a script by its hash, and in full if the server does not know it: after its first start,
    /// a failover, or SCRIPT FLUSH. `more` adds its keys and arguments and what is to follow it.
    /// Gives the replies to the script and to what follows.
    async fn call(
        &self,
        script: &Lua,
        keys: usize,
        key: &str,
        more: impl Fn(&mut Pipeline),
    ) -> Result<Vec<Value>, Failure> {
        let started = Instant::now();
        let mut naming = Naming::Hash;
        loop {
            let mut commands = Pipeline::new();
            more(scripts::call(&mut commands, script, naming, keys));
            let left = self.timeout.saturating_sub(started.elapsed());
            let replies = self.exchange_within(left, &commands, key, false).await?;
            if naming == Naming::Text || !is_unknown_script(&replies[0]) {
                return Ok(replies);
            }
            naming = Naming::Text;
        }
    }
}

/// A load: the value and what is left of its life.
pub(crate) struct Load {
    pub(crate) name: String,
}

impl Shareable for Load {
    type Context = Lane;
    type Answer = Option<Loaded>;

    fn bytes(&self) -> usize {
        self.name.len()
    }

    async fn run(lane: &Lane, jobs: Vec<Self>) -> Vec<Result<Self::Answer, Failure>> {
        if let [job] = &jobs[..] {
            return vec![load_one(lane, &job.name).await];
        }
        match load_many(lane, &jobs).await {
            Ok(answers) => answers,
            Err(failure) => jobs.iter().map(|_| Err(failure.clone())).collect(),
        }
    }
}

async fn load_one(lane: &Lane, name: &str) -> Result<Option<Loaded>, Failure> {
    let mut commands = Pipeline::with_capacity(2);
    commands.cmd("GET").arg(name).cmd("PTTL").arg(name);
    let replies = lane.exchange(&commands, name, true).await?;
    match <[Value; 2]>::try_from(replies) {
        Ok([value, life]) => loaded(value, &life),
        Err(replies) => Err(Failure::of_reply(&Value::Array(replies))),
    }
}

async fn load_many(
    lane: &Lane,
    jobs: &[Load],
) -> Result<Vec<Result<Option<Loaded>, Failure>>, Failure> {
    let mut commands = Pipeline::with_capacity(1 + jobs.len());
    commands.cmd("MGET");
    for job in jobs {
        commands.arg(&job.name);
    }
    for job in jobs {
        commands.cmd("PTTL").arg(&job.name);
    }
    let mut replies = lane.exchange(&commands, &jobs[0].name, true).await?.into_iter();
    let values = match replies.next() {
        Some(Value::Array(values)) if values.len() == jobs.len() => values,
        other => return Err(Failure::of_reply(&other.unwrap_or(Value::Nil))),
    };
    let mut answers = Vec::with_capacity(jobs.len());
    for ((job, value), life) in jobs.iter().zip(values).zip(replies) {
        answers.push(match (value, &life) {
            // MGET says nil of another type, too; or the record was made in this very moment.
            (Value::Nil, Value::Int(-1..)) => load_one(lane, &job.name).await,
            (value, life) => loaded(value, life),
        });
    }
    Ok(answers)
}

/// The two commands are no transaction. If the record expired or was destroyed between them, the
/// second one says so; if it was renewed or replaced, the life is the new one's.
fn loaded(value: Value, life: &Value) -> Result<Option<Loaded>, Failure> {
    let value = match value {
        Value::BulkString(value) => value,
        Value::Nil => return Ok(None),
        other => return Err(Failure::of_reply(&other)),
    };
    let Some(expires_in) = layout::life(life)? else {
        return Ok(None);
    };
    let record = layout::decode(value).ok_or_else(|| {
        Failure::corrupt("a session key holds no session record: another program wrote it")
    })?;
    Ok(Some(Loaded { record, expires_in }))
}

/// A compare-and-swap.
pub(crate) struct Swap {
    pub(crate) name: String,
    /// The head of the value that must stand there.
    pub(crate) expected: String,
    pub(crate) value: Vec<u8>,
    /// Milliseconds; without them the deadline stays where it is.
    pub(crate) expiry: Option<u64>,
}

/// What a write found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    Written,
    Gone,
    Conflict,
    AlreadyExists,
}

impl Verdict {
    pub(crate) fn into_result(self) -> Result<()> {
        match self {
            Self::Written => Ok(()),
            Self::Gone => Err(Error::gone()),
            Self::Conflict => Err(Error::conflict()),
            Self::AlreadyExists => Err(Error::already_exists()),
        }
    }

    /// The replies of the scripts.
    fn of_reply(reply: &Value) -> Result<Self, Failure> {
        match reply {
            Value::Okay => Ok(Self::Written),
            Value::Int(0) => Ok(Self::Conflict),
            Value::Int(-1) => Ok(Self::Gone),
            Value::Int(-2) => Ok(Self::AlreadyExists),
            other => Err(Failure::of_reply(other)),
        }
    }
}

impl Shareable for Swap {
    type Context = Lane;
    type Answer = Verdict;

    fn bytes(&self) -> usize {
        self.name.len() + self.value.len()
    }

    async fn run(lane: &Lane, jobs: Vec<Self>) -> Vec<Result<Verdict, Failure>> {
        let arguments = |commands: &mut Pipeline| {
            for job in &jobs {
                commands.arg(&job.name);
            }
            for job in &jobs {
                commands.arg(&job.expected).arg(&job.value);
                match job.expiry {
                    Some(millis) => commands.arg(millis),
                    None => commands.arg(""),
                };
            }
        };
        let failure = match lane.call(&scripts::SWAP, jobs.len(), &jobs[0].name, arguments).await {
            Err(failure) => failure,
            Ok(replies) => match &replies[0] {
                Value::Array(replies) if replies.len() == jobs.len() => {
                    return replies.iter().map(Verdict::of_reply).collect();
                }
                other => Failure::of_reply(other),
            },
        };
        jobs.iter().map(|_| Err(failure.clone())).collect()
    }
}

pub(crate) async fn create(
    lane: &Lane,
    name: &str,
    value: &[u8],
    expiry: u64,
) -> Result<Verdict, Failure> {
    let mut commands = Pipeline::new();
    commands.cmd("SET").arg(name).arg(value).arg("NX").arg("PX").arg(expiry);
    match &lane.exchange(&commands, name, false).await?[0] {
        Value::Okay => Ok(Verdict::Written),
        Value::Nil => Ok(Verdict::AlreadyExists),
        other => Err(Failure::of_reply(other)),
    }
}

pub(crate) async fn touch(lane: &Lane, name: &str, expiry: u64) -> Result<Verdict, Failure> {
    let mut commands = Pipeline::new();
    commands.cmd("PEXPIRE").arg(name).arg(expiry);
    // Twice is as good as once.
    match &lane.exchange(&commands, name, true).await?[0] {
        Value::Int(1) => Ok(Verdict::Written),
        Value::Int(0) => Ok(Verdict::Gone),
        other => Err(Failure::of_reply(other)),
    }
}

/// Deletes a key, whatever it holds, or only the one with this head. Says whether it was there.
pub(crate) async fn destroy(lane: &Lane, name: &str, only: Option<&str>) -> Result<bool, Failure> {
    let replies = match only {
        Some(head) => {
            let arguments = |commands: &mut Pipeline| {
                commands.arg(name).arg(head);
            };
            lane.call(&scripts::DELETE_ONLY, 1, name, arguments).await?
        }
        None => {
            let mut commands = Pipeline::new();
            commands.cmd("DEL").arg(name);
            lane.exchange(&commands, name, false).await?
        }
    };
    match &replies[0] {
        Value::Int(count) => Ok(*count > 0),
        other => Err(Failure::of_reply(other)),
    }
}

/// How many replicas are to confirm a destruction, and how long to wait for them.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Confirmation {
    pub(crate) replicas: u32,
    pub(crate) timeout: Duration,
}

/// How many replicas have seen a key destroyed.
///
/// `WAIT` covers what was written before its connection's last command, by whomever. That command
/// deletes again: should another master serve the key by now, it is gone there, too.
pub(crate) async fn confirm_destroy(
    lane: &Lane,
    name: &str,
    Confirmation { replicas, timeout }: Confirmation,
) -> Result<u32, Failure> {
    // Zero would mean without end.
    let millis = u64::try_from(timeout.as_millis().max(1)).unwrap_or(u64::MAX);
    let mut commands = Pipeline::with_capacity(2);
    commands.cmd("DEL").arg(name).cmd("WAIT").arg(replicas).arg(millis);
    // Twice is as good as once.
    let replies = lane.exchange(&commands, name, true).await?;
    match &replies[..] {
        [Value::Int(_), Value::Int(confirmed)] => Ok(u32::try_from(*confirmed).unwrap_or_default()),
        [Value::Int(_), other] | [other, ..] => Err(Failure::of_reply(other)),
        [] => Err(Failure::of_reply(&Value::Nil)),
    }
}

/// Moves a record; both keys on one node.
pub(crate) async fn rotate(lane: &Lane, swap: &Swap, new_name: &str) -> Result<Verdict, Failure> {
    let arguments = |commands: &mut Pipeline| {
        commands.arg(&swap.name).arg(new_name).arg(&swap.expected).arg(&swap.value);
        match swap.expiry {
            Some(millis) => commands.arg(millis),
            None => commands.arg(""),
        };
    };
    let replies = lane.call(&scripts::ROTATE, 2, &swap.name, arguments).await?;
    Verdict::of_reply(&replies[0])
}
