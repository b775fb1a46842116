//! Journeys of a visitor through the application.

use reqwest::header::{COOKIE, SET_COOKIE};
use tempfile::TempDir;

use crate::browser::Browser;
use crate::server::Server;

pub(crate) struct Directory(TempDir);

impl Directory {
    pub(crate) fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    pub(crate) fn store(&self) -> String {
        format!("file:{}", self.0.path().join("sessions").display())
    }
}

/// Two browsers of one account: each sees the other one's session, and can end it.
pub(crate) async fn two_devices(browser: Browser) {
    let directory = Directory::new();
    let server = Server::start(&["--store", &directory.store()]).await;
    let page = |path: &str| format!("{}{path}", server.url);
    let other = Browser::start("the other device", true).await;
    for browser in [&browser, &other] {
        browser.go(&page("/")).await;
        sign_in(browser, "ann").await;
    }
    browser.go(&page("/account")).await;
    let listed = browser.text("#devices").await;
    assert_eq!(listed.matches("Chrome on Linux").count(), 2, "{listed}");
    assert_eq!(listed.matches("(this one)").count(), 1, "{listed}");
    browser.picture("4-devices").await;
    // A websocket tells the page of the other device at once.
    other.go(&page("/account")).await;
    assert!(!other.is_visible("#ended").await);
    browser.submit("button.end").await;
    assert_eq!(browser.text(".flash:not([hidden])").await, "The session has ended.");
    other.text_with("#ended", "This session has ended").await;
    assert!(!browser.is_visible("#ended").await, "its own session goes on");
    other.picture("5-ended-elsewhere").await;
    other.go(&page("/account")).await;
    assert_eq!(other.path().await, "/", "it was ended elsewhere");

    sign_in(&other, "ann").await;
    other.go(&page("/account")).await;
    other.submit("#end-others").await;
    assert_eq!(other.text(".flash:not([hidden])").await, "One other session has ended.");
    browser.go(&page("/account")).await;
    assert_eq!(browser.path().await, "/");

    sign_in(&browser, "ann").await;
    other.go(&page("/account")).await;
    other.submit("#end-all").await;
    for browser in [&browser, &other] {
        browser.go(&page("/account")).await;
        assert_eq!(browser.path().await, "/");
    }
    other.close().await;
}

pub(crate) async fn sign_in(browser: &Browser, name: &str) {
    browser.type_into("#name", name).await;
    browser.type_into("#password", "hunter2").await;
    browser.submit("#sign-in").await;
}

pub(crate) async fn sign_in_restart_sign_out(browser: Browser) {
    let directory = Directory::new();
    let server = Server::start(&["--store", &directory.store()]).await;
    let page = |path: &str| format!("{}{path}", server.url);

    // A first visit leaves nothing behind.
    browser.go(&page("/")).await;
    assert!(browser.has("#no-session").await);
    assert_eq!(browser.session_cookie().await, None);
    browser.picture("1-first-visit").await;

    // The guard redirects visitors who are not signed in to the form.
    browser.go(&page("/account")).await;
    assert_eq!(browser.path().await, "/");
    assert!(browser.text(".flash").await.contains("Please sign in"));

    // The theme is stored and read on the next page; the flash message is shown exactly once.
    browser.submit("#theme-dark").await;
    assert_eq!(browser.attribute("html", "data-theme").await.as_deref(), Some("dark"));
    assert_eq!(browser.text(".flash").await, "Your theme is saved.");
    browser.go(&page("/")).await;
    assert_eq!(browser.attribute("html", "data-theme").await.as_deref(), Some("dark"));
    assert!(!browser.has(".flash").await, "once means once");

    // Signing in changes the id, and a name with HTML is escaped.
    let anonymous = browser.session_cookie().await.unwrap();
    let name = "Zoë <b>O'Neil</b> & Co";
    sign_in(&browser, name).await;
    assert_eq!(browser.text("#hello").await, format!("Hello {name}, you are logged in"));
    assert_eq!(browser.text(".flash").await, format!("Welcome, {name}!"));
    browser.picture("2-signed-in").await;
    let cookie = browser.session_cookie().await.unwrap();
    assert_ne!(anonymous, cookie);
    assert!(!browser.source().await.contains(&cookie), "the page never shows the id");
    assert!(!replay(&server, &anonymous).await.contains("you are logged in"));
    assert!(replay(&server, &cookie).await.contains("you are logged in"), "the replay works");

    for visit in 1..=3 {
        browser.go(&page("/visits")).await;
        assert_eq!(browser.text("#visits").await, visit.to_string());
    }
    browser.picture("3-visits").await;

    // A new process finds the session of the killed one.
    let server = server.restart().await;
    browser.go(&format!("{}/account", server.url)).await;
    assert_eq!(browser.path().await, "/account");
    assert!(browser.text("#account").await.contains(name));
    browser.go(&format!("{}/visits", server.url)).await;
    assert_eq!(browser.text("#visits").await, "4");
    assert_eq!(browser.session_cookie().await.unwrap(), cookie);

    // After the sign-out the cookie is removed, and a copy of it is invalid.
    browser.go(&format!("{}/", server.url)).await;
    browser.submit("#sign-out").await;
    assert!(browser.has("#signed-out").await);
    assert_eq!(browser.session_cookie().await, None);
    browser.picture("4-signed-out").await;
    let replayed = replay(&server, &cookie).await;
    assert!(replayed.contains("You have no session yet"), "{replayed}");
    browser.go(&format!("{}/account", server.url)).await;
    assert_eq!(browser.path().await, "/");
    assert_eq!(browser.attribute("html", "data-theme").await.as_deref(), Some("system"));
}

