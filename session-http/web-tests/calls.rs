//! The number of store calls.

use std::time::Duration;

use session_core::Config;

use crate::app::{app, quiet, serve, start};
use crate::support::{Calls, Client, Probe};

const NONE: Calls = Calls { loads: 0, saves: 0, touches: 0, destroys: 0 };

#[tokio::test]
async fn a_request_that_does_not_ask_costs_nothing() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/set/value/x").await;
    probe.calls();
    let reply = client.get("/plain").await;
    assert_eq!(probe.calls(), NONE);
    assert_eq!(reply.text, "plain");
    assert_eq!(reply.header("vary"), None);
    assert_eq!(reply.set_cookie(), None);
}

#[tokio::test]
async fn a_read_costs_one_call_and_a_write_one_more() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/set/value/x").await;
    assert_eq!(probe.calls(), Calls { saves: 1, ..NONE }, "create");
    client.get("/get/value").await;
    assert_eq!(probe.calls(), Calls { loads: 1, ..NONE }, "read");
    client.get("/ask").await;
    assert_eq!(probe.calls(), Calls { loads: 1, ..NONE }, "asked, not used");
    client.get("/set/value/y").await;
    assert_eq!(probe.calls(), Calls { loads: 1, saves: 1, ..NONE }, "read and write");
    client.get("/login/ann").await;
    assert_eq!(probe.calls(), Calls { loads: 1, saves: 2, ..NONE }, "a new id");
    client.get("/logout").await;
    assert_eq!(probe.calls(), Calls { loads: 1, destroys: 1, ..NONE }, "destroy");
}

/// connect-redis #373, and a session for every anonymous hit (axum_session).
#[tokio::test]
async fn connect_redis_373_no_cookie_no_call_axum_session_no_session_for_an_anonymous_hit() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    for path in ["/get/value", "/state", "/ask", "/logout", "/extend"] {
        let reply = client.get(path).await;
        assert_eq!(reply.status, 200);
        assert_eq!(reply.set_cookie(), None, "{path}");
    }
    assert_eq!(probe.calls(), NONE);
    assert_eq!(probe.sessions(), 0);
}

#[tokio::test]
async fn sliding_costs_one_touch_per_renewal_window() {
    let probe = Probe::default();
    let config = Config::default().lifetime(None).idle_timeout(Duration::from_secs(20));
    let store = probe.store().with_config(config).unwrap();
    let mut client = Client::new(serve(app(quiet(store))).await);
    client.get("/set/value/x").await;
    probe.calls();
    for _ in 0..10 {
        assert_eq!(client.get("/get/value").await.set_cookie(), None);
    }
    assert_eq!(probe.calls(), Calls { loads: 10, ..NONE }, "within the first window");
    tokio::time::sleep(Duration::from_millis(2100)).await;
    let renewing = client.get("/get/value").await;
    assert!(renewing.set_cookie().unwrap().ends_with("; Max-Age=20"));
    for _ in 0..10 {
        assert_eq!(client.get("/get/value").await.set_cookie(), None);
    }
    assert_eq!(probe.calls(), Calls { loads: 11, touches: 1, ..NONE }, "the second window");
}

#[tokio::test]
async fn a_handler_that_asks_twice_loads_once() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/set/a/b").await;
    probe.calls();
    client.get("/both").await;
    assert_eq!(probe.calls(), Calls { loads: 1, ..NONE });
}
