//! Tests of the store, in ten lines.

use session_conformance::{Fixture, Harness};
use session_core::{Capabilities, Result, async_trait};
use third_party_store::MapStore;

struct Map;

#[async_trait]
impl Harness for Map {
    fn name(&self) -> &str { "map" }
    fn capabilities(&self) -> Capabilities { Capabilities::default() }
    async fn open(&self) -> Result<Fixture> { Ok(Fixture::new(MapStore::default())) }
}

fn main() -> std::process::ExitCode {
    session_conformance::main([Box::new(Map) as Box<dyn Harness>])
}
