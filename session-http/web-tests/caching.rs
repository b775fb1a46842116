//! Headers for caches.

use crate::app::{serve, start};
use crate::caching_app::{Access, accessing, cached_page};
use crate::support::{Client, Probe};

/// Flask CVE-2023-30861 and CVE-2026-27205: every access to the session counts, not only reading a value.
#[tokio::test]
async fn flask_cve_2023_30861_every_accessor_sets_vary() {
    let probe = Probe::default();
    let accessors: [(&str, Access); 14] = [
        ("/get", |session| drop(session.get::<String>("a").unwrap())),
        ("/contains", |session| _ = session.contains("a")),
        ("/len", |session| _ = session.len()),
        ("/is-empty", |session| _ = session.is_empty()),
        ("/keys", |session| drop(session.keys())),
        ("/exists", |session| _ = session.exists()),
        ("/is-new", |session| _ = session.is_new()),
        ("/owner", |session| drop(session.owner())),
        ("/expires-in", |session| _ = session.expires_in()),
        ("/created-at", |session| _ = session.created_at()),
        ("/flash", |session| drop(session.flash().peek_messages())),
        ("/remove", |session| _ = session.remove("a")),
        ("/insert", |session| session.insert("a", "b").unwrap()),
        ("/nothing", |_| {}),
    ];
    let client = Client::new(serve(accessing(probe.store(), &accessors)).await);
    for (path, _) in accessors {
        assert_eq!(client.get_with(path, None).await.header("vary"), Some("Cookie"), "{path}");
    }
    assert_eq!(client.get_with("/no-session", None).await.header("vary"), None);
}

/// auth0 CVE-2025-48947, Rails CVE-2024-26144.
#[tokio::test]
async fn auth0_cve_2025_48947_a_response_with_the_cookie_is_not_stored_by_shared_caches() {
    let mut client = Client::new(serve(cached_page(Probe::default().store())).await);
    let first = client.get("/").await;
    assert!(first.set_cookie().is_some());
    assert_eq!(first.header("cache-control"), Some("no-store"));
    assert_eq!(first.header("cdn-cache-control"), None);
    assert_eq!(first.header("surrogate-control"), None);
    let vary: Vec<_> = first.headers.get_all("vary").iter().collect();
    assert_eq!(vary, ["accept-encoding", "Cookie"]);

    let second = client.get("/").await;
    assert_eq!(second.text, "2");
    assert!(second.set_cookie().is_none());
    assert_eq!(
        second.header("cache-control"),
        Some("public, s-maxage=600"),
        "as the handler set it"
    );
}

#[tokio::test]
async fn a_removal_is_not_cached_either() {
    let mut client = start(&Probe::default()).await;
    client.get("/set/value/x").await;
    let reply = client.get("/logout").await;
    assert_eq!(reply.header("cache-control"), Some("no-store"));
    assert_eq!(reply.header("vary"), Some("Cookie"));
}
