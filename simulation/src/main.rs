//! `cargo run -p simulation --release -- --schedules 1000000`; see the README.

use std::io;
use std::process::ExitCode;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::thread;
use std::time::Instant;

use clap::Parser;
use simulation::{Counts, run};

/// Runs session-core over a simulated store, and checks what it promises.
#[derive(Parser)]
struct Arguments {
    /// How many schedules to run.
    #[arg(long, default_value_t = 10_000)]
    schedules: u64,
    /// Where to begin, or the one schedule to run with `--trace`.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Runs the schedule of `--seed` only and shows every step.
    #[arg(long)]
    trace: bool,
    /// How many threads to use (default: one for each processor).
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let mut out = io::stdout();
    let outcome = if arguments.trace {
        trace(&mut out, arguments.seed)
    } else {
        run_all(&mut out, &arguments)
    };
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        _ => ExitCode::FAILURE,
    }
}

fn trace(out: &mut impl io::Write, seed: u64) -> io::Result<bool> {
    let report = run(seed, true);
    for line in &report.trace {
        writeln!(out, "{line}")?;
    }
    writeln!(out, "{:?}", report.counts)?;
    Ok(report.violations.is_empty())
}

fn run_all(out: &mut impl io::Write, arguments: &Arguments) -> io::Result<bool> {
    let processors = thread::available_parallelism().map_or(1, usize::from);
    let threads = arguments.threads.unwrap_or(processors).max(1);
    let next = AtomicU64::new(arguments.seed);
    let end = arguments.seed.saturating_add(arguments.schedules);
    let failed = AtomicBool::new(false);
    let found: Mutex<(Counts, Vec<(u64, String)>)> = Mutex::default();
    let begins = Instant::now();
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                let mut counts = Counts::default();
                while !failed.load(Ordering::Relaxed) {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end {
                        break;
                    }
                    let report = run(seed, false);
                    counts += report.counts;
                    if let Some(first) = report.violations.first() {
                        failed.store(true, Ordering::Relaxed);
                        let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                        found.1.push((seed, first.clone()));
                    }
                }
                found.lock().unwrap_or_else(PoisonError::into_inner).0 += counts;
            });
        }
    });
    let (counts, mut failures) = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let ran = next.into_inner().min(end) - arguments.seed;
    writeln!(out, "{ran} schedules in {:.1} s: {counts:?}", begins.elapsed().as_secs_f64())?;
    failures.sort();
    for (seed, violation) in &failures {
        writeln!(out, "seed {seed}: {violation}; see it with --seed {seed} --trace")?;
    }
    Ok(failures.is_empty())
}
