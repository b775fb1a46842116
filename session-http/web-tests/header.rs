//! The session id in a header, beside the cookie or in its place.

use crate::app::{SessionHeader, app, quiet, serve};
use crate::support::{Client, Probe, Reply};

async fn client(probe: &Probe, header: SessionHeader, only: bool) -> Client {
    let layer = quiet(probe.store());
    let layer = if only { layer.with_header_only(header) } else { layer.with_header(header) };
    Client::new(serve(app(layer)).await)
}

fn bearer(id: &str) -> (&'static str, String) {
    ("authorization", format!("Bearer {id}"))
}

async fn get(client: &Client, path: &str, (name, value): (&str, String)) -> Reply {
    client.send("GET", path, &[(name, value.as_str())]).await
}

/// As a cookie: a new id is sent once, a sign-in replaces it, a sign-out ends it, and no copy works afterwards.
#[tokio::test]
async fn a_client_without_cookies_signs_in_and_out() {
    for (header, name, response) in [
        (SessionHeader::bearer(), "authorization", "session-token"),
        (SessionHeader::named("X-Session").unwrap(), "x-session", "x-session"),
        (SessionHeader::bearer().with_response("x-new-id").unwrap(), "authorization", "x-new-id"),
    ] {
        for only in [false, true] {
            let probe = Probe::default();
            let client = client(&probe, header.clone(), only).await;
            let sent = |id: &str| {
                let scheme = if name == "authorization" { "Bearer " } else { "" };
                (name, format!("{scheme}{id}"))
            };
            let reply = get(&client, "/set/value/kept", sent("")).await;
            let first = reply.header(response).expect("a new id").to_owned();
            assert_eq!((reply.status, reply.set_cookie()), (200, None));
            assert_eq!(reply.header("cache-control"), Some("no-store"));
            let reply = get(&client, "/get/value", sent(&first)).await;
            assert_eq!((reply.text.as_str(), reply.header(response)), ("kept", None));

            let reply = get(&client, "/sign-in/ann", sent(&first)).await;
            let second = reply.header(response).expect("another id").to_owned();
            assert_ne!(first, second);
            assert_eq!(get(&client, "/get/value", sent(&first)).await.text, "nothing");
            assert_eq!(get(&client, "/get/user", sent(&second)).await.text, "ann");

            let reply = get(&client, "/logout", sent(&second)).await;
            assert_eq!((reply.header(response), reply.set_cookie()), (Some(""), None));
            let reply = get(&client, "/get/user", sent(&second)).await;
            assert_eq!((reply.text.as_str(), reply.header(response)), ("nothing", None));
        }
    }
}

/// Otherwise a script on a page could have the id of the cookie's session sent to it in a header.
#[tokio::test]
async fn a_request_with_the_header_has_no_cookie() {
    let probe = Probe::default();
    let client = client(&probe, SessionHeader::bearer(), false).await;
    let cookie = client.send("GET", "/sign-in/ann", &[]).await.session_cookie().unwrap();
    let cookie = format!("__Host-id={cookie}");
    let cookie = ("cookie", cookie.as_str());
    for authorization in ["Bearer", "Bearer x", "bearer ", &format!("Bearer {}", "A".repeat(43))] {
        let headers = [cookie, ("authorization", authorization)];
        for path in ["/get/user", "/state", "/extend", "/logout"] {
            let reply = client.send("GET", path, &headers).await;
            assert_ne!(reply.text, "ann");
            assert_eq!((reply.header("session-token"), reply.set_cookie()), (None, None), "{path}");
        }
        let reply = client.send("GET", "/set/value/own", &headers).await;
        let id = reply.header("session-token").expect("a session of its own").to_owned();
        assert_eq!(reply.set_cookie(), None);
        assert_eq!(get(&client, "/get/user", bearer(&id)).await.text, "nothing");
    }
    // Another scheme is none of ours.
    let headers = [cookie, ("authorization", "Basic YTpi")];
    assert_eq!(client.send("GET", "/get/user", &headers).await.text, "ann");
}

#[tokio::test]
async fn without_cookies_none_is_read_or_set() {
    let probe = Probe::default();
    let client = client(&probe, SessionHeader::bearer(), true).await;
    let reply = client.send("GET", "/sign-in/ann", &[]).await;
    assert_eq!(reply.set_cookie(), None);
    let id = reply.header("session-token").unwrap().to_owned();
    let cookie = format!("__Host-id={id}");
    assert_eq!(client.send("GET", "/get/user", &[("cookie", &cookie)]).await.text, "nothing");
    assert_eq!(get(&client, "/get/user", bearer(&id)).await.text, "ann");
}

#[tokio::test]
async fn caches_are_told_which_headers_matter() {
    let probe = Probe::default();
    for (only, fields) in [(false, "Cookie, authorization"), (true, "authorization")] {
        let client = client(&probe, SessionHeader::bearer(), only).await;
        let reply = client.send("GET", "/state", &[]).await;
        assert_eq!(reply.all("vary").join(", "), fields);
        assert!(client.send("GET", "/plain", &[]).await.all("vary").is_empty());
    }
}

/// A form of another site can't send the header.
#[tokio::test]
async fn a_post_with_the_header_is_kept_wherever_it_comes_from() {
    let probe = Probe::default();
    let client = client(&probe, SessionHeader::bearer(), false).await;
    let cross_site = ("sec-fetch-site", "cross-site");
    let reply = client.send("POST", "/post/x", &[cross_site, ("authorization", "Bearer")]).await;
    assert!(reply.header("session-token").is_some());
    assert_eq!(client.send("POST", "/post/x", &[cross_site]).await.set_cookie(), None);
}

/// A failed request and an outage leave the client its id.
#[tokio::test]
async fn a_failure_sends_no_id() {
    let probe = Probe::default();
    let client = client(&probe, SessionHeader::bearer(), false).await;
    let reply = client.send("GET", "/login/ann", &[("authorization", "Bearer")]).await;
    let id = reply.header("session-token").unwrap().to_owned();
    for (path, status) in [("/fail/login", 500), ("/fail/set/x", 500)] {
        let reply = get(&client, path, bearer(&id)).await;
        assert_eq!((reply.status, reply.header("session-token")), (status, None), "{path}");
    }
    assert_eq!(get(&client, "/get/user", bearer(&id)).await.text, "ann");
}
