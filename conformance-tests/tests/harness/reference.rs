//! The correct store from which the broken ones are derived: it must pass the suite.

use std::sync::Arc;

use session_conformance::{Fixture, Harness};
use session_core::{Capabilities, Result, async_trait};

use crate::support::reference::{CLAIMS, Reference};

pub(crate) fn harnesses() -> Vec<Box<dyn Harness>> {
    vec![Box::new(Plain)]
}

struct Plain;

#[async_trait]
impl Harness for Plain {
    fn name(&self) -> &str {
        "reference"
    }

    fn capabilities(&self) -> Capabilities {
        CLAIMS
    }

    async fn open(&self) -> Result<Fixture> {
        let store = Reference::new();
        let dumped = Arc::clone(&store);
        Ok(Fixture::new(store).dumping(move || {
            let dump = dumped.dump();
            async move { Ok(dump) }
        }))
    }
}
