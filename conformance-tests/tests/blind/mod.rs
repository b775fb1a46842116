//! 25 wrong stores that were written from the contract alone, by an author who had not seen the suite. At that time
//! the suite rejected 19 of them. For the other six there are cases now.

mod backend;
mod list;
mod store;

use session_conformance::{Fixture, Harness};
use session_core::{Capabilities, Result, async_trait};

use crate::failures;
pub(crate) use list::ALL;
use list::Fault;
use store::Wrong;

#[derive(Debug, Clone, Copy)]
pub(crate) struct Blind(pub(crate) Fault);

#[async_trait]
impl Harness for Blind {
    fn name(&self) -> &str {
        "blind"
    }

    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }

    async fn open(&self) -> Result<Fixture> {
        let store = Wrong::new(self.0);
        Ok(Fixture::connecting(move || {
            let same = store.clone();
            async move { Ok(same) }
        }))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn the_store_without_a_fault_passes() {
    assert_eq!(failures(Blind(Fault::None)).await, Vec::<String>::new());
}

#[test]
fn there_are_25() {
    assert_eq!(ALL.len(), 25);
}
