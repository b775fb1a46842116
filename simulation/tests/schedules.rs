//! Ten thousand schedules, as CI runs them. The program runs more: see the README.

use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;

use simulation::run;

const SCHEDULES: u64 = 10_000;

#[test]
fn ten_thousand_schedules_keep_every_promise() {
    let next = AtomicU64::new(0);
    let threads = thread::available_parallelism().map_or(1, usize::from);
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= SCHEDULES {
                        return;
                    }
                    let report = run(seed, false);
                    if let Some(violation) = report.violations.first() {
                        next.store(SCHEDULES, Ordering::Relaxed);
                        panic!(
                            "{violation}: cargo run -p simulation --release -- --seed {seed} --trace"
                        );
                    }
                }
            });
        }
    });
}

/// A failure that does not replay could not be understood.
#[test]
fn a_schedule_replays_exactly() {
    for seed in 0..50 {
        let (first, again) = (run(seed, true), run(seed, true));
        assert!(first.trace.len() > 1);
        assert_eq!(first.trace, again.trace, "seed {seed}");
    }
}
