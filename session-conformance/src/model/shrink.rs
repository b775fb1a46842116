//! Shortens a failing sequence before it is shown.

use std::time::{Duration, Instant};

use super::play::play;
use super::step::{Call, Step, Written};
use crate::case::{CaseResult, Context, Failure};

/// The time limit of shortening.
const LIMIT: Duration = Duration::from_secs(8);

/// A shorter sequence that fails, and its failure.
pub(crate) async fn shrink(
    cx: &Context,
    mut steps: Vec<Step>,
    mut failure: Failure,
    others: &mut Vec<Instant>,
) -> (Vec<Step>, Failure) {
    let began = Instant::now();
    let mut part = steps.len().div_ceil(2);
    while part > 0 {
        let mut at = 0;
        while at < steps.len() && began.elapsed() < LIMIT {
            let end = (at + part).min(steps.len());
            let mut fewer = steps.clone();
            fewer.drain(at..end);
            match play(cx, &fewer, others).await {
                Err(Failure::Skipped(_)) | Ok(()) => at = end,
                Err(another) => (steps, failure) = (fewer, another),
            }
        }
        part = if part == 1 { 0 } else { part.div_ceil(2) };
    }
    for at in 0..steps.len() {
        if let Some(simpler) = simpler(&steps[at])
            && began.elapsed() < LIMIT
        {
            let mut changed = steps.clone();
            changed[at] = simpler;
            if let Err(another) = play(cx, &changed, others).await {
                (steps, failure) = (changed, another);
            }
        }
    }
    (steps, failure)
}

/// The call with a small payload without an owner.
fn simpler(step: &Step) -> Option<Step> {
    let mut step = step.clone();
    let (Call::Create { record, .. } | Call::Update { record, .. }) = &mut step.call else {
        return None;
    };
    let Written::New { pattern, revision, .. } = *record else {
        return None;
    };
    let plain = Written::New { length: 1, pattern, owner: None, revision };
    if *record == plain {
        return None;
    }
    *record = plain;
    Some(step)
}

/// The message of a failure: the calls, and the mistake of the last one.
pub(crate) fn shown(seed: u64, steps: &[Step], failure: Failure) -> CaseResult {
    let Failure::Failed(message) = failure else {
        return Err(failure);
    };
    let calls: Vec<String> = steps.iter().map(Step::to_string).collect();
    Err(Failure::Failed(format!(
        "after [{}]: {message} (again with CONFORMANCE_SEED={seed})",
        calls.join("; ")
    )))
}
