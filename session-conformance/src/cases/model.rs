//! Random calls, compared with a small model of the contract.

use std::env;
use std::time::{Duration, Instant};

use fastrand::Rng;

use crate::case::{CaseResult, Context, Failure, cases, skip};
use crate::model::play::play;
use crate::model::shrink::{shown, shrink};
use crate::model::step::sequence;

cases! { "model":
    "the whole contract" => random_calls_agree,
}

/// The number of calls of one sequence. Longer sequences reach no more states; shorter ones start from an
/// empty store more often.
const CALLS: usize = 60;

/// How long the case searches for a difference, unless `CONFORMANCE_MODEL_MILLIS` is set.
const TIME: Duration = Duration::from_millis(2_500);

/// The number in an environment variable, if there is one.
pub(super) fn number(name: &str) -> Option<u64> {
    env::var(name).ok()?.parse().ok()
}

async fn random_calls_agree(cx: &Context) -> CaseResult {
    let time = number("CONFORMANCE_MODEL_MILLIS").map_or(TIME, Duration::from_millis);
    if time.is_zero() {
        return Err(skip("CONFORMANCE_MODEL_MILLIS=0"));
    }
    let given = number("CONFORMANCE_SEED");
    let (began, mut others) = (Instant::now(), Vec::new());
    loop {
        let seed = given.unwrap_or_else(|| fastrand::u64(..));
        let steps = sequence(&mut Rng::with_seed(seed), CALLS);
        match play(cx, &steps, &mut others).await {
            Ok(()) => {}
            Err(skipped @ Failure::Skipped(_)) => return Err(skipped),
            Err(failure) => {
                let (steps, failure) = shrink(cx, steps, failure, &mut others).await;
                return shown(seed, &steps, failure);
            }
        }
        if began.elapsed() > time || given.is_some() {
            return Ok(());
        }
    }
}
