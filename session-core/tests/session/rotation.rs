//! A new id for a session: two writes, the new record and the tombstone, and everything that can
//! happen between and around them.

use std::time::Duration;

use std::sync::atomic::Ordering;

use crate::faulty::Fault;
use crate::support::{load, n, store, stored, with_config};
use session_core::{Config, Owner, Saved};

#[tokio::test]
async fn the_tombstone_of_a_session_that_was_destroyed_meanwhile_lasts_as_long_as_any() {
    let (backend, store) = with_config(Config::default());
    let (old, session) = stored(&store).await;
    let elsewhere = load(&store, &old).await;
    session.sign_in(Owner::new("alice").unwrap());
    let same = session.clone();
    backend.after("save", 1, async move { same.destroy() });
    // The application's destruction never gets that far, but another logout does.
    backend.before("destroy", 1, std::future::pending());
    let save = tokio::time::timeout(Duration::from_millis(50), store.save(&session));
    save.await.unwrap_err();
    assert_eq!((backend.len(), backend.tombstones()), (1, 1));
    store.destroy(&elsewhere).await.unwrap();
    assert_eq!(backend.len(), 0, "alive after a logout with the old id");
}

#[tokio::test]
async fn a_tombstone_that_arrives_after_its_rotation_was_discarded_ends_no_session() {
    let (backend, store) = store();
    let (old, session) = stored(&store).await;
    session.regenerate();
    backend.fail(&[Fault::None, Fault::Late]);
    backend.failing_loads.store(1, Ordering::SeqCst);
    store.save(&session).await.unwrap_err();
    session.discard_changes();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert!(!backend.arrive(), "the session moved to an id that nobody has");
    assert_eq!((n(&store, &old).await, backend.len()), (0, 1));
    session.insert("n", 1).unwrap();
    backend.take_calls();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(backend.take_calls(), ["save"]);
}
