//! Outages of the store, handlers that fail, and clients that disconnect.

use std::time::Duration;

use session_core::{Config, ErrorKind};

use crate::app::{
    DROPS_HANDLERS, Slow, app_with, app_without_a_layer, page_of_failed_save, quiet, serve, start,
};
use crate::support::{Client, Probe, eventually};

/// axum_session ignores a read error and overwrites the record with an empty one. In glimr a failed load
/// looks like an empty session.
#[tokio::test]
async fn axum_session_glimr_an_outage_is_503_and_never_an_empty_session() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/set/value/precious").await;
    probe.fail("all", ErrorKind::Unavailable);
    for path in ["/get/value", "/set/value/overwritten", "/count", "/logout", "/ask"] {
        let reply = client.get(path).await;
        assert_eq!(reply.status, 503, "{path}");
        assert_eq!(reply.set_cookie(), None, "the cookie is untouched");
        assert_eq!(reply.header("vary"), Some("Cookie"));
        assert_eq!(reply.header("cache-control"), Some("no-store"));
        assert!(!reply.text.contains("probe"), "no internals: {}", reply.text);
    }
    assert_eq!(client.get("/plain").await.status, 200, "it needs no session");
    assert_eq!(probe.calls().saves, 1, "only the first");
    probe.recover();
    assert_eq!(client.get("/get/value").await.text, "precious");
}

#[tokio::test]
async fn a_route_may_run_without_a_session_but_its_writes_are_refused() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/set/value/precious").await;
    let usual = client.get("/optional").await;
    assert_eq!(usual.text, "available: true, value: Some(\"precious\")");
    probe.fail("all", ErrorKind::Unavailable);
    let reply = client.get("/optional").await;
    assert_eq!((reply.status, &*reply.text), (200, "available: false, value: None"));
    assert_eq!(reply.set_cookie(), None);
    assert_eq!(reply.header("vary"), Some("Cookie"));
    assert_eq!(client.get("/optional/set/lost").await.status, 503, "never silently lost");
    probe.recover();
    assert_eq!(client.get("/get/value").await.text, "precious");
    client.get("/optional/set/written").await;
    assert_eq!(client.get("/get/value").await.text, "written");
}

#[tokio::test]
async fn a_save_that_fails_replaces_the_response() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/set/value/x").await;
    for (kind, status) in [(ErrorKind::Unavailable, 503), (ErrorKind::Other, 500)] {
        probe.fail("save", kind);
        let reply = client.get("/set/value/y").await;
        assert_eq!((reply.status, reply.set_cookie()), (status, None));
        assert_eq!(reply.text, page_of_failed_save(status));
        assert_eq!(reply.header("vary"), Some("Cookie"));
    }
    probe.recover();
    assert_eq!(client.get("/get/value").await.text, "x");
    let reply = client.get("/too-large").await;
    assert_eq!((reply.status, reply.set_cookie()), (500, None));
    assert_eq!(client.get("/get/value").await.text, "x");
}

/// The response of a handler that only read the session is correct, even if the renewal fails.
#[tokio::test]
async fn a_renewal_that_fails_leaves_the_response_and_the_cookie_alone() {
    let probe = Probe::default();
    let config =
        Config::default().lifetime(None).idle_timeout(Duration::from_secs(7200)).renew_after(0.0);
    let store = probe.store().with_config(config).unwrap();
    let mut client = Client::new(serve(app_with(quiet(store), Slow::default())).await);
    client.get("/set/value/x").await;
    for kind in [ErrorKind::Unavailable, ErrorKind::Other] {
        probe.fail("touch", kind);
        tokio::time::sleep(Duration::from_millis(5)).await;
        probe.calls();
        let reply = client.get("/get/value").await;
        assert_eq!(probe.calls().touches, 1, "it was due");
        assert_eq!((reply.status, &*reply.text, reply.set_cookie()), (200, "x", None));
        assert_eq!(client.get("/optional").await.status, 200);
        assert_eq!(
            client.get("/extend").await.status / 100,
            5,
            "an explicit renewal is not lost silently"
        );
    }
    probe.recover();
    tokio::time::sleep(Duration::from_millis(5)).await;
    assert!(client.get("/get/value").await.set_cookie().is_some(), "renewed by the next request");
}

#[tokio::test]
async fn a_logout_that_fails_is_not_reported_as_done() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/login/ann").await;
    probe.fail("destroy", ErrorKind::Unavailable);
    let reply = client.get("/logout").await;
    assert_eq!((reply.status, reply.set_cookie()), (503, None));
    probe.recover();
    assert_eq!(client.get("/get/user").await.text, "ann", "still logged in, and the client knows");
}

