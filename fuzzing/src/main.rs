//! Runs one target or all of them.
#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "it is a program for the command line"
)]

use std::time::Duration;

#[tokio::main]
async fn main() {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let value = |name: &str| {
        let at = arguments.iter().position(|argument| argument == name)?;
        arguments.get(at + 1)?.parse::<u64>().ok()
    };
    let chosen = arguments.first().filter(|first| !first.starts_with('-'));
    let known = fuzzing::all();
    if chosen.is_some_and(|chosen| known.iter().all(|target| target.name != chosen)) {
        let names: Vec<_> = known.iter().map(|target| target.name).collect();
        eprintln!("targets: {}", names.join(", "));
        std::process::exit(1);
    }
    for target in known.iter().filter(|one| chosen.is_none_or(|chosen| one.name == chosen)) {
        // With a seed, that input only.
        let (seed, time) = match value("--seed") {
            Some(seed) => (seed, Duration::from_nanos(1)),
            None => (fastrand::u64(..), Duration::from_secs(value("--seconds").unwrap_or(10))),
        };
        let inputs = fuzzing::run(target, seed, time).await;
        println!("{}: {inputs} inputs", target.name);
    }
}
