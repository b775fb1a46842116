//! Loads: one by one, or many at once.

use std::sync::Arc;
use std::time::Duration;

use redis::{Cmd, Pipeline, Value};
use session_core::Loaded;

use crate::failure::Failure;
use crate::layout::{self, Decoded};
use crate::link::Link;
use crate::operations::Lane;
use crate::sharing::Shareable;

/// A load. The value tells when it ends, by the server's clock.
pub(crate) struct Load {
    pub(crate) name: Vec<u8>,
}

pub(crate) struct Found {
    pub(crate) loaded: Loaded,
    /// In milliseconds of the server's clock.
    pub(crate) deadline: u64,
    /// Of the value.
    pub(crate) bytes: usize,
}

impl Shareable for Load {
    type Context = Arc<Link>;
    type Answer = Option<Found>;

    fn bytes(&self) -> usize {
        self.name.len()
    }

    async fn run(
        link: &Arc<Link>,
        jobs: Vec<Self>,
        limit: Duration,
    ) -> Vec<Result<Self::Answer, Failure>> {
        let lane = Lane::new(link, limit);
        if let [job] = &jobs[..] {
            return vec![load_one(lane, &job.name).await];
        }
        match load_many(lane, &jobs).await {
            Ok(answers) => answers,
            Err(failure) => jobs.iter().map(|_| Err(failure.clone())).collect(),
        }
    }
}

async fn load_one(lane: Lane<'_>, name: &[u8]) -> Result<Option<Found>, Failure> {
    let mut exactly = false;
    loop {
        let mut commands = Pipeline::with_capacity(2);
        commands.cmd("GET").arg(name);
        let (mut replies, now) = lane.read(commands, name, exactly).await?;
        let value = replies.swap_remove(0);
        let stands = value != Value::Nil;
        let found = loaded(value, now)?;
        // That what stands there is over, only the server can tell.
        if found.is_some() || !stands || exactly {
            return Ok(found);
        }
        exactly = true;
    }
}

/// `MGET` says nothing of values of another type; `EXISTS` gives away that there are such.
async fn load_many(
    lane: Lane<'_>,
    jobs: &[Load],
) -> Result<Vec<Result<Option<Found>, Failure>>, Failure> {
    let of_all = |command: &str| {
        let bytes: usize = jobs.iter().map(|job| job.name.len()).sum();
        let mut command_of_all = Cmd::with_capacity(1 + jobs.len(), command.len() + bytes);
        command_of_all.arg(command);
        for job in jobs {
            command_of_all.arg(&job.name);
        }
        command_of_all
    };
    let mut commands = Pipeline::with_capacity(3);
    commands.add_command(of_all("MGET")).add_command(of_all("EXISTS"));
    let (replies, now) = lane.read(commands, &jobs[0].name, true).await?;
    let (values, existing) = match <[Value; 2]>::try_from(replies) {
        Ok([Value::Array(values), Value::Int(existing)]) if values.len() == jobs.len() => {
            (values, existing)
        }
        Ok([Value::Array(_), other] | [other, ..]) => return Err(Failure::of_reply(&other)),
        Err(replies) => return Err(Failure::of_reply(&Value::Array(replies))),
    };
    let found = values.iter().filter(|value| !matches!(value, Value::Nil)).count();
    let all_told = i64::try_from(found) == Ok(existing);
    let mut answers = Vec::with_capacity(jobs.len());
    // In trouble, the time of one operation is enough.
    let mut trouble: Option<Failure> = None;
    for (job, value) in jobs.iter().zip(values) {
        answers.push(match (value, &trouble) {
            // Of another type, or it came or went in this very moment.
            (Value::Nil, None) if !all_told => {
                let answer = load_one(lane, &job.name).await;
                trouble = answer.as_ref().err().filter(|error| !error.is_of_the_record()).cloned();
                answer
            }
            (Value::Nil, Some(trouble)) => Err(trouble.clone()),
            (value, _) => loaded(value, now),
        });
    }
    Ok(answers)
}

/// A value as it was before it was `now`.
fn loaded(value: Value, now: u64) -> Result<Option<Found>, Failure> {
    let value = match value {
        Value::BulkString(value) => value,
        Value::Nil => return Ok(None),
        other => return Err(Failure::of_reply(&other)),
    };
    let bytes = value.len();
    let Decoded { record, deadline } = layout::decode(value).ok_or_else(Failure::no_record)?;
    let left = deadline.saturating_sub(now);
    let expires_in = Duration::from_millis(left);
    Ok((left > 0).then_some(Found { loaded: Loaded { record, expires_in }, deadline, bytes }))
}
