//! The page "Try it", and the metrics of what happened on it.

use crate::browser::Browser;
use crate::journeys::{Directory, sign_in};
use crate::server::Server;

/// Whoever signs out while a request runs stays signed out.
pub(crate) async fn race(browser: Browser) {
    let directory = Directory::new();
    for store in ["cookie:".to_owned(), directory.store()] {
        let server = Server::start(&["--store", &store]).await;
        browser.go(&format!("{}/lab", server.url)).await;
        assert!(!browser.has("#race").await, "it needs somebody who is signed in");
        browser.go(&format!("{}/", server.url)).await;
        sign_in(&browser, "Ann").await;
        browser.go(&format!("{}/lab", server.url)).await;
        browser.click("#race").await;
        let timeline = browser.text_with("#timeline", "still signed out").await;
        let steps = ["slow request begins", "you sign out", "signed out", "refused (409)"];
        for pair in steps.windows(2) {
            assert!(timeline.find(pair[0]) < timeline.find(pair[1]), "{timeline}");
        }
        browser.picture("9-race").await;
    }
}

pub(crate) async fn stop_the_store(browser: Browser) {
    let server = Server::start(&["--store", "memory:"]).await;
    browser.go(&format!("{}/", server.url)).await;
    sign_in(&browser, "Ann").await;
    browser.go(&format!("{}/lab", server.url)).await;
    browser.submit("#stop").await;
    assert!(browser.text("#unavailable").await.contains("store is unavailable"));
    browser.go(&format!("{}/about", server.url)).await;
    assert!(browser.text(".flash").await.contains("works without your session"));
    let back = async {
        loop {
            browser.go(&format!("{}/", server.url)).await;
            if browser.has("#hello").await {
                break;
            }
            tokio::time::sleep(std::time::Duration::from_millis(300)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), back).await.expect("it is back");
    assert!(browser.text(".flash").await.contains("is back"), "what was saved before is there");

    // The outage, the sign-in and the page itself are in the metrics.
    let metrics = reqwest::get(format!("{}/metrics", server.url)).await.unwrap();
    let metrics = metrics.text().await.unwrap();
    let count = |labels: &str| -> f64 {
        let line = metrics.lines().find(|line| line.contains(labels)).unwrap_or_default();
        line.rsplit(' ').next().and_then(|count| count.parse().ok()).unwrap_or_default()
    };
    for labels in [
        r#"session_operations_total{store="memory",operation="load",outcome="found"}"#,
        r#"session_operations_total{store="memory",operation="load",outcome="refused"}"#,
        r#"session_operations_total{store="memory",operation="save",outcome="signed_in"}"#,
        r#"session_operation_duration_seconds_count{store="memory",operation="load"}"#,
    ] {
        assert!(count(labels) >= 1.0, "{labels} in\n{metrics}");
    }
}

pub(crate) async fn two_servers(browser: Browser) {
    let directory = Directory::new();
    for store in [directory.store(), "memory:".to_owned()] {
        let server = Server::start(&["--store", &store, "--servers", "2"]).await;
        browser.go(&format!("{}/", server.url)).await;
        sign_in(&browser, "Ann").await;
        browser.go(&format!("{}/lab", server.url)).await;
        assert!(browser.text("#server").await.contains("server 1 of 2"));
        browser.click("#server-2").await;
        browser.text_with("#server", "server 2 of 2").await;
        browser.go(&format!("{}/", server.second())).await;
        assert!(browser.text("#hello").await.contains("Ann"), "the session is on both");
        browser.submit("#sign-out").await;
        browser.go(&format!("{}/", server.url)).await;
        assert!(!browser.has("#hello").await, "and so is the sign-out");
    }
}

/// What the store has of a session opens no session.
pub(crate) async fn thief(browser: Browser) {
    let server = Server::start(&["--store", "memory:"]).await;
    browser.go(&format!("{}/lab", server.url)).await;
    assert!(browser.text("#thief").await.contains("you have no session yet"));
    browser.go(&format!("{}/", server.url)).await;
    sign_in(&browser, "Ann").await;
    browser.go(&format!("{}/lab", server.url)).await;
    assert_eq!(browser.text("#useless").await, "no session.");
    let cookie = browser.session_cookie().await.unwrap();
    assert!(!browser.source().await.contains(&cookie));
    let key = browser.text("#stolen-key").await;
    assert_eq!(key.len(), 64, "{key}");
    browser.picture("10-lab").await;
}
