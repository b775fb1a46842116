//! session-memory.

use session_conformance::{Fixture, Harness};
use session_core::{Capabilities, Result, async_trait};
use session_memory::MemoryBackend;

pub(crate) fn harnesses() -> Vec<Box<dyn Harness>> {
    vec![Box::new(Memory)]
}

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
