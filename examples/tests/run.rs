//! Starts each example and talks to it.
#![allow(clippy::unwrap_used, reason = "a test's helpers are tests")]

use std::process::{Child, Command};
use std::time::Duration;

use futures_util::{SinkExt as _, StreamExt as _};
use reqwest::header::{COOKIE, SET_COOKIE};
use test_servers::Options;
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::tungstenite::client::IntoClientRequest as _;

/// A running example, and a browser's cookies for it.
struct Running {
    process: Child,
    address: String,
    http: reqwest::Client,
    cookies: Vec<(String, String)>,
}

impl Running {
    async fn start(program: &str, environment: &[(&str, &str)]) -> Self {
        let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        let mut command = Command::new(program);
        command.env("PORT", port.to_string()).envs(environment.iter().copied());
        let process = command.spawn().unwrap();
        let http = reqwest::Client::builder().redirect(reqwest::redirect::Policy::none());
        let address = format!("127.0.0.1:{port}");
        let running = Self { process, address, http: http.build().unwrap(), cookies: Vec::new() };
        for _ in 0..200 {
            if tokio::net::TcpStream::connect(&running.address).await.is_ok() {
                return running;
            }
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        panic!("{program} does not listen");
    }

    fn cookie_header(&self) -> String {
        let pairs = self.cookies.iter().map(|(name, value)| format!("{name}={value}"));
        pairs.collect::<Vec<_>>().join("; ")
    }

    async fn send(&mut self, method: &str, path: &str, body: &str) -> (u16, String, Vec<String>) {
        let url = format!("http://{}{path}", self.address);
        let mut request = self.http.request(method.parse().unwrap(), url);
        if !self.cookies.is_empty() {
            request = request.header(COOKIE, self.cookie_header());
        }
        if !body.is_empty() {
            let kind = ("content-type", "application/x-www-form-urlencoded");
            request = request.header(kind.0, kind.1).body(body.to_owned());
        }
        let response = request.send().await.unwrap();
        let status = response.status().as_u16();
        let set: Vec<String> = response
            .headers()
            .get_all(SET_COOKIE)
            .iter()
            .map(|cookie| cookie.to_str().unwrap().to_owned())
            .collect();
        for cookie in &set {
            let (name, value) = cookie.split(';').next().unwrap().split_once('=').unwrap();
            self.cookies.retain(|(known, _)| known != name);
            if !value.is_empty() {
                self.cookies.push((name.to_owned(), value.to_owned()));
            }
        }
        (status, response.text().await.unwrap(), set)
    }

    async fn get(&mut self, path: &str) -> String {
        let (status, text, _) = self.send("GET", path, "").await;
        assert_eq!(status, 200, "{path}: {text}");
        text
    }

    async fn post(&mut self, path: &str) -> Vec<String> {
        let (status, text, set) = self.send("POST", path, "").await;
        assert!(status < 400, "{path}: {status} {text}");
        set
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn login() {
    let mut app = Running::start(env!("CARGO_BIN_EXE_login"), &[]).await;
    assert_eq!(app.send("GET", "/account", "").await.0, 303);
    let wrong = app.send("POST", "/sign-in", "user=ann&password=guess").await;
    assert_eq!((wrong.0, wrong.2.len()), (403, 0));
    let right = app.send("POST", "/sign-in", "user=ann&password=correct+horse").await;
    assert_eq!((right.0, right.2.len()), (303, 1));
    assert_eq!(app.get("/account").await, "The account of ann.");
    let kept = app.cookies.clone();
    app.post("/sign-out").await;
    assert!(app.cookies.is_empty());
    app.cookies = kept;
    assert_eq!(app.send("GET", "/account", "").await.0, 303, "a copy of the cookie is of no use");
}

#[tokio::test]
async fn remember_me() {
    let mut app = Running::start(env!("CARGO_BIN_EXE_remember_me"), &[]).await;
    let set = app.post("/sign-in").await;
    assert!(!set[0].contains("Max-Age"), "{set:?}");
    let set = app.post("/sign-in?remember=true").await;
    assert!(set[0].contains("Max-Age=2592000"), "{set:?}");
    let set = app.post("/forget").await;
    assert!(!set[0].contains("Max-Age"), "{set:?}");
}

#[tokio::test]
async fn flash() {
    let mut app = Running::start(env!("CARGO_BIN_EXE_flash"), &[]).await;
    app.post("/order").await;
    assert_eq!(app.get("/").await, "Messages: Your order is on its way.");
    assert_eq!(app.get("/").await, "Messages: ");
}

#[tokio::test]
async fn typed_data() {
    let mut app = Running::start(env!("CARGO_BIN_EXE_typed_data"), &[]).await;
    app.post("/add/book").await;
    app.post("/add/pen").await;
    assert_eq!(app.get("/").await, "2 items, coupon: false");
    app.post("/old-version").await;
    assert_eq!(app.get("/").await, "0 items, coupon: false");
    app.post("/add/book").await;
    assert_eq!(app.get("/").await, "1 items, coupon: false", "the old value was removed");
}

#[tokio::test]
async fn websocket() {
    let mut app = Running::start(env!("CARGO_BIN_EXE_websocket"), &[]).await;
    app.post("/sign-in").await;
    let mut request = format!("ws://{}/socket", app.address).into_client_request().unwrap();
    request.headers_mut().insert("cookie", app.cookie_header().parse().unwrap());
    let (mut socket, _) = tokio_tungstenite::connect_async(request).await.unwrap();
    socket.send(Message::text("hello")).await.unwrap();
    assert_eq!(socket.next().await.unwrap().unwrap(), Message::text("hello"));
    app.post("/sign-out").await;
    let closed = tokio::time::timeout(Duration::from_secs(5), async {
        while let Some(Ok(message)) = socket.next().await {
            if message.is_close() {
                break;
            }
        }
    });
    closed.await.expect("the socket ends with its session");
}

#[tokio::test]
async fn background_job() {
    let mut app = Running::start(env!("CARGO_BIN_EXE_background_job"), &[]).await;
    app.post("/report").await;
    // On a slow machine the task may have ended already.
    assert!(["in progress", "ready"].contains(&&*app.get("/").await));
    for _ in 0..100 {
        if app.get("/").await == "ready" {
            return;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("the report is not ready");
}

#[tokio::test]
async fn two_layers() {
    let mut app = Running::start(env!("CARGO_BIN_EXE_two_layers"), &[]).await;
    app.post("/admin/sign-in").await;
    assert_eq!((app.get("/admin").await, app.get("/").await), ("ann".into(), "nobody".into()));
    app.post("/sign-in").await;
    assert_eq!(app.get("/admin/as-visitor").await, "ann");
    assert_eq!(app.cookies.len(), 2);
}

#[tokio::test]
async fn postgres() {
    let server = test_servers::postgres::start_new(Options::default()).expect("PostgreSQL");
    let environment = [("DATABASE_URL", server.url())];
    let mut app = Running::start(env!("CARGO_BIN_EXE_postgres"), &environment).await;
    assert_eq!(app.get("/").await, "1");
    assert_eq!(app.get("/").await, "2");
    let mut other = Running::start(env!("CARGO_BIN_EXE_postgres"), &environment).await;
    other.cookies.clone_from(&app.cookies);
    assert_eq!(other.get("/").await, "3", "two servers, one store");
}

#[tokio::test]
async fn redis_in_production() {
    let server = test_servers::redis::start_new(Options::default()).expect("Redis");
    let environment = [("REDIS_URL", server.url())];
    let mut app = Running::start(env!("CARGO_BIN_EXE_redis_in_production"), &environment).await;
    assert_eq!(app.get("/").await, "1");
    assert_eq!(app.get("/about").await, "available: true, count: Some(1)");
    server.kill().unwrap();
    assert_eq!(app.get("/about").await, "available: false, count: None");
    let (status, _, set) = app.send("GET", "/", "").await;
    assert_eq!((status, set.len()), (503, 0));
    server.restart().unwrap();
    assert_eq!(app.send("GET", "/", "").await.0, 200);
}
