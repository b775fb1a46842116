//! When the cookie is set, and its value and attributes.

use std::time::Duration;

use session_core::{Config, SessionStore};

use crate::app::{
    CookieConfig, SameSite, SessionLayer, app, quiet, quiet_with_idle_timeout, serve, start,
};
use crate::support::{Client, Probe};

/// HTGM sets no `Path`. The cookie must also have all other attributes of a safe cookie.
#[tokio::test]
async fn htgm_cookie_has_a_path_and_every_safe_attribute() {
    let mut client = start(&Probe::default()).await;
    let reply = client.get("/set/value/x").await;
    let (value, attributes) = reply.set_cookie().unwrap().split_once("; ").unwrap();
    assert_eq!(attributes, "Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=7200");
    assert_eq!(value.len(), "__Host-id=".len() + 43);
}

#[tokio::test]
async fn the_cookie_is_set_only_when_it_must_change() {
    let probe = Probe::default();
    let mut client = Client::new(serve(app(quiet_with_idle_timeout(&probe))).await);
    let created = client.get("/set/value/x").await.session_cookie().unwrap();
    assert_eq!(client.get("/get/value").await.set_cookie(), None, "read");
    assert_eq!(client.get("/set/value/y").await.set_cookie(), None, "written");
    let rotated = client.get("/login/ann").await.session_cookie().unwrap();
    assert_ne!(created, rotated);
    let renewed = client.get("/extend").await.session_cookie().unwrap();
    assert_eq!(rotated, renewed, "a new expiry, the same id");
    let removed = client.get("/logout").await;
    assert_eq!(
        removed.set_cookie(),
        Some("__Host-id=; Path=/; Secure; HttpOnly; SameSite=Lax; Max-Age=0")
    );
}

#[tokio::test]
async fn every_attribute_reaches_the_browser() {
    let probe = Probe::default();
    let cookie = CookieConfig::new()
        .name("__Secure-app")
        .http_only(false)
        .same_site(SameSite::None)
        .path("/")
        .domain("example.org")
        .partitioned(true)
        .expire_on_close(true);
    let layer = SessionLayer::new(probe.store()).with_cookie(cookie).unwrap();
    let mut client = Client::new(serve(app(layer)).await);
    let reply = client.get("/set/value/x").await;
    let (name, _) = reply.set_cookie().unwrap().split_once('=').unwrap();
    assert_eq!(name, "__Secure-app");
    assert!(
        reply
            .set_cookie()
            .unwrap()
            .ends_with("; Path=/; Domain=example.org; Secure; SameSite=None; Partitioned")
    );
}

#[tokio::test]
async fn a_cookie_that_expires_on_close_is_not_set_again_for_a_new_expiry() {
    let probe = Probe::default();
    let cookie = CookieConfig::new().expire_on_close(true);
    let layer = quiet_with_idle_timeout(&probe).with_cookie(cookie).unwrap();
    let mut client = Client::new(serve(app(layer)).await);
    let reply = client.get("/set/value/x").await;
    assert!(!reply.set_cookie().unwrap().contains("Max-Age"));
    let reply = client.get("/extend").await;
    assert_eq!((probe.calls().touches, reply.set_cookie()), (1, None));
    assert_eq!(client.get("/get/value").await.text, "x");
    assert!(client.get("/login/ann").await.session_cookie().is_some());
}

/// "Remember me": the cookie of one session is persistent, although the layer has `expire_on_close`.
#[tokio::test]
async fn a_session_with_its_own_lifetime_has_a_persistent_cookie() {
    const MONTH: &str = "; Max-Age=2592000";
    let key = session_cookie::SecretKey::generate().unwrap();
    let sealed = session_cookie::CookieStore::signed("__Host-id", [key]).unwrap();
    for store in [Probe::default().store(), SessionStore::new_cookie(sealed)] {
        let config = Config::default().lifetime(None).idle_timeout(Duration::from_secs(7200));
        let layer = quiet(store.with_config(config).unwrap());
        let cookie = CookieConfig::new().expire_on_close(true);
        let mut client = Client::new(serve(app(layer.with_cookie(cookie).unwrap())).await);
        let mut set_cookie = async |path: &str| {
            let reply = client.get(path).await;
            assert_eq!(reply.status, 200, "{path}");
            reply.set_cookie().map(str::to_owned)
        };
        // A new session, and one that exists.
        let created = set_cookie("/remember").await.unwrap();
        assert!(created.ends_with(MONTH), "{created}");
        assert!(!set_cookie("/forget").await.unwrap().contains("Max-Age"));
        assert!(set_cookie("/remember").await.unwrap().ends_with(MONTH));
        // The cookie stays persistent with a new value and with a new expiry.
        for path in ["/login/ann", "/sign-in/ann", "/extend"] {
            let set = set_cookie(path).await.unwrap();
            assert!(set.contains("; Max-Age=25"), "{path}: {set}");
        }
        assert!(!set_cookie("/forget").await.unwrap().contains("Max-Age"));
    }
}

