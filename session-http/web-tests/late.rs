//! Requests with an id that another request replaced a moment ago.

use session_cookie::{CookieStore, SecretKey};
use session_core::SessionStore;
use session_memory::MemoryBackend;

use crate::app::{app, quiet, serve};
use crate::support::{Client, Probe};

/// What browsers send for a top-level navigation, …
const NAVIGATION: &[(&str, &str)] =
    &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
/// … for a navigation of a frame, …
const FRAME: &[(&str, &str)] = &[("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "iframe")];
/// … for a prefetch, …
const PREFETCH: &[(&str, &str)] = &[
    ("sec-fetch-mode", "navigate"),
    ("sec-fetch-dest", "document"),
    ("sec-purpose", "prefetch;prerender"),
];
/// … and for a request of a script.
const SCRIPT: &[(&str, &str)] = &[("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")];

/// A signed-in client, and its cookie from before the sign-in.
struct SignedIn {
    client: Client,
    old: String,
}

impl SignedIn {
    async fn new(store: SessionStore) -> Self {
        let mut client = Client::new(serve(app(quiet(store))).await);
        let old = client.get("/set/value/early").await.session_cookie().unwrap();
        let new = client.get("/sign-in/ann").await.session_cookie().unwrap();
        assert_ne!(old, new);
        Self { client, old }
    }

    /// A late request.
    async fn late(&self, path: &str, headers: &[(&str, &str)]) -> crate::support::Reply {
        let cookie = format!("__Host-id={}", self.old);
        let headers = [&[("cookie", &*cookie)], headers].concat();
        self.client.get_with_headers(path, &headers).await
    }
}

/// Server stores and cookie stores behave the same.
fn stores() -> Vec<SessionStore> {
    let cookies = CookieStore::signed("__Host-id", [SecretKey::generate().unwrap()]).unwrap();
    let sealed = SessionStore::new_cookie(cookies.with_revocation(MemoryBackend::new()));
    vec![Probe::default().store(), sealed]
}

#[tokio::test]
async fn a_late_request_reads_nothing_stores_nothing_and_sets_no_cookie() {
    for store in stores() {
        let mut ann = SignedIn::new(store).await;
        for headers in [&[][..], SCRIPT, FRAME, PREFETCH] {
            assert_eq!(ann.late("/get/value", headers).await.text, "nothing", "{headers:?}");
            let reply = ann.late("/set/value/late", headers).await;
            assert_eq!((reply.status, &*reply.text), (200, "late"), "the response is unchanged");
            assert_eq!(reply.set_cookie(), None, "{headers:?}");
            assert_eq!(reply.header("vary"), Some("Cookie"));
        }
        assert_eq!(ann.client.get("/get/value").await.text, "early");
        assert_eq!(ann.client.get("/get/user").await.text, "ann");
    }
}

#[tokio::test]
async fn an_explicit_save_of_a_late_request_fails() {
    for store in stores() {
        let ann = SignedIn::new(store).await;
        let reply = ann.late("/own-save", SCRIPT).await;
        assert_eq!((reply.status, reply.set_cookie()), (409, None));
    }
}

/// The form was submitted twice, or again because the first response was lost.
#[tokio::test]
async fn a_late_sign_in_is_stored_in_its_own_session() {
    for store in stores() {
        let mut first = SignedIn::new(store).await;
        let reply = first.late("/sign-in/ann", SCRIPT).await;
        let mut second = first.client.clone();
        second.cookie = reply.session_cookie();
        assert!(second.cookie.is_some() && second.cookie != first.client.cookie);
        for client in [&mut first.client, &mut second] {
            assert_eq!(client.get("/get/user").await.text, "ann");
        }
        assert_eq!(second.get("/get/value").await.text, "nothing", "never the first one's values");
    }
}

/// A browser navigates after it has received the previous response, so this client never received the new
/// id.
#[tokio::test]
async fn a_late_navigation_begins_a_new_session() {
    for store in stores() {
        for headers in [NAVIGATION, &NAVIGATION[..1]] {
            let mut ann = SignedIn::new(store.clone()).await;
            assert_eq!(ann.late("/get/user", headers).await.text, "nothing");
            let reply = ann.late("/set/value/anew", headers).await;
            let mut other = ann.client.clone();
            other.cookie = reply.session_cookie();
            assert_eq!(other.get("/get/value").await.text, "anew");
            assert_eq!(other.get("/get/user").await.text, "nothing");
            assert_eq!(ann.client.get("/get/value").await.text, "early");
        }
    }
}

#[tokio::test]
async fn a_late_logout_ends_the_session_that_has_the_new_id() {
    for store in stores() {
        for headers in [SCRIPT, NAVIGATION] {
            for path in ["/logout", "/logout-and-set/fresh"] {
                let mut ann = SignedIn::new(store.clone()).await;
                let reply = ann.late(path, headers).await;
                assert_eq!(reply.status, 200);
                let left = reply.session_cookie().expect("the cookie is removed or replaced");
                assert_eq!(left.is_empty(), path == "/logout", "{headers:?}");
                assert_eq!(ann.client.get("/get/user").await.text, "nothing", "{headers:?} {path}");
            }
        }
    }
}

#[tokio::test]
async fn among_several_cookies_a_live_one_wins_over_a_late_one() {
    for store in stores() {
        let ann = SignedIn::new(store.clone()).await;
        let mut bob = ann.client.clone();
        bob.cookie = None;
        bob.get("/sign-in/bob").await;
        let (old, live) = (&ann.old, bob.cookie.as_ref().unwrap());
        for cookies in [[old, live], [live, old]] {
            let header = cookies.map(|cookie| format!("__Host-id={cookie}")).join("; ");
            assert_eq!(ann.client.get_with("/get/user", Some(&header)).await.text, "bob");
        }
        // And a logout ends both.
        let header = format!("__Host-id={old}; __Host-id={live}");
        ann.client.get_with("/logout", Some(&header)).await;
        let mut clients = [ann.client.clone(), bob];
        for client in &mut clients {
            assert_eq!(client.get("/get/user").await.text, "nothing");
        }
    }
}
