//! Values whose type changed in a deploy. The handlers of `app.rs` read a text as a number.

use crate::app::start;
use crate::support::Probe;

#[tokio::test]
async fn a_handler_that_does_not_expect_another_type_is_500_and_loses_nothing() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/set/value/old").await;
    assert_eq!(client.get("/number").await.status, 500);
    assert_eq!(client.get("/get/value").await.text, "old");
}

#[tokio::test]
async fn what_a_handler_removes_in_answer_to_another_type_is_kept() {
    for (path, then) in [("/number-or-remove", "0"), ("/number-or-remove/add", "1")] {
        let probe = Probe::default();
        let mut client = start(&probe).await;
        client.get("/set/value/old").await;
        client.get("/set/other/kept").await;
        let reply = client.get(path).await;
        assert_eq!((reply.status, &*reply.text), (200, then), "{path}");
        // No handler meets the old value again.
        let reply = client.get("/number").await;
        assert_eq!((reply.status, &*reply.text), (200, then), "{path}");
        assert_eq!(client.get("/get/other").await.text, "kept", "{path}");
    }
}
