//! How many backend calls each operation costs.

use crate::support::{cookie, increment, load, store, stored};
use session_core::{Owner, Saved, Session};

#[tokio::test]
async fn each_operation_costs_its_calls_and_no_more() {
    let (backend, store) = store();

    // A request that does not use its new session.
    let session = store.create();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert!(store.cookie_value(&session).is_none());
    assert_eq!(backend.take_calls(), [""; 0]);

    // A cookie value that is not an id.
    assert!(store.load("nonsense").await.unwrap().is_none());
    assert_eq!(backend.take_calls(), [""; 0]);

    // Create.
    let session = store.create();
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_eq!(backend.take_calls(), ["save"]);
    let old = cookie(&store, &session);

    // Read.
    let session = load(&store, &old).await;
    assert_eq!(session.get::<u32>("n").unwrap(), Some(1));
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert_eq!(backend.take_calls(), ["load"]);

    // Read and write, by `save` and by `store.update`.
    let session = load(&store, &old).await;
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(backend.take_calls(), ["load", "save"]);
    let session = load(&store, &old).await;
    let one_more = |n: Option<u32>| n.unwrap_or(0) + 1;
    assert_eq!(store.update(&session, "n", one_more).await.unwrap(), 3);
    assert_eq!(backend.take_calls(), ["load", "save"]);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert_eq!(backend.take_calls(), [""; 0]);

    // Sign-in: load, create, tombstone. Moving the values costs no further call.
    let session = load(&store, &old).await;
    session.sign_in(Owner::new("alice").unwrap());
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_eq!(backend.take_calls(), ["load", "save", "save"]);
    let new = cookie(&store, &session);

    // Logout: load, destroy.
    let session = load(&store, &new).await;
    store.destroy(&session).await.unwrap();
    assert_eq!(backend.take_calls(), ["load", "destroy"]);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert_eq!(backend.take_calls(), [""; 0]);
}

#[tokio::test]
async fn a_sign_in_of_a_new_visitor_is_one_create() {
    let (backend, store) = store();
    let session = store.create();
    increment(&session);
    session.sign_in(Owner::new("alice").unwrap());
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_eq!(backend.take_calls(), ["save"]);
}

#[tokio::test]
async fn a_logout_by_save_costs_the_same_and_a_late_logout_follows_the_tombstone() {
    let (backend, store) = store();
    let (_, session) = stored(&store).await;
    backend.take_calls();
    session.destroy();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Removed);
    assert_eq!(backend.take_calls(), ["destroy"]);

    let (old, session) = stored(&store).await;
    let other = load(&store, &old).await;
    other.regenerate();
    store.save(&other).await.unwrap();
    backend.take_calls();
    store.destroy(&session).await.unwrap();
    assert_eq!(backend.take_calls(), ["destroy", "load", "load", "destroy"]);
    assert_eq!(backend.len(), 0);
}

#[tokio::test]
async fn an_update_after_a_conflict_costs_one_more_load_and_write() {
    let (backend, store) = store();
    let (old, session) = stored(&store).await;
    let other = load(&store, &old).await;
    for session in [&session, &other] {
        increment(session);
        backend.take_calls();
        store.save(session).await.unwrap();
    }
    assert_eq!(backend.take_calls(), ["save", "load", "save"]);
    let session: Session = load(&store, &old).await;
    assert_eq!(session.get::<u32>("n").unwrap(), Some(2));
}
