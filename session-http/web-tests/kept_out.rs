//! Requests whose changes are not stored: HEAD, prefetches, and requests of other sites without a cookie.

use crate::app::{app, quiet, serve, start};
use crate::support::{Client, Probe};

const PREFETCH: (&str, &str) = ("sec-purpose", "prefetch;prerender");
const CROSS_SITE: (&str, &str) = ("sec-fetch-site", "cross-site");

/// axum routes HEAD to the handler of GET, and browsers prefetch links, also that of a sign-out.
#[tokio::test]
async fn head_and_prefetches_change_nothing() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/set/value/kept").await;
    let cookie = format!("__Host-id={}", client.cookie.clone().unwrap());
    probe.calls();
    for path in ["/set/value/lost", "/login/ann", "/sign-in/ann", "/logout", "/clear", "/extend"] {
        let cookie = ("cookie", cookie.as_str());
        for (method, headers) in [("HEAD", &[cookie][..]), ("GET", &[cookie, PREFETCH])] {
            let reply = client.send(method, path, headers).await;
            assert_eq!((reply.status, reply.set_cookie()), (200, None), "{method} {path}");
            assert_eq!(reply.header("vary"), Some("Cookie"), "{method} {path}");
        }
    }
    let calls = probe.calls();
    assert_eq!((calls.saves, calls.touches, calls.destroys), (0, 0, 0));
    assert_eq!(client.get("/get/value").await.text, "kept");
    // Without a cookie, either.
    for (method, headers) in [("HEAD", &[][..]), ("GET", &[PREFETCH])] {
        assert_eq!(client.send(method, "/set/value/lost", headers).await.set_cookie(), None);
    }
    assert_eq!(probe.sessions(), 1);
}

#[tokio::test]
async fn a_panic_after_a_prefetched_logout_ends_no_session() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/login/ann").await;
    let cookie = format!("__Host-id={}", client.cookie.clone().unwrap());
    let url = format!("http://{}/panic/logout", client.address());
    let request = reqwest::Client::new().get(url).header("cookie", cookie);
    assert!(request.header(PREFETCH.0, PREFETCH.1).send().await.is_err());
    tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    assert_eq!(probe.sessions(), 1);
}

/// With `SameSite=Lax`, a form of another site arrives without the cookie of the visitor's live session.
#[tokio::test]
async fn a_post_of_another_site_without_a_cookie_does_not_replace_the_cookie() {
    let probe = Probe::default();
    let client = start(&probe).await;
    let reply = client.send("POST", "/post/x", &[CROSS_SITE]).await;
    assert_eq!((reply.status, reply.set_cookie()), (200, None));
    assert_eq!(probe.sessions(), 0);
    // Those of the same site, of other clients, and with a cookie (SameSite=None) are stored.
    let cookie = client.send("POST", "/post/x", &[]).await.session_cookie().unwrap();
    let cookie = format!("__Host-id={cookie}");
    for site in ["same-origin", "same-site", "none"] {
        let reply = client.send("POST", "/post/x", &[("sec-fetch-site", site)]).await;
        assert!(reply.set_cookie().is_some(), "{site}");
    }
    client.send("POST", "/post/y", &[CROSS_SITE, ("cookie", &cookie)]).await;
    assert_eq!(client.get_with("/get/value", Some(&cookie)).await.text, "y");
    // A navigation to a page, as from a search engine.
    let reply = client.get_with_headers("/set/value/z", &[CROSS_SITE]).await;
    assert!(reply.set_cookie().is_some());
}

/// SAML and Sign in with Apple send the answer as a form of their site.
#[tokio::test]
async fn a_layer_may_allow_posts_of_other_sites() {
    let probe = Probe::default();
    let layer = quiet(probe.store()).with_cross_site_writes();
    let client = Client::new(serve(app(layer)).await);
    let reply = client.send("POST", "/post/x", &[CROSS_SITE]).await;
    assert!(reply.set_cookie().is_some());
    assert_eq!(probe.sessions(), 1);
}
