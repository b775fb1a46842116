//! The application on every store that `--store` can name: sign in, restart, sign out, also while a request runs.
//!
//! A store whose server is missing is shown as ignored, with the reason in its name; in strict mode
//! (`CI` or `CONFORMANCE_STRICT=1`) it fails.
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests")]

#[path = "e2e/server.rs"]
mod server;
#[path = "e2e/strict.rs"]
mod strict;

use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Body, Method, RequestBuilder, Response};
use test_servers::{Missing, mariadb, postgres, redis};

use server::Server;

fn main() {
    let arguments = Arguments::from_args();
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).display().to_string();
    let mut trials = vec![
        journey("memory", "memory:".to_owned(), false),
        journey("file", format!("file:{}", path("sessions")), true),
        journey("cookie", format!("cookie:{}", path("key")), true),
        journey("sqlite", format!("sqlite:{}", path("sessions.db")), true),
        trial("an_unknown_store_is_refused", unknown_store_is_refused()),
        trial("another_site_can_t_send_a_form", another_site_can_t_send_a_form()),
        trial("a_form_too_large_is_refused", a_form_too_large_is_refused()),
        trial("head_does_not_eat_the_flash", head_does_not_eat_the_flash()),
        trial("nothing_is_left_for_the_next_account", nothing_is_left_for_the_next_account()),
        trial("the_own_error_page_keeps_the_headers", the_own_error_page_keeps_the_headers()),
    ];
    let servers = [
        ("redis", redis::shared()),
        ("postgres", postgres::shared()),
        ("mariadb", mariadb::shared()),
    ];
    for (name, server) in servers {
        trials.push(match server {
            Ok(server) => journey(name, server.url().to_owned(), true),
            Err(missing) => without(name, missing),
        });
    }
    let conclusion = libtest_mimic::run(&arguments, trials);
    // `exit` would not remove the directory.
    drop(directory);
    conclusion.exit();
}

fn journey(name: &str, store: String, durable: bool) -> Trial {
    Trial::test(format!("{name}::sign_in_restart_sign_out"), move || {
        run(sign_in_restart_sign_out(store, durable));
        Ok(())
    })
}

fn trial(name: &str, test: impl Future<Output = ()> + Send + 'static) -> Trial {
    Trial::test(name, move || {
        run(test);
        Ok(())
    })
}

fn without(name: &str, missing: &Missing) -> Trial {
    strict::missing(&format!("{name}::sign_in_restart_sign_out"), missing.to_string())
}

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(test);
}

async fn sign_in_restart_sign_out(store: String, durable: bool) {
    let server = Server::start(&["--store", &store]).await;
    let mut visitor = Visitor::new(&server);
    assert!(visitor.get("/").await.contains("You have no session yet"));
    visitor.post("/sign-in", "name=Zo%C3%AB&password=hunter2").await;
    assert!(visitor.get("/").await.contains("Hello Zoë, you are logged in"));

    let server = server.restart().await;
    let still = visitor.get("/").await.contains("Hello Zoë, you are logged in");
    assert_eq!(still, durable);

    visitor.post("/sign-in", "name=Ann&password=hunter2").await;
    let cookie = visitor.cookie.clone();
    assert!(visitor.get("/account").await.contains("you are <b>Ann</b>"));
    visitor.post("/sign-out", "").await;
    assert_eq!(visitor.cookie, None);
    visitor.cookie = cookie.clone();
    assert!(visitor.get("/").await.contains("You have no session yet"), "the old cookie is dead");

    let server = server.restart().await;
    visitor.cookie = cookie;
    let page = visitor.get("/").await;
    assert!(page.contains("You have no session yet"), "a restart does not bring it back");

    visitor.cookie = None;
    visitor.post("/sign-in", "name=Ann&password=hunter2").await;
    let cookie = visitor.cookie.clone();
    let slow = tokio::spawn(visitor.request(Method::POST, "/account/slow", "").send());
    tokio::time::sleep(Duration::from_millis(500)).await;
    visitor.post("/sign-out", "").await;
    let late = slow.await.unwrap().unwrap();
    assert_eq!(late.status(), 409, "its own save says that the session has ended");
    assert!(!late.headers().contains_key(SET_COOKIE));
    visitor.cookie = cookie;
    assert!(visitor.get("/").await.contains("You have no session yet"), "the sign-out holds");
    drop(server);
}

async fn unknown_store_is_refused() {
    let output = tokio::process::Command::new(env!("CARGO_BIN_EXE_demo"))
        .args(["--store", "floppy:A"])
        .output()
        .await
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("floppy"));
}

