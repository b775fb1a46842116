//! The application on every store that `--store` can name: sign in, restart, sign out.
//!
//! A store whose server is missing is shown as ignored, with the reason in its name; in strict mode
//! (`CI` or `CONFORMANCE_STRICT=1`) it fails.
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests")]

#[path = "e2e/server.rs"]
mod server;
#[path = "e2e/strict.rs"]
mod strict;

use libtest_mimic::{Arguments, Trial};
use reqwest::header::{COOKIE, SET_COOKIE};
use reqwest::{Method, Response};
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
        Trial::test("an_unknown_store_is_refused", || {
            run(unknown_store_is_refused());
            Ok(())
        }),
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
    // Before the exit, which would leave it behind.
    drop(directory);
    conclusion.exit();
}

fn journey(name: &str, store: String, durable: bool) -> Trial {
    Trial::test(format!("{name}::sign_in_restart_sign_out"), move || {
        run(sign_in_restart_sign_out(store, durable));
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

    async fn send(&mut self, method: Method, path: &str, form: &'static str) -> Response {
        let mut request = self
            .http
            .request(method, format!("{}{path}", self.url))
            .header("content-type", "application/x-www-form-urlencoded")
            .body(form);
        if let Some(cookie) = &self.cookie {
            request = request.header(COOKIE, cookie);
        }
        let response = request.send().await.unwrap();
        if let Some(set) = response.headers().get(SET_COOKIE) {
            let pair = set.to_str().unwrap().split(';').next().unwrap();
            self.cookie = (!pair.ends_with('=')).then(|| pair.to_owned());
        }
        response
    }
}
