//! How a visitor leaves: by signing out, by the end of the session's life, and by closing the browser.

use std::time::Duration;

use crate::browser::Browser;
use crate::journeys::{Directory, sign_in};
use crate::server::Server;

/// The browser does not show what the account has seen.
pub(crate) async fn back_button(browser: Browser) {
    let directory = Directory::new();
    let server = Server::start(&["--store", &directory.store()]).await;
    let page = |path: &str| format!("{}{path}", server.url);
    browser.go(&page("/")).await;
    sign_in(&browser, "Ann").await;
    browser.go(&page("/account")).await;
    browser.go(&page("/")).await;
    assert!(browser.text("#hello").await.contains("Ann"));
    browser.submit("#sign-out").await;
    assert!(browser.has("#signed-out").await);
    browser.back().await;
    assert_eq!(browser.path().await, "/");
    assert!(!browser.has("#hello").await, "{}", browser.source().await);
    browser.back().await;
    assert_eq!(browser.path().await, "/", "the account's page asks for a sign-in");
    assert!(browser.text(".flash").await.contains("Please sign in"));
}

/// A page stays open until the session has expired.
pub(crate) async fn expiry(browser: Browser) {
    let directory = Directory::new();
    let server = Server::start(&["--store", &directory.store(), "--lifetime", "4"]).await;
    let page = |path: &str| format!("{}{path}", server.url);
    browser.go(&page("/")).await;
    sign_in(&browser, "Ann").await;
    browser.go(&page("/account")).await;
    browser.text_with("#ended", "This session has ended").await;
    assert!(!browser.has("main form").await, "no form of the page works any more");
    browser.submit("#ended a").await;
    assert!(!browser.has("#hello").await);
    sign_in(&browser, "Ann").await;
    assert!(browser.text("#hello").await.contains("Ann"), "the next session is a good one");
}

/// The browser is closed, and started again with the same profile.
pub(crate) async fn stay_signed_in(first: Browser) {
    // Its profile ends with it.
    drop(first);
    let directory = Directory::new();
    let server = Server::start(&["--store", &directory.store(), "--expire-on-close"]).await;
    let home = format!("{}/", server.url);
    let profile = tempfile::tempdir().unwrap();
    let start = async || Browser::start_with("a profile", true, Some(profile.path())).await;
    for stays in [false, true] {
        let browser = start().await;
        browser.go(&home).await;
        if stays {
            browser.click("input[name=remember]").await;
        }
        sign_in(&browser, "Ann").await;
        assert!(browser.text("#hello").await.contains("Ann"));
        // Chromium writes cookies to its profile now and then, and when it ends.
        tokio::time::sleep(Duration::from_secs(1)).await;
        browser.close().await;
        let browser = start().await;
        browser.go(&home).await;
        assert_eq!(browser.has("#hello").await, stays, "stays signed in: {stays}");
        browser.close().await;
    }
}
