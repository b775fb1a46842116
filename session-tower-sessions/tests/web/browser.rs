//! A browser: requests to a router, with a jar of cookies.

use std::collections::BTreeMap;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::header::{COOKIE, SET_COOKIE};
use axum::http::{Request, StatusCode};
use tower::ServiceExt as _;

#[derive(Clone)]
pub(crate) struct Browser {
    app: Router,
    jar: BTreeMap<String, String>,
}

pub(crate) struct Answer {
    pub(crate) status: StatusCode,
    pub(crate) body: String,
    /// The `Set-Cookie` headers.
    pub(crate) cookies: Vec<String>,
}

impl Browser {
    pub(crate) fn new(app: &Router) -> Self {
        Self { app: app.clone(), jar: BTreeMap::new() }
    }

    /// A request whose answer must be 200.
    pub(crate) async fn get(&mut self, path: &str) -> Answer {
        let answer = self.send(path).await;
        assert_eq!(answer.status, StatusCode::OK, "{path}: {}", answer.body);
        answer
    }

    pub(crate) async fn body(&mut self, path: &str) -> String {
        self.get(path).await.body
    }

    pub(crate) async fn send(&mut self, path: &str) -> Answer {
        let answer = self.request(path).await;
        self.keep(&answer);
        answer
    }

    /// A request whose answer has not reached the jar yet.
    pub(crate) async fn request(&self, path: &str) -> Answer {
        let jar: Vec<_> = self.jar.iter().map(|(name, value)| format!("{name}={value}")).collect();
        let mut request = Request::get(path);
        if !jar.is_empty() {
            request = request.header(COOKIE, jar.join("; "));
        }
        let request = request.body(Body::empty()).unwrap();
        let response = self.app.clone().oneshot(request).await.unwrap();
        let cookies = response.headers().get_all(SET_COOKIE).iter();
        let cookies = cookies.map(|cookie| cookie.to_str().unwrap().to_owned()).collect();
        let status = response.status();
        let body = to_bytes(response.into_body(), usize::MAX).await.unwrap();
        Answer { status, body: String::from_utf8(body.into()).unwrap(), cookies }
    }

    pub(crate) fn keep(&mut self, answer: &Answer) {
        for cookie in &answer.cookies {
            let (pair, attributes) = cookie.split_once(';').unwrap_or((cookie, ""));
            let (name, value) = pair.split_once('=').unwrap();
            if attributes.contains("Max-Age=0") {
                self.jar.remove(name);
            } else {
                self.jar.insert(name.to_owned(), value.to_owned());
            }
        }
    }

    /// The value of the session cookie.
    pub(crate) fn id(&self) -> Option<&str> {
        self.jar.get("id").map(String::as_str)
    }

    pub(crate) fn set_id(&mut self, value: &str) {
        self.jar.insert("id".to_owned(), value.to_owned());
    }
}

impl Answer {
    /// The seconds that the session cookie lives, if the answer sets one that outlives the browser.
    pub(crate) fn max_age(&self) -> Option<u64> {
        let [cookie] = &self.cookies[..] else { panic!("one cookie: {:?}", self.cookies) };
        let (_, rest) = cookie.split_once("Max-Age=")?;
        Some(rest.split(';').next().unwrap().parse().unwrap())
    }
}
