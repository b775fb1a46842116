//! Runs the suite on the correct store and on each wrong one, and says which cases reject it.
//!
//!     cargo test --release --test suite -- --nocapture

use second_author::{ALL, Fault, Wrong};
use session_conformance::{Fixture, Harness, Outcome, cases, check};
use session_core::{Capabilities, Result, async_trait};
use tokio::task::JoinSet;

#[derive(Debug, Clone, Copy)]
struct Second(Fault);

#[async_trait]
impl Harness for Second {
    fn name(&self) -> &str {
        "second"
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

/// The cases that reject the store, with their messages.
async fn rejections(fault: Fault) -> Vec<String> {
    let (mut running, mut failed) = (JoinSet::new(), Vec::new());
    for name in cases() {
        if running.len() >= 8 {
            failed.extend(
                running.join_next().await.expect("some case runs").expect("no case panics"),
            );
        }
        running.spawn(async move {
            match check(&Second(fault), name).await {
                Outcome::Failed(message) => Some(format!("{name}: {message}")),
                _ => None,
            }
        });
    }
    failed.extend(running.join_all().await.into_iter().flatten());
    failed
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn the_correct_store_passes() {
    assert_eq!(rejections(Fault::None).await, Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 8)]
async fn the_wrong_stores_are_rejected() {
    let mut survivors = Vec::new();
    for fault in ALL {
        let failed = rejections(fault).await;
        match failed.first() {
            Some(first) => println!("{fault:?}: {} cases, {first}", failed.len()),
            None => survivors.push(fault),
        }
    }
    assert_eq!(survivors, []);
}
