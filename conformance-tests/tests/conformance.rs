//! Runs the suite on every store of this workspace.

use std::process::ExitCode;

mod harness;
mod support;

fn main() -> ExitCode {
    session_conformance::main(harness::all())
}
