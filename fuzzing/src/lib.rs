//! Random and mutated input for everything that reads what others wrote: cookie headers, sealed cookies, documents,
//! records of stores, and URLs. A target must not panic, must tell damage by the right error, and must show no secret.
//!
//! It needs no nightly compiler; `session-cookie/fuzz` has a target for libFuzzer, which finds more.

mod input;
mod targets;

use std::time::{Duration, Instant};

pub use input::Input;
pub use targets::{Target, all};

/// Runs a target with random input for this time, and returns the number of inputs. `seed` is that of the first
/// input; the next one has the next seed.
///
/// # Panics
/// If the target does, with the seed of the input.
pub async fn run(target: &Target, seed: u64, time: Duration) -> u64 {
    let until = Instant::now() + time;
    let mut inputs = 0;
    while Instant::now() < until {
        let seed = seed.wrapping_add(inputs);
        let reported = Reported { target: target.name, seed };
        (target.run)(Input::new(seed)).await;
        std::mem::forget(reported);
        inputs += 1;
    }
    inputs
}

/// Names the input of a panic.
struct Reported {
    target: &'static str,
    seed: u64,
}

impl Drop for Reported {
    #[allow(clippy::print_stderr, reason = "it is shown beside the panic")]
    fn drop(&mut self) {
        eprintln!("again: cargo run -p fuzzing -- {} --seed {}", self.target, self.seed);
    }
}