async fn another_site_can_t_send_a_form() {
    let server = Server::start(&["--store", "memory:"]).await;
    let own = server.url.clone();
    for (header, value, status) in [
        ("sec-fetch-site", "cross-site", 403),
        ("sec-fetch-site", "same-site", 403),
        ("sec-fetch-site", "same-origin", 303),
        ("origin", "http://elsewhere.example", 403),
        ("origin", "null", 403),
        ("origin", own.as_str(), 303),
    ] {
        let visitor = Visitor::new(&server);
        let request = visitor.request(Method::POST, "/sign-in", "name=Ann&password=hunter2");
        let response = request.header(header, value).send().await.unwrap();
        assert_eq!(response.status(), status, "{header}: {value}");
        assert_eq!(response.headers().contains_key(SET_COOKIE), status == 303);
        let link = visitor.request(Method::GET, "/", "").header(header, value);
        assert_eq!(link.send().await.unwrap().status(), 200, "a link may come from anywhere");
    }
}

async fn a_form_too_large_is_refused() {
    let server = Server::start(&["--store", "cookie:"]).await;
    let mut visitor = Visitor::new(&server);
    let mut send = async |length: usize| {
        let form = format!("password=x&name={}", "n".repeat(length));
        visitor.send(Method::POST, "/sign-in", form).await.status()
    };
    assert_eq!(send(4000).await, 303, "refused, and shortened for the next page");
    assert_eq!(send(5000).await, 413);
    let page = visitor.get("/").await;
    assert!(page.contains(&"n".repeat(80)) && !page.contains(&"n".repeat(81)));
}

async fn head_does_not_eat_the_flash() {
    let server = Server::start(&["--store", "memory:"]).await;
    let mut visitor = Visitor::new(&server);
    visitor.post("/theme", "theme=dark").await;
    for path in ["/", "/visits"] {
        assert_eq!(visitor.send(Method::HEAD, path, "").await.status(), 200);
    }
    assert!(visitor.get("/").await.contains("Your theme is saved."));
    assert!(!visitor.get("/").await.contains("Your theme is saved."));
    assert!(visitor.get("/visits").await.contains("your first visit"));
}

async fn nothing_is_left_for_the_next_account() {
    let server = Server::start(&["--store", "memory:"]).await;
    let mut visitor = Visitor::new(&server);
    visitor.post("/theme", "theme=dark").await;
    visitor.post("/sign-in", "name=Ann&password=hunter2&remember=on").await;
    let ann = visitor.cookie.clone();
    let page = visitor.get("/").await;
    assert!(page.contains("data-theme=\"dark\""), "a visitor's own values go along");
    assert!(page.contains("29 d 23 h"), "{page}");

    visitor.post("/sign-in", "name=Bob&password=hunter2").await;
    let page = visitor.get("/").await;
    assert!(page.contains("Hello Bob") && page.contains("data-theme=\"system\""));
    assert!(page.contains("1 h 59 min"), "Ann's life is not Bob's: {page}");
    visitor.cookie = ann;
    assert!(visitor.get("/").await.contains("You have no session yet"), "Ann's session is dead");
}

async fn the_own_error_page_keeps_the_headers() {
    let directory = tempfile::tempdir().unwrap();
    let sessions = directory.path().join("sessions");
    let server = Server::start(&["--store", &format!("file:{}", sessions.display())]).await;
    let mut visitor = Visitor::new(&server);
    visitor.post("/theme", "theme=dark").await;
    std::fs::rename(&sessions, directory.path().join("away")).unwrap();
    for entry in std::fs::read_dir(directory.path().join("away")).unwrap() {
        let entry = entry.unwrap();
        if entry.file_type().unwrap().is_dir() {
            std::fs::remove_dir_all(entry.path()).unwrap();
            std::fs::write(entry.path(), "in the way").unwrap();
        }
    }
    std::fs::rename(directory.path().join("away"), &sessions).unwrap();
    let response = visitor.send(Method::GET, "/", "").await;
    assert_eq!(response.status(), 503);
    let header = |name: &str| response.headers()[name].to_str().unwrap().to_owned();
    assert_eq!((header("vary"), header("cache-control")), ("Cookie".into(), "no-store".into()));
    assert!(header("content-type").starts_with("text/html"));
    assert!(response.text().await.unwrap().contains("id=\"unavailable\""));
}

/// A client that keeps its session cookie.
struct Visitor {
    http: reqwest::Client,
    url: String,
    cookie: Option<String>,
}

impl Visitor {
    fn new(server: &Server) -> Self {
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        Self { http: http.build().unwrap(), url: server.url.clone(), cookie: None }
    }

    async fn get(&mut self, path: &str) -> String {
        self.send(Method::GET, path, "").await.text().await.unwrap()
    }

    async fn post(&mut self, path: &str, form: &'static str) {
        let response = self.send(Method::POST, path, form).await;
        assert_eq!(response.status(), 303);
    }

    async fn send(&mut self, method: Method, path: &str, form: impl Into<Body>) -> Response {
        let response = self.request(method, path, form).send().await.unwrap();
        if let Some(set) = response.headers().get(SET_COOKIE) {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        response
    }

    fn request(&self, method: Method, path: &str, form: impl Into<Body>) -> RequestBuilder {
        let request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        match &self.cookie {
            Some(cookie) => request.header(COOKIE, cookie),
            None => request,
        }
    }
}