/// The home page for a client that sends this cookie by hand.
async fn replay(server: &Server, cookie: &str) -> String {
    let request = reqwest::Client::new().get(format!("{}/", server.url));
    let response = request.header(COOKIE, format!("__Host-id={cookie}")).send().await.unwrap();
    assert!(response.headers().get(SET_COOKIE).is_none());
    response.text().await.unwrap()
}

pub(crate) async fn increments(browser: Browser) {
    let directory = Directory::new();
    let database = directory.0.path().join("sessions.db").display().to_string();
    let stores = [directory.store(), "memory:".to_owned(), format!("sqlite:{database}")];
    for store in &stores {
        let server = Server::start(&["--store", store]).await;
        browser.go(&format!("{}/", server.url)).await;
        for _ in 0..2 {
            browser.click("#increment").await;
            let text = browser.text_with("#increments", "counted").await;
            assert!(text.contains("50 requests") && text.contains("none was lost"), "{text}");
            let bars = browser.text("#bars").await;
            let own = bars.find("50 of 50");
            assert!(own.is_some() && own < bars.find("without compare-and-swap"), "{bars}");
            assert_eq!(bars.matches("50 of 50").count(), 1, "the other store loses some: {bars}");
        }
        browser.picture("5-increments").await;
        browser.go(&format!("{}/", server.url)).await;
        assert!(browser.text("#values").await.contains("50"), "the panel shows the counter");
    }
}

pub(crate) async fn refused_form(browser: Browser) {
    let directory = Directory::new();
    let server = Server::start(&["--store", &directory.store()]).await;
    browser.go(&format!("{}/", server.url)).await;
    browser.type_into("#name", "Ann").await;
    browser.type_into("#password", "abc").await;
    browser.submit("#sign-in").await;
    assert!(browser.text("#password-error").await.contains("4 characters"));
    assert!(!browser.has("#name-error").await);
    assert_eq!(browser.field("#name").await, "Ann", "the old input");
    assert_eq!(browser.field("#password").await, "", "but not the secret");
    browser.picture("6-refused").await;
    browser.go(&format!("{}/", server.url)).await;
    assert!(!browser.has(".error").await, "once");
    assert_eq!(browser.field("#name").await, "");
}

pub(crate) async fn without_javascript(browser: Browser) {
    // With a cookie store, because there the cookie holds more than an id.
    let server = Server::start(&["--store", "cookie:"]).await;
    browser.go(&format!("{}/", server.url)).await;
    assert!(browser.text("noscript").await.contains("needs JavaScript"));
    browser.submit("#theme-dark").await;
    assert_eq!(browser.attribute("html", "data-theme").await.as_deref(), Some("dark"));
    sign_in(&browser, "Ann").await;
    assert!(browser.text("#hello").await.contains("Ann"));
    browser.submit("#sign-out").await;
    assert!(browser.has("#signed-out").await);
}

/// Files in place of the store's directories make it fail; then the directories are restored.
pub(crate) async fn outage(browser: Browser) {
    let directory = Directory::new();
    let server = Server::start(&["--store", &directory.store()]).await;
    browser.go(&format!("{}/", server.url)).await;
    browser.submit("#theme-dark").await;
    sign_in(&browser, "Ann").await;
    let cookie = browser.session_cookie().await.unwrap();

    let (sessions, away) = (directory.0.path().join("sessions"), directory.0.path().join("away"));
    std::fs::create_dir(&away).unwrap();
    let buckets: Vec<_> = std::fs::read_dir(&sessions)
        .unwrap()
        .map(|entry| entry.unwrap())
        .filter(|entry| entry.file_type().unwrap().is_dir())
        .map(|entry| entry.file_name())
        .collect();
    assert!(!buckets.is_empty());
    for bucket in &buckets {
        std::fs::rename(sessions.join(bucket), away.join(bucket)).unwrap();
        std::fs::write(sessions.join(bucket), "in the way").unwrap();
    }
    browser.go(&format!("{}/", server.url)).await;
    assert!(browser.text("#unavailable").await.contains("store is unavailable"));
    browser.picture("7-outage").await;
    browser.go(&format!("{}/about", server.url)).await;
    assert!(browser.text(".flash").await.contains("works without your session"));
    browser.picture("8-about-without-session").await;
    assert_eq!(browser.session_cookie().await.as_ref(), Some(&cookie), "untouched");

    for bucket in &buckets {
        std::fs::remove_file(sessions.join(bucket)).unwrap();
        std::fs::rename(away.join(bucket), sessions.join(bucket)).unwrap();
    }
    browser.go(&format!("{}/", server.url)).await;
    assert!(browser.text("#hello").await.contains("Ann"), "nothing is lost");
    browser.go(&format!("{}/about", server.url)).await;
    assert_eq!(browser.attribute("html", "data-theme").await.as_deref(), Some("dark"));
}
