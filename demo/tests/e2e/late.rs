//! Sign-in with several tabs, forms that are submitted twice, and lost responses.

use tempfile::TempDir;

use crate::browser::Browser;
use crate::proxy::Proxy;
use crate::server::Server;

/// A server with its own sessions, and a proxy in front of it.
struct Site {
    _server: Server,
    _directory: TempDir,
    proxy: Proxy,
}

impl Site {
    /// One site with a server store and one with a cookie store.
    async fn each() -> [Self; 2] {
        [Self::start("file:", &[]).await, Self::start("cookie:", &[]).await]
    }

    async fn start(medium: &str, more: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let store = format!("{medium}{}", directory.path().join("place").display());
        let arguments = [&["--store", &store], more].concat();
        let server = Server::start(&arguments).await;
        let proxy = Proxy::start(&server.url).await;
        Self { _server: server, _directory: directory, proxy }
    }

    fn home(&self) -> String {
        format!("{}/", self.proxy.url)
    }
}

async fn fill_in(browser: &Browser, name: &str) {
    browser.type_into("#name", name).await;
    browser.type_into("#password", "hunter2").await;
}

async fn sign_in(browser: &Browser, name: &str) {
    fill_in(browser, name).await;
    browser.submit("#sign-in").await;
    assert_eq!(browser.text("#hello").await, format!("Hello {name}, you are logged in"));
}

async fn assert_signed_in(browser: &Browser, site: &Site, name: &str) {
    browser.go(&site.home()).await;
    assert_eq!(browser.text("#hello").await, format!("Hello {name}, you are logged in"));
}

/// A request of another tab was sent before the sign-in, arrives after it, and writes.
pub(crate) async fn two_tabs(browser: Browser) {
    for site in Site::each().await {
        browser.forget().await;
        browser.go(&site.home()).await;
        browser.submit("#theme-dark").await;
        let first = browser.tab().await;
        let second = browser.open_tab().await;
        browser.go(&site.home()).await;
        let held = site.proxy.hold_request("POST /theme ");
        browser
            .script(
                "const form = new URLSearchParams({ theme: 'light' });
                 fetch('/theme', { method: 'POST', body: form })
                   .then(answer => document.title = `answered ${answer.status}`);",
            )
            .await;
        held.reached().await;

        browser.switch_to(&first).await;
        sign_in(&browser, "Ann").await;
        let cookie = browser.session_cookie().await;
        held.release().await;
        browser.switch_to(&second).await;
        browser.title_with("answered 200").await;

        assert_eq!(browser.session_cookie().await, cookie, "the late request sets no cookie");
        assert_signed_in(&browser, &site, "Ann").await;
        let theme = browser.attribute("html", "data-theme").await;
        assert_eq!(theme.as_deref(), Some("dark"), "nor does it change anything");
        browser.close_tab().await;
        browser.switch_to(&first).await;
    }
}

/// A visitor clicks the button twice, so both requests have the same old cookie. The first request may be the
/// slower one.
pub(crate) async fn submitted_twice(browser: Browser) {
    for site in Site::each().await {
        for first_is_slower in [false, true] {
            browser.forget().await;
            browser.go(&site.home()).await;
            browser.submit("#theme-dark").await;
            let anonymous = browser.session_cookie().await;
            let held = match first_is_slower {
                true => site.proxy.hold_request("POST /sign-in "),
                false => site.proxy.hold_answer("POST /sign-in "),
            };
            fill_in(&browser, "Ann").await;
            browser
                .script(
                    "const form = document.querySelector('form[action=\"/sign-in\"]');
                     setTimeout(() => form.submit(), 0);
                     setTimeout(() => form.submit(), 1000);",
                )
                .await;
            held.reached().await;
            assert_eq!(browser.text("#hello").await, "Hello Ann, you are logged in");
            let cookie = browser.session_cookie().await;
            assert_ne!(cookie, anonymous);
            held.release().await;
            assert_signed_in(&browser, &site, "Ann").await;
            assert_eq!(browser.session_cookie().await, cookie, "{first_is_slower}");
            browser.submit("#sign-out").await;
            assert_eq!(browser.session_cookie().await, None);
        }
    }
}

/// The response to a sign-in is lost, so the browser keeps the old cookie.
pub(crate) async fn lost_answer(browser: Browser) {
    for site in Site::each().await {
        for reload in [false, true] {
            browser.forget().await;
            browser.go(&site.home()).await;
            browser.submit("#theme-dark").await;
            let anonymous = browser.session_cookie().await;
            fill_in(&browser, "Ann").await;
            let lost = site.proxy.lose_answers("POST /sign-in ");
            browser
                .script(
                    "const form = document.querySelector('form[action=\"/sign-in\"]');
                     setTimeout(() => form.submit(), 0);",
                )
                .await;
            lost.reached().await;
            // The browser shows an error page; the visitor tries again.
            browser.go(&site.home()).await;
            assert_eq!(browser.session_cookie().await, anonymous);
            site.proxy.recover();
            assert!(!browser.has("#hello").await, "the old id never leads to the new session");
            if reload {
                // The visitor gets a new anonymous session, whose values the sign-in keeps.
                browser.go(&site.home()).await;
                browser.submit("#theme-dark").await;
                assert_eq!(browser.attribute("html", "data-theme").await.as_deref(), Some("dark"));
                assert_ne!(browser.session_cookie().await, anonymous);
            }
            sign_in(&browser, "Ann").await;
            assert_ne!(browser.session_cookie().await, anonymous);
            assert_signed_in(&browser, &site, "Ann").await;
            browser.submit("#theme-dark").await;
            assert_eq!(browser.attribute("html", "data-theme").await.as_deref(), Some("dark"));
            assert!(browser.has("#hello").await, "and the new session can be written");
        }
    }
}

/// A sign-in completes while the request that is to renew the session is delayed.
pub(crate) async fn late_renewal(browser: Browser) {
    let limits = ["--idle-timeout", "20"];
    for site in [Site::start("file:", &limits).await, Site::start("cookie:", &limits).await] {
        browser.forget().await;
        browser.go(&site.home()).await;
        browser.submit("#theme-dark").await;
        // After a tenth of the idle timeout each use renews the session.
        tokio::time::sleep(std::time::Duration::from_millis(2100)).await;
        let held = site.proxy.hold_request("GET /increments ");
        let first = browser.tab().await;
        let second = browser.open_tab().await;
        browser.go(&format!("{}/signed-out", site.proxy.url)).await;
        browser
            .script(
                "fetch('/increments')
                   .then(answer => document.title = `answered ${answer.status}`);",
            )
            .await;
        held.reached().await;
        browser.switch_to(&first).await;
        sign_in(&browser, "Ann").await;
        let cookie = browser.session_cookie().await;
        held.release().await;
        browser.switch_to(&second).await;
        browser.title_with("answered 200").await;
        assert_eq!(browser.session_cookie().await, cookie, "a late renewal sets no cookie");
        assert_signed_in(&browser, &site, "Ann").await;
        browser.close_tab().await;
        browser.switch_to(&first).await;
    }
}
