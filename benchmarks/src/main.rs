//! Measures every backend beside its bare driver: `cargo run --release -p benchmarks -- --help`.

mod backends;
mod raw;

use std::time::Duration;

use bench_harness::{Args, Report};
use clap::Parser as _;
use indicatif::{ProgressBar, ProgressStyle};

fn main() -> std::io::Result<()> {
    let args = Args::parse();
    let mut report = Report::new(args.json.as_deref())?;
    let progress = ProgressBar::new_spinner();
    let style = ProgressStyle::with_template("{spinner} {elapsed} {pos} rows: {msg}");
    progress.set_style(style.expect("the template is correct"));
    progress.enable_steady_tick(Duration::from_millis(200));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?;
    runtime.block_on(backends::run(&args, &mut report, &progress));
    progress.finish_and_clear();
    Ok(())
}
