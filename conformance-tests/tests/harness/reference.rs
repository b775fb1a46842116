//! The plain store that the self check breaks: the suite must pass on it before a break counts.

use conformance_tests::{Fixture, Harness};
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
        Ok(Fixture::new(Reference::new()))
    }
}
