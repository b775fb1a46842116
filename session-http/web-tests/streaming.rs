//! What a streaming body writes to the session, after the head of the response was sent.

use session_core::SessionStore;

use crate::app::{Slow, app_with, quiet, serve};
use crate::support::{Client, Probe, Reply, eventually};

struct Stream {
    probe: Probe,
    slow: Slow,
    client: Client,
}

impl Stream {
    async fn start() -> Self {
        let probe = Probe::default();
        Self::over(probe.store(), probe).await
    }

    async fn over(store: SessionStore, probe: Probe) -> Self {
        let slow = Slow::default();
        let client = Client::new(serve(app_with(quiet(store), slow.clone())).await);
        Self { probe, slow, client }
    }

    /// A response whose body does this before it ends.
    async fn stream(&self, path: &str, cookie: Option<&str>) -> Reply {
        let (reply, ()) = tokio::join!(self.client.get_with(path, cookie), async {
            self.slow.reached.notified().await;
            self.slow.go_on.notify_one();
        });
        reply
    }

    async fn cookie(&mut self) -> String {
        self.client.get("/set/value/before").await;
        self.probe.calls();
        format!("__Host-id={}", self.client.cookie.clone().unwrap())
    }

    async fn value(&self, cookie: &str) -> String {
        self.client.get_with("/get/value", Some(cookie)).await.text
    }
}

/// The head has been sent, but the client has its cookie already.
#[tokio::test]
async fn a_change_of_a_stored_session_is_saved_when_the_body_ends() {
    for path in ["/stream/set", "/stream/ask-and-set"] {
        let mut stream = Stream::start().await;
        let cookie = stream.cookie().await;
        let reply = stream.stream(path, Some(&cookie)).await;
        assert_eq!(
            (reply.status, reply.text.as_str(), reply.set_cookie()),
            (200, "beginend", None)
        );
        eventually(|| stream.probe.calls().saves == 1).await;
        assert_eq!(stream.value(&cookie).await, "streamed", "{path}");
    }
}

#[tokio::test]
async fn a_change_is_saved_also_when_the_client_disconnects_from_the_stream() {
    let mut stream = Stream::start().await;
    let cookie = stream.cookie().await;
    let url = format!("http://{}/stream/set-and-go-on", stream.client.address());
    let mut response =
        reqwest::Client::new().get(url).header("cookie", &cookie).send().await.unwrap();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "begin");
    stream.slow.go_on.notify_one();
    assert_eq!(response.chunk().await.unwrap().unwrap(), "changed");
    drop(response);
    eventually(|| stream.probe.calls().saves == 1).await;
    assert_eq!(stream.value(&cookie).await, "streamed");
}

/// The client can't get the cookie of a session that begins, nor a new id. A sign-out is carried out.
#[tokio::test]
async fn what_needs_another_cookie_is_not_stored() {
    let mut stream = Stream::start().await;
    for path in ["/stream/set", "/stream/ask-and-set"] {
        assert_eq!(stream.stream(path, None).await.set_cookie(), None);
    }
    assert_eq!(stream.probe.sessions(), 0);
    let cookie = stream.cookie().await;
    assert_eq!(stream.stream("/stream/regenerate", Some(&cookie)).await.set_cookie(), None);
    assert_eq!(stream.value(&cookie).await, "before", "the id is the same, and the change is lost");
    stream.stream("/stream/destroy", Some(&cookie)).await;
    eventually(|| stream.probe.sessions() == 0).await;
}

#[tokio::test]
async fn a_body_that_changes_nothing_costs_nothing() {
    let mut stream = Stream::start().await;
    let cookie = stream.cookie().await;
    stream.client.get_with("/plain", Some(&cookie)).await;
    assert_eq!(stream.stream("/stream/read", Some(&cookie)).await.text, "beginend");
    tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    let calls = stream.probe.calls();
    assert_eq!((calls.loads, calls.saves, calls.touches, calls.destroys), (1, 0, 0, 0));
}
