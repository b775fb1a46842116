//! The deadline of an operation.

use std::sync::atomic::Ordering;
use std::time::Duration;

use session_core::{ErrorKind, Saved};
use tokio::time::timeout;

use crate::support::{config, increment, stored, with_config};

#[tokio::test]
async fn every_operation_ends_within_the_deadline_of_a_silent_store() {
    let (backend, store) = with_config(config().deadline(Duration::from_millis(200)));
    let (cookie, session) = stored(&store).await;
    let (_, rotated) = stored(&store).await;
    increment(&session);
    rotated.regenerate();
    backend.silent.store(true, Ordering::SeqCst);
    let long_after = Duration::from_secs(2);
    let outcomes = [
        timeout(long_after, store.load(&cookie)).await.map(|load| load.unwrap_err().kind()),
        timeout(long_after, store.save(&session)).await.map(|save| save.unwrap_err().kind()),
        timeout(long_after, store.save(&rotated)).await.map(|save| save.unwrap_err().kind()),
        timeout(long_after, store.destroy(&session)).await.map(|end| end.unwrap_err().kind()),
        timeout(long_after, store.is_alive(&rotated)).await.map(|alive| alive.unwrap_err().kind()),
    ];
    assert_eq!(outcomes, [const { Ok(ErrorKind::Unavailable) }; 5]);
}

/// A test of an application may pause tokio's clock and advance it.
#[tokio::test(start_paused = true)]
async fn an_advanced_clock_ends_no_operation_early() {
    let (backend, store) = with_config(config());
    let (_, session) = stored(&store).await;
    increment(&session);
    tokio::time::advance(Duration::from_secs(3600)).await;
    // Long enough for a deadline in the past to be noticed first.
    backend.before("save", 1, tokio::time::sleep(Duration::from_millis(50)));
    backend.take_calls();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(backend.take_calls(), ["save"]);
}
