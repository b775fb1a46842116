//! For tests of applications, with the feature `testing`: a handler's session without HTTP, and a client with a
//! cookie jar for a router.

use std::fmt;

use axum_core::body::Body;
use http::header::{CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::{HeaderMap, Request, Response, StatusCode};
use http_body_util::BodyExt as _;
use session_core::SessionStore;
pub use session_http::testing::{Jar, SessionChange};
use tower_service::Service;

use crate::Session;

const FORM: &str = "application/x-www-form-urlencoded";

/// A new, empty session, as a handler gets it for a client without one. Call the handler with it.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use session_memory::MemoryBackend;
/// use session_tower::session_core::SessionStore;
/// use session_tower::{Session, SessionFailure, testing};
///
/// async fn visits(session: Session) -> Result<String, SessionFailure> {
///     let visits = session.update_and_save("visits", |n: Option<u64>| n.unwrap_or(0) + 1).await?;
///     Ok(format!("visit number {visits}"))
/// }
///
/// let session = testing::session(&SessionStore::new(MemoryBackend::new()));
/// assert_eq!(visits(session.clone()).await.unwrap(), "visit number 1");
/// assert_eq!(session.get::<u64>("visits")?, Some(1));
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn session(store: &SessionStore) -> Session {
    Session(session_http::testing::session(store))
}

/// A client for tests, without a network: it calls a service, for example an axum router, and keeps its cookies as a
/// browser does. A clone is another client with the same cookies.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use axum::{Router, routing::{get, post}};
/// use session_memory::MemoryBackend;
/// use session_tower::session_core::{Owner, SessionStore};
/// use session_tower::testing::{SessionChange, TestClient, TestResponse};
/// use session_tower::{Session, SessionFailure, SessionLayer};
///
/// async fn sign_in(session: Session) -> Result<(), SessionFailure> {
///     session.sign_in(Owner::new("ann")?);
///     Ok(())
/// }
///
/// let router = Router::new()
///     .route("/sign-in", post(sign_in))
///     .route("/sign-out", post(|session: Session| async move { session.destroy() }))
///     .route("/signed-in", get(|session: Session| async move { session.owner().is_some().to_string() }))
///     .layer(SessionLayer::new(SessionStore::new(MemoryBackend::new())));
///
/// let mut client = TestClient::new(router);
/// let reply: TestResponse = client.post("/sign-in", "").await;
/// assert_eq!(reply.session, SessionChange::Set { persistent: true });
/// let thief = client.clone();
/// assert_eq!(client.get("/signed-in").await.text(), "true");
/// assert_eq!(client.post("/sign-out", "").await.session, SessionChange::Removed);
/// // A stolen copy of the cookie is worth nothing.
/// assert_eq!({ thief }.get("/signed-in").await.text(), "false");
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct TestClient<S> {
    service: S,
    /// The client's cookies.
    pub jar: Jar,
    cookie: String,
}

/// The response to a request of a [`TestClient`].
#[derive(Debug, Clone)]
pub struct TestResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers, cookies among them.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Vec<u8>,
    /// What the response did to the session's cookie.
    pub session: SessionChange,
}

impl TestResponse {
    /// The body as text, with replacement characters for what is not UTF-8.
    #[must_use]
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl<S> TestClient<S> {
    /// A client without cookies. The session's cookie is `__Host-id`.
    pub fn new(service: S) -> Self {
        Self { service, jar: Jar::default(), cookie: "__Host-id".into() }
    }

    /// The session's cookie has another name.
    #[must_use]
    pub fn with_cookie_name(self, name: &str) -> Self {
        Self { cookie: name.into(), ..self }
    }

    /// Sends a GET request.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub async fn get<Out>(&mut self, path: &str) -> TestResponse
    where
        S: Service<Request<Body>, Response = Response<Out>> + Clone,
        S::Error: fmt::Debug,
        Out: http_body::Body,
        Out::Error: fmt::Debug,
    {
        self.send(Request::get(path).body(Body::empty()).expect("the path is valid")).await
    }

    /// Sends a POST request with a form.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub async fn post<Out>(&mut self, path: &str, form: &str) -> TestResponse
    where
        S: Service<Request<Body>, Response = Response<Out>> + Clone,
        S::Error: fmt::Debug,
        Out: http_body::Body,
        Out::Error: fmt::Debug,
    {
        let request = Request::post(path).header(CONTENT_TYPE, FORM);
        self.send(request.body(Body::from(form.to_owned())).expect("the path is valid")).await
    }

    /// Sends a request with the client's cookies, reads the whole response, and keeps its cookies.
    ///
    /// # Panics
    /// If the service or the body fails: a router answers with a status instead.
    pub async fn send<Out>(&mut self, mut request: Request<Body>) -> TestResponse
    where
        S: Service<Request<Body>, Response = Response<Out>> + Clone,
        S::Error: fmt::Debug,
        Out: http_body::Body,
        Out::Error: fmt::Debug,
    {
        if let Some(cookies) = self.jar.header() {
            let cookies = cookies.parse().expect("the jar has what headers had");
            request.headers_mut().insert(COOKIE, cookies);
        }
        let mut service = self.service.clone();
        std::future::poll_fn(|cx| service.poll_ready(cx)).await.expect("the service is ready");
        let response = service.call(request).await.expect("the service answers");
        let (head, body) = response.into_parts();
        let body = body.collect().await.expect("the body is complete").to_bytes().to_vec();
        let set = head.headers.get_all(SET_COOKIE).iter().filter_map(|value| value.to_str().ok());
        let session = self.jar.keep(set, &self.cookie);
        TestResponse { status: head.status, headers: head.headers, body, session }
    }
}

/// Shows the names of the cookies only.
impl<S> fmt::Debug for TestClient<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("jar", &self.jar).finish_non_exhaustive()
    }
}
