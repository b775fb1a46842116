//! Writes: one by one, or many at once.

use redis::{Cmd, Pipeline, Value};
use session_core::{Error, Result};

use crate::failure::Failure;
use crate::layout::{Head, LongHead};
use crate::operations::Lane;
use crate::scripts::{self, Naming};
use crate::sharing::Shareable;

/// A write of one key; lives are in milliseconds.
pub(crate) struct Change {
    pub(crate) name: Vec<u8>,
    pub(crate) action: Action,
}

pub(crate) enum Action {
    Create { value: Vec<u8>, life: u64 },
    Update(Update),
    Touch { life: u64 },
    Destroy { only: Option<Head> },
}

/// A compare-and-swap.
pub(crate) struct Update {
    /// The head of the value that must stand there, and a guess at its deadline.
    pub(crate) expected: LongHead,
    pub(crate) value: Vec<u8>,
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
    type Context = Lane;
    type Answer = Verdict;

    fn bytes(&self) -> usize {
        let value = match &self.action {
            Action::Create { value, .. } | Action::Update(Update { value, .. }) => value.len(),
            Action::Touch { .. } | Action::Destroy { .. } => 0,
        };
        self.name.len() + value + 64
    }

    async fn run(lane: &Lane, jobs: Vec<Self>) -> Vec<Result<Verdict, Failure>> {
        if let [Self { name, action: Action::Destroy { only: None } }] = &jobs[..] {
            return vec![delete(lane, name).await];
        }
        let keys: Vec<&[u8]> = jobs.iter().map(|job| &job.name[..]).collect();
        let arguments: Vec<Arguments<'_>> = jobs.iter().map(|job| job.action.arguments()).collect();
        // Twice is as good as once.
        let repeatable = jobs.iter().all(|job| matches!(job.action, Action::Touch { .. }));
        match write(lane, &keys, &arguments, repeatable).await {
            Ok(verdicts) => verdicts,
            Err(failure) => jobs.iter().map(|_| Err(failure.clone())).collect(),
        }
    }
}

/// Moves a record; both keys on one node.
pub(crate) async fn rotate(
    lane: &Lane,
    old: &[u8],
    new: &[u8],
    update: &Update,
) -> Result<Verdict, Failure> {
    let arguments = Arguments { verb: "rotate", ..update.arguments() };
    write(lane, &[old, new], &[arguments], false).await?.swap_remove(0)
}

async fn delete(lane: &Lane, name: &[u8]) -> Result<Verdict, Failure> {
    let mut commands = Pipeline::with_capacity(1);
    commands.cmd("DEL").arg(name);
    Verdict::of_reply(&lane.exchange(&commands, name, false).await?[0])
}

/// A verdict for each of the arguments.
async fn write(
    lane: &Lane,
    keys: &[&[u8]],
    arguments: &[Arguments<'_>],
    repeatable: bool,
) -> Result<Vec<Result<Verdict, Failure>>, Failure> {
    let bytes = keys.iter().map(|key| key.len()).sum::<usize>()
        + arguments.iter().map(|arguments| arguments.value.len() + 64).sum::<usize>();
    let script = |naming: Naming| {
        let mut call = scripts::call(naming, keys.len(), 4 * arguments.len(), bytes);
        for key in keys {
            call.arg(key);
        }
        for arguments in arguments {
            arguments.add_to(&mut call);
        }
        call
    };
    match lane.call(script, keys[0], repeatable).await? {
        Value::Array(replies) if replies.len() == arguments.len() => {
            Ok(replies.iter().map(Verdict::of_reply).collect())
        }
        other => Err(Failure::of_reply(&other)),
    }
}

/// What the script takes for each write.
#[derive(Default)]
struct Arguments<'a> {
    verb: &'static str,
    expected: &'a [u8],
    value: &'a [u8],
    life: Option<u64>,
}

impl Arguments<'_> {
    fn add_to(&self, call: &mut Cmd) {
        call.arg(self.verb).arg(self.expected).arg(self.value);
        match self.life {
            Some(life) => call.arg(life),
            None => call.arg(""),
        };
    }
}

impl Action {
    fn arguments(&self) -> Arguments<'_> {
        match self {
            Self::Create { value, life } => {
                Arguments { verb: "create", value, life: Some(*life), ..Arguments::default() }
            }
            Self::Update(update) => update.arguments(),
            Self::Touch { life } => {
                Arguments { verb: "touch", life: Some(*life), ..Arguments::default() }
            }
            Self::Destroy { only } => Arguments {
                verb: "destroy",
                expected: only.as_ref().map_or(&[], |head| &head[..]),
                ..Arguments::default()
            },
        }
    }
}

impl Update {
    fn arguments(&self) -> Arguments<'_> {
        let Self { expected, value, life } = self;
        Arguments { verb: "update", expected, value, life: *life }
    }
}
