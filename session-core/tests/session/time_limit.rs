//! Stores that see to the time limit themselves, and those that only say so.

use std::sync::atomic::Ordering;
use std::time::Duration;

use session_core::{ErrorKind, Saved};
use tokio::time::timeout;

use crate::support::{config, increment, stored, with_config};

const DEADLINE: Duration = Duration::from_millis(200);
const LONG_AFTER: Duration = Duration::from_secs(2);

/// Of a store that says nothing any more and promised to say something in time.
async fn kinds(promised: Duration) -> [Option<ErrorKind>; 4] {
    let (backend, store) = with_config(config().deadline(DEADLINE));
    let (cookie, session) = stored(&store).await;
    let (_, rotated) = stored(&store).await;
    increment(&session);
    rotated.regenerate();
    backend.silent.store(true, Ordering::SeqCst);
    *backend.time_limit.lock().unwrap() = Some(promised);
    let load = timeout(LONG_AFTER, store.load(&cookie)).await;
    let save = timeout(LONG_AFTER, store.save(&session)).await;
    let rotate = timeout(LONG_AFTER, store.save(&rotated)).await;
    let destroy = timeout(LONG_AFTER, store.destroy(&session)).await;
    [
        load.ok().map(|load| load.unwrap_err().kind()),
        save.ok().map(|save| save.unwrap_err().kind()),
        rotate.ok().map(|save| save.unwrap_err().kind()),
        destroy.ok().map(|destroy| destroy.unwrap_err().kind()),
    ]
}

#[tokio::test]
async fn a_promise_that_keeps_to_the_deadline_is_trusted() {
    // A save has half of the time, and the other half to find out what became of it. A logout may
    // wait for more.
    let [load, save, rotation, destroy] = kinds(DEADLINE / 2 - Duration::from_millis(20)).await;
    assert_eq!((load, save, rotation), (None, None, None));
    assert_eq!(destroy, Some(ErrorKind::Unavailable));
}

#[tokio::test]
async fn a_promise_beyond_the_deadline_changes_nothing() {
    assert_eq!(kinds(DEADLINE * 2).await, [Some(ErrorKind::Unavailable); 4]);
}

/// An application's test may stop tokio's clock and move it on.
#[tokio::test(start_paused = true)]
async fn a_clock_that_was_moved_on_ends_nothing_early() {
    let (backend, store) = with_config(config());
    let (_, session) = stored(&store).await;
    increment(&session);
    tokio::time::advance(Duration::from_secs(3600)).await;
    // Long enough that the deadline, were it in the past, would be seen first.
    backend.before("save", 1, tokio::time::sleep(Duration::from_millis(50)));
    backend.take_calls();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(backend.take_calls(), ["save"]);
}
