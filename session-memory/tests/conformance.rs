//! The conformance suite on this store alone. Nothing but session-core and the suite is compiled for it, so
//! it is quick after a change of session-core, and `cargo mutants` uses it (docs/mutants.md).

use std::process::ExitCode;

use session_conformance::{Fixture, Harness};
use session_core::{Capabilities, Result, async_trait};
use session_memory::MemoryBackend;

struct Memory;

#[async_trait]
impl Harness for Memory {
    fn name(&self) -> &str {
        "memory"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn open(&self) -> Result<Fixture> {
        Ok(Fixture::new(MemoryBackend::new()))
    }
}

fn main() -> ExitCode {
    session_conformance::main([Box::new(Memory) as Box<dyn Harness>])
}
