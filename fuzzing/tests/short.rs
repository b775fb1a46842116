//! A second for each target.

use std::time::Duration;

#[tokio::test]
async fn each_target_for_a_second() {
    for target in fuzzing::all() {
        let inputs = fuzzing::run(&target, fastrand::u64(..), Duration::from_secs(1)).await;
        assert!(inputs > 10, "{target:?}: {inputs}");
    }
}