/// glimr renews the cookie but not the record. Here the cookie expires with the record.
#[tokio::test]
async fn glimr_cookie_lives_as_long_as_its_record() {
    let probe = Probe::default();
    let config = Config::default().lifetime(Duration::from_millis(2900));
    let store = probe.store().with_config(config).unwrap();
    let mut client = Client::new(serve(app(quiet(store))).await);
    let reply = client.get("/set/value/x").await;
    assert!(reply.set_cookie().unwrap().ends_with("; Max-Age=3"));
    let cookie = client.cookie.clone().unwrap();
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let busy = client.get("/set/value/y").await;
    assert_eq!(busy.set_cookie(), None, "a fixed lifetime does not creep");
    tokio::time::sleep(Duration::from_millis(1500)).await;
    let header = format!("__Host-id={cookie}");
    assert_eq!(client.get_with("/get/value", Some(&header)).await.text, "nothing");
}

/// Cookie tossing: a request has a second cookie of the same name, set for another path or domain or by an
/// attacker.
#[tokio::test]
async fn cookie_tossing_finds_the_live_one_among_several_deterministically() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    let ann = client.get("/set/value/ann").await.session_cookie().unwrap();
    client.cookie = None;
    let bob = client.get("/set/value/bob").await.session_cookie().unwrap();
    let unknown = |n: u8| session_core::SessionId::from_bytes([n; 32]).expose();
    let header = |values: &[&str]| {
        let pairs: Vec<_> = values.iter().map(|value| format!("__Host-id={value}")).collect();
        pairs.join("; ")
    };
    for (values, expected) in [
        (vec![ann.as_str(), &bob], "ann"),
        (vec![&bob, &ann], "bob"),
        (vec![&unknown(1), "malformed", "", &ann], "ann"),
        (vec![&unknown(1), &unknown(2), &unknown(3), &ann], "ann"),
        (vec![&unknown(1), &unknown(2), &unknown(3), &unknown(4), &ann], "nothing"),
    ] {
        let reply = client.get_with("/get/value", Some(&header(&values))).await;
        assert_eq!(reply.text, expected);
        assert_eq!(reply.set_cookie(), None);
    }
    probe.calls();
    let flood: Vec<String> = (0..200).map(unknown).collect();
    let flood: Vec<&str> = flood.iter().map(String::as_str).collect();
    client.get_with("/get/value", Some(&header(&flood))).await;
    assert_eq!(probe.calls().loads, 4, "a request buys a bounded number of calls");
}

/// PHP CVE-2020-7070 and CVE-2022-31629, Werkzeug CVE-2023-23934.
#[tokio::test]
async fn php_cve_2022_31629_names_that_only_resemble_the_cookie_reach_no_store() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    let id = client.get("/set/value/x").await.session_cookie().unwrap();
    probe.calls();
    for name in ["=__Host-id", "%5f_Host-id", "..Host-id", "__host-id", "__Host-id ", "id"] {
        let reply = client.get_with("/get/value", Some(&format!("{name}={id}"))).await;
        assert_eq!(reply.text, "nothing", "{name}");
    }
    let quoted = client.get_with("/get/value", Some(&format!("__Host-id=\"{id}\""))).await;
    assert_eq!(quoted.text, "nothing");
    assert_eq!(probe.calls().loads, 0);
    assert_eq!(client.get("/get/value").await.text, "x");
}

#[tokio::test]
async fn attributes_that_a_cookie_store_keeps_no_room_for_are_refused() {
    let store = |reserve: Option<usize>| {
        let key = session_cookie::SecretKey::generate().unwrap();
        let cookies = session_cookie::CookieStore::signed("__Secure-s", [key]).unwrap();
        session_core::SessionStore::new_cookie(match reserve {
            Some(bytes) => cookies.with_attribute_reserve(bytes),
            None => cookies,
        })
    };
    let config = || CookieConfig::new().domain("shop.example.org").path("/".repeat(300));
    let error = SessionLayer::new(store(None)).with_cookie(config()).unwrap_err();
    assert!(error.message().contains("with_attribute_reserve"), "{error}");

    let layer = quiet(store(Some(500))).with_cookie(config()).unwrap();
    let client = Client::new(serve(app(layer)).await);
    let mut longest = 0;
    for length in 2400..2800 {
        let reply = client.get_with(&format!("/length/{length}"), None).await;
        match reply.set_cookie() {
            Some(cookie) => longest = longest.max(cookie.len()),
            None => assert_eq!(reply.status, 500, "refused before it is sent"),
        }
    }
    assert!((3900..=4096).contains(&longest), "{longest}");
}
