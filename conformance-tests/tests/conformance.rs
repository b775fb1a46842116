//! Runs the suite on every store of this workspace.

use std::process::ExitCode;

mod harness;
mod support;

fn main() -> ExitCode {
    conformance_tests::main(harness::all())
}
