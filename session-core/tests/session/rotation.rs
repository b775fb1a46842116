//! A new id for a session: two writes, the new record and the tombstone, and everything that can
//! happen between and around them.

use std::time::Duration;

use crate::support::{load, stored, with_config};
use session_core::{Config, Owner};

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
