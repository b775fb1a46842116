//! Measures what a web layer costs a request, in process and with sessions in memory: the bare application,
//! this project, and tower-sessions or actix-session, in turns of a tenth of the time.
//!
//! `cargo run --release --manifest-path benchmarks/layers/Cargo.toml -- --seconds 5`

mod on_actix;
mod on_axum;

use std::time::Duration;

use clap::Parser;

#[derive(Parser)]
struct Args {
    /// How long each application is measured with each operation.
    #[arg(long, default_value_t = 5.0)]
    seconds: f64,
    /// Runs only this request of axum with one task, and only on this project: for profilers.
    #[arg(long)]
    profile: Option<Operation>,
}

/// What a request does to its session. Each has a cookie.
#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Operation {
    /// Nothing.
    Unused,
    /// Reads one value.
    Read,
    /// Writes one value.
    Write,
}

impl Operation {
    pub(crate) const ALL: [Self; 3] = [Self::Unused, Self::Read, Self::Write];

    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Unused => "/unused",
            Self::Read => "/read",
            Self::Write => "/write",
        }
    }
}

/// The requests of one application.
#[derive(Clone, Copy, Default)]
pub(crate) struct Count {
    pub(crate) requests: u64,
    pub(crate) time: Duration,
}

impl Count {
    pub(crate) fn add(&mut self, other: Self) {
        self.requests += other.requests;
        self.time += other.time;
    }

    fn per_second(self) -> f64 {
        self.requests as f64 / self.time.as_secs_f64()
    }
}

/// How many turns each application has.
pub(crate) const TURNS: u32 = 10;

pub(crate) fn print(operation: Operation, tasks: usize, counts: [Count; 3]) {
    let [bare, ours, theirs] = counts.map(Count::per_second);
    // With one task, the time of a request is the inverse.
    let more = (tasks == 1).then(|| format!("{:.2}", (1.0 / ours - 1.0 / bare) * 1e6));
    println!(
        "| {} | {tasks} | {bare:.0} | {ours:.0} | {theirs:.0} | {:.2} | {} |",
        operation.path(),
        ours / theirs,
        more.unwrap_or_default(),
    );
}

pub(crate) fn head(peer: &str) {
    println!("\n| request | tasks | bare/s | ours/s | {peer}/s | ours to {peer} | ours to bare, µs more |");
    println!("|---|--:|--:|--:|--:|--:|--:|");
}

fn main() {
    let args = Args::parse();
    let turn = Duration::from_secs_f64(args.seconds / f64::from(TURNS));
    if let Some(operation) = args.profile {
        return on_axum::profile(operation, turn * TURNS);
    }
    on_axum::run(turn);
    on_actix::run(turn);
}
