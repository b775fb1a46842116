//! 25 wrong stores that were written from the contract alone, by an author who had not seen the suite. At that time
//! the suite rejected 19 of them. For the other six there are cases now.

mod backend;
mod list;
mod store;

use session_conformance::{Fixture, Harness, Outcome, cases, check};
use session_core::{Capabilities, Result, async_trait};
use tokio::task::JoinSet;

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
    let mut running = JoinSet::new();
    let mut failed = Vec::new();
    for name in cases() {
        if running.len() >= 8 {
            failed.extend(running.join_next().await.expect("some run").unwrap());
        }
        running.spawn(async move {
            match check(&Blind(Fault::None), name).await {
                Outcome::Failed(message) => Some(format!("{name}: {message}")),
                _ => None,
            }
        });
    }
    failed.extend(running.join_all().await.into_iter().flatten());
    assert_eq!(failed, Vec::<String>::new());
}

#[test]
fn there_are_25() {
    assert_eq!(ALL.len(), 25);
}