/// tower-sessions: `cycle_id` and a 5xx lose the session.
#[tokio::test]
async fn tower_sessions_cycle_id_and_a_5xx_keep_the_old_session() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/set/value/x").await;
    let reply = client.get("/fail/login").await;
    assert_eq!((reply.status, reply.set_cookie()), (500, None));
    assert_eq!(client.get("/get/value").await.text, "x");
    assert_eq!(client.get("/get/user").await.text, "nothing");
}

#[tokio::test]
async fn a_5xx_keeps_no_change_except_a_logout() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    assert_eq!(client.get("/fail/set/x").await.set_cookie(), None);
    assert_eq!(probe.sessions(), 0);
    client.get("/set/value/kept").await;
    let reply = client.get("/fail/set/unwanted").await;
    assert_eq!((reply.status, &*reply.text), (500, "the handler's page"));
    assert_eq!(client.get("/get/value").await.text, "kept");
    probe.fail("destroy", ErrorKind::Unavailable);
    let reply = client.get("/fail/logout").await;
    assert_eq!((reply.status, &*reply.text, reply.set_cookie()), (502, "the handler's page", None));
    probe.recover();
    assert_eq!(client.get("/get/value").await.text, "kept");
    let reply = client.get("/fail/logout").await;
    assert_eq!((reply.status, &*reply.text), (502, "the handler's page"));
    assert_eq!(reply.session_cookie().as_deref(), Some(""), "removed");
    assert_eq!(probe.sessions(), 0);
}

/// A time limit inside the layer cancels the handler after half of its changes.
#[tokio::test]
async fn a_408_keeps_no_change_except_a_logout() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/set/value/whole").await;
    let reply = client.get("/half").await;
    assert_eq!((reply.status, reply.set_cookie()), (408, None));
    assert_eq!(client.get("/get/value").await.text, "whole");
    let reply = client.get("/half-a-logout").await;
    assert_eq!((reply.status, reply.session_cookie().as_deref()), (408, Some("")));
    assert_eq!(probe.sessions(), 0);
}

#[tokio::test]
async fn a_handler_that_panics_after_a_logout_has_logged_out() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/login/ann").await;
    let url = format!("http://{}/panic/logout", client.address());
    let cookie = format!("__Host-id={}", client.cookie.clone().unwrap());
    let lost = reqwest::Client::new().get(url).header("cookie", cookie).send().await;
    assert!(lost.is_err(), "the connection ends");
    eventually(|| probe.sessions() == 0).await;
}

/// If the client disconnects while its logout is carried out, the logout is completed.
#[tokio::test]
async fn a_dropped_request_completes_its_save() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/login/ann").await;
    let gate = probe.gate();
    let mut leaving = client.clone();
    let request = tokio::spawn(async move { leaving.get("/logout").await });
    gate.reached.notified().await;
    request.abort();
    assert!(request.await.unwrap_err().is_cancelled());
    tokio::time::sleep(Duration::from_millis(100)).await; // the server notices
    assert_eq!(probe.sessions(), 1);
    gate.open.notify_one();
    eventually(|| probe.sessions() == 0).await;
    assert_eq!(client.get("/get/user").await.text, "nothing");
}

/// A request that is dropped while its handler runs changes nothing. A framework that does not drop it runs it to its
/// end.
#[tokio::test]
async fn a_dropped_handler_keeps_nothing_and_later_requests_work() {
    let probe = Probe::default();
    let slow = Slow::default();
    let router = app_with(quiet(probe.store()), slow.clone());
    let mut client = Client::new(serve(router).await);
    client.get("/set/value/kept").await;
    let mut leaving = client.clone();
    let request = tokio::spawn(async move { leaving.get("/slow/lost").await });
    slow.reached.notified().await;
    request.abort();
    tokio::time::sleep(Duration::from_millis(100)).await;
    slow.go_on.notify_one();
    tokio::time::sleep(Duration::from_millis(50)).await;
    let value = client.get("/get/value").await.text;
    assert_eq!(value, if DROPS_HANDLERS { "kept" } else { "lost" });
    client.get("/set/value/later").await;
    assert_eq!(client.get("/get/value").await.text, "later");
}

#[tokio::test]
async fn a_missing_layer_is_a_500_that_the_log_explains() {
    let client = Client::new(serve(app_without_a_layer()).await);
    assert_eq!(client.get_with("/ask", None).await.status, 500);
}

#[tokio::test]
async fn an_outage_says_when_to_try_again() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/set/value/x").await;
    for failing in ["load", "save"] {
        probe.fail(failing, ErrorKind::Unavailable);
        let reply = client.get("/set/value/y").await;
        assert_eq!((reply.status, reply.header("retry-after")), (503, Some("1")), "{failing}");
    }
    probe.fail("save", ErrorKind::Other);
    let reply = client.get("/set/value/y").await;
    assert_eq!((reply.status, reply.header("retry-after")), (500, None));
}
