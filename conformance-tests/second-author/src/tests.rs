//! Each fault shows, and does not show in the correct store.

mod shared;
mod singles;

use crate::{ALL, Fault};
use std::time::Duration;

/// Whether the probe of `probed` shows a violation in a store with the fault `fault`. Races depend on
/// the order of two futures, so a few attempts are allowed, each with a new store.
async fn shows(probed: Fault, fault: Fault) -> bool {
    for _ in 0..5 {
        let store = crate::Wrong::new(fault);
        let shows = match singles::shows(probed, &store).await {
            Some(shows) => shows,
            None => shared::shows(probed, &store).await,
        };
        if shows {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn each_fault_shows_and_only_there() {
    for fault in ALL {
        let limit = Duration::from_secs(2);
        let wrong = tokio::time::timeout(limit, shows(fault, fault)).await;
        assert!(wrong.expect("a fault shows within two seconds"), "{fault:?} does not show");
        assert!(!shows(fault, Fault::None).await, "{fault:?} shows in the correct store");
    }
}

/// A fault that also shows with the probe of another one would be two faults.
#[tokio::test]
async fn faults_are_different() {
    for fault in ALL {
        for probed in ALL.into_iter().filter(|probed| *probed != fault) {
            let waits = fault == Fault::DropLeavesLock || probed == Fault::RefusedButWritten;
            assert!(waits || !shows(probed, fault).await, "{fault:?} shows as {probed:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_fault_shows_on_two_threads() {
    for fault in ALL {
        let wrong = tokio::spawn(shows(fault, fault)).await.expect("no panic");
        assert!(wrong, "{fault:?} does not show");
        let right = tokio::spawn(shows(fault, Fault::None)).await.expect("no panic");
        assert!(!right, "{fault:?} shows in the correct store");
    }
}
