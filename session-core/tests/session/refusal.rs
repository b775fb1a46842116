//! Writes that the store refuses, writes whose outcome is not known, and what each of them costs.

use std::sync::atomic::Ordering;

use crate::faulty::Fault;
use crate::support::{increment, n, store, stored};
use session_core::Saved;

#[tokio::test]
async fn a_write_that_a_driver_sent_twice_is_applied_once_though_the_store_cant_be_asked() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    increment(&session);
    backend.fail(&[Fault::SentTwice]);
    backend.failing_loads.store(1, Ordering::SeqCst);
    store.save(&session).await.unwrap_err();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 1);
}
