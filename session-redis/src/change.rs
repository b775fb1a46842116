//! Writes: one by one, or many at once.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, RedisWrite as _, Value};
use session_core::{Error, Record, Result, Revision};

use crate::failure::Failure;
use crate::guesses::Guess;
use crate::layout;
use crate::link::Link;
use crate::operations::Lane;
use crate::scripts::{self, Naming};
use crate::sharing::Shareable;

/// A write of one key; lives are in milliseconds.
pub(crate) struct Change {
    pub(crate) name: Vec<u8>,
    pub(crate) action: Action,
}

pub(crate) enum Action {
    Create { record: Record, life: u64 },
    Update(Update),
    Touch { life: u64 },
    Destroy { only: Option<Revision> },
}

/// A compare-and-swap.
pub(crate) struct Update {
    pub(crate) expected: Revision,
    /// At what stands there.
    pub(crate) guess: Guess,
    pub(crate) record: Record,
    /// Without it, the deadline stays where it is.
    pub(crate) life: Option<u64>,
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

    /// The script's; also `DEL`'s.
    fn of_reply(reply: &Value) -> Result<Self, Failure> {
        match reply {
            Value::Okay | Value::Int(1) => Ok(Self::Written),
            Value::Int(0) => Ok(Self::Conflict),
            Value::Int(-1) => Ok(Self::Gone),
            Value::Int(-2) => Ok(Self::AlreadyExists),
            Value::Int(-3) => Err(Failure::no_record()),
            other => Err(Failure::of_reply(other)),
        }
    }
}

impl Shareable for Change {
    type Context = Arc<Link>;
    type Answer = Verdict;

    fn bytes(&self) -> usize {
        self.name.len() + self.action.bytes()
    }

    async fn run(
        link: &Arc<Link>,
        jobs: Vec<Self>,
        limit: Duration,
    ) -> Vec<Result<Verdict, Failure>> {
        let lane = Lane::new(link, limit);
        if let [Self { name, action: Action::Destroy { only: None } }] = &jobs[..] {
            return vec![delete(lane, name).await];
        }
        // Twice is as good as once.
        let repeatable = jobs.iter().all(|job| matches!(job.action, Action::Touch { .. }));
        let script = |naming: Naming| {
            let bytes = jobs.iter().map(|job| job.bytes()).sum();
            let mut call = scripts::call(naming, jobs.len(), 1 + 2 * jobs.len(), bytes);
            for job in &jobs {
                call.arg(&job.name);
            }
            call.arg(first_to_end(&jobs).map_or(0, |index| index + 1));
            for job in &jobs {
                job.action.add_to(&mut call).expect(IN_MEMORY);
            }
            call
        };
        match write(lane, script, &jobs[0].name, jobs.len(), repeatable).await {
            Ok(verdicts) => verdicts,
            Err(failure) => jobs.iter().map(|_| Err(failure.clone())).collect(),
        }
    }
}

/// Moves a record; both keys on one node.
pub(crate) async fn rotate(
    lane: Lane<'_>,
    old: &[u8],
    new: &[u8],
    update: &Update,
) -> Result<Verdict, Failure> {
    let script = |naming: Naming| {
        let bytes = old.len() + new.len() + update.bytes();
        let mut call = scripts::call(naming, 2, 3, bytes);
        call.arg(old).arg(new).arg(0);
        update.add_to(&mut call, "rotate").expect(IN_MEMORY);
        call
    };
    write(lane, script, old, 1, false).await?.swap_remove(0)
}

/// Where the update is whose record ends first, of those that leave the deadline where it is and know
/// it.
fn first_to_end(jobs: &[Change]) -> Option<usize> {
    let guesses = jobs.iter().enumerate().filter_map(|(index, job)| match &job.action {
        Action::Update(Update { life: None, guess, .. }) if guess.deadline > 0 => {
            Some((guess.deadline, index))
        }
        _ => None,
    });
    guesses.min().map(|(_, index)| index)
}

async fn delete(lane: Lane<'_>, name: &[u8]) -> Result<Verdict, Failure> {
    let mut commands = Pipeline::with_capacity(1);
    commands.cmd("DEL").arg(name);
    Verdict::of_reply(&lane.exchange(&commands, name, false).await?[0])
}

/// As many verdicts as writes.
async fn write(
    lane: Lane<'_>,
    script: impl Fn(Naming) -> Cmd,
    key: &[u8],
    writes: usize,
    repeatable: bool,
) -> Result<Vec<Result<Verdict, Failure>>, Failure> {
    match lane.call(script, key, repeatable).await? {
        Value::Int(done) if usize::try_from(done) == Ok(writes) => {
            Ok((0..writes).map(|_| Ok(Verdict::Written)).collect())
        }
        Value::Array(replies) if replies.len() == writes => {
            Ok(replies.iter().map(Verdict::of_reply).collect())
        }
        other => Err(Failure::of_reply(&other)),
    }
}

/// What the orders say is written into commands, and commands are in memory.
const IN_MEMORY: &str = "writing to memory does not fail";

impl Action {
    /// About what it takes to send it.
    fn bytes(&self) -> usize {
        match self {
            Self::Create { record, .. } => layout::length(record) + ROOM,
            Self::Update(update) => update.bytes(),
            Self::Touch { .. } | Self::Destroy { .. } => ROOM,
        }
    }

    /// The script's two arguments: the order and the value.
    fn add_to(&self, call: &mut Cmd) -> io::Result<()> {
        match self {
            Self::Create { record, life } => {
                write!(call.writer_for_next_arg(), "create {life:015}")?;
                layout::write(&mut call.writer_for_next_arg(), record, 0)?;
            }
            Self::Update(update) => update.add_to(call, "update")?,
            Self::Touch { life } => {
                write!(call.writer_for_next_arg(), "touch {life:015}")?;
                call.arg("");
            }
            Self::Destroy { only: None } => {
                call.arg("destroy").arg("");
            }
            Self::Destroy { only: Some(revision) } => {
                let mut order = call.writer_for_next_arg();
                order.write_all(b"destroy ")?;
                order.write_all(&layout::head(*revision))?;
                drop(order);
                call.arg("");
            }
        }
        Ok(())
    }
}

/// For an order, the key's name and the lengths of all.
const ROOM: usize = 160;

impl Update {
    fn bytes(&self) -> usize {
        layout::length(&self.record) + ROOM
    }

    fn add_to(&self, call: &mut Cmd, verb: &str) -> io::Result<()> {
        let Self { expected, guess, record, life } = self;
        let mut order = call.writer_for_next_arg();
        if verb == "update" && life.is_none() {
            // The usual case in short.
            order.write_all(&layout::long_head(*expected, guess.deadline))?;
            if guess.is_as_long_as(layout::length(record)) {
                order.write_all(b":")?;
            }
        } else {
            write!(order, "{verb} ")?;
            if let Some(life) = life {
                write!(order, "{life:015} ")?;
            }
            order.write_all(&layout::head(*expected))?;
        }
        drop(order);
        layout::write(&mut call.writer_for_next_arg(), record, guess.deadline)
    }
}
