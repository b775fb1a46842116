//! For tests of applications, with the feature `testing`: a handler's session without HTTP, and a client with a
//! cookie jar for an application.

use std::fmt;

use actix_http::Request;
use actix_web::body::{MessageBody, to_bytes};
use actix_web::dev::{Service, ServiceResponse};
use actix_web::http::StatusCode;
use actix_web::http::header::{ContentType, HeaderMap, SET_COOKIE};
use actix_web::test::TestRequest;
use actix_web::{Error, http::header::COOKIE};
use session_core::SessionStore;
pub use session_http::testing::{Jar, SessionChange};

use crate::Session;

/// A new, empty session, as a handler gets it for a client without one. Call the handler with it.
///
/// ```
/// use session_actix::session_core::{Result, SessionStore};
/// use session_actix::testing;
/// use session_memory::MemoryBackend;
///
/// # fn main() -> Result<()> {
/// let session = testing::session(&SessionStore::new(MemoryBackend::new()));
/// session.insert("theme", "dark")?;
/// # Ok(())
/// # }
/// ```
#[must_use]
pub fn session(store: &SessionStore) -> Session {
    Session::of(session_http::testing::session(store))
}

/// A client for tests, without a network: it calls an application of [`actix_web::test::init_service`] and keeps its
/// cookies as a browser does.
///
/// ```
/// use actix_web::{App, test, web};
/// use session_actix::session_core::{Owner, SessionStore};
/// use session_actix::testing::{SessionChange, TestClient, TestResponse};
/// use session_actix::{Session, SessionFailure, SessionMiddleware};
/// use session_memory::MemoryBackend;
///
/// async fn sign_in(session: Session) -> Result<&'static str, SessionFailure> {
///     session.sign_in(Owner::new("ann")?);
///     Ok("")
/// }
///
/// # #[actix_web::main]
/// # async fn main() {
/// let sessions = SessionMiddleware::new(SessionStore::new(MemoryBackend::new()));
/// let app = App::new().wrap(sessions).route("/sign-in", web::post().to(sign_in));
/// let app = test::init_service(app).await;
/// let mut client = TestClient::new(&app);
/// let reply: TestResponse = client.post("/sign-in", "").await;
/// assert_eq!(reply.session, SessionChange::Set { persistent: true });
/// # }
/// ```
pub struct TestClient<'a, S> {
    application: &'a S,
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

impl<'a, S> TestClient<'a, S> {
    /// A client without cookies. The session's cookie is `__Host-id`.
    pub fn new(application: &'a S) -> Self {
        Self { application, jar: Jar::default(), cookie: "__Host-id".into() }
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
    pub async fn get<B>(&mut self, path: &str) -> TestResponse
    where
        S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody,
        B::Error: fmt::Debug,
    {
        self.send(TestRequest::get().uri(path)).await
    }

    /// Sends a POST request with a form.
    ///
    /// # Panics
    /// As [`send`](Self::send).
    pub async fn post<B>(&mut self, path: &str, form: &str) -> TestResponse
    where
        S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody,
        B::Error: fmt::Debug,
    {
        let request = TestRequest::post().uri(path).insert_header(ContentType::form_url_encoded());
        self.send(request.set_payload(form.to_owned())).await
    }

    /// Sends a request with the client's cookies, reads the whole response, and keeps its cookies.
    ///
    /// # Panics
    /// If the body fails. An error of a handler is a response.
    pub async fn send<B>(&mut self, request: TestRequest) -> TestResponse
    where
        S: Service<Request, Response = ServiceResponse<B>, Error = Error>,
        B: MessageBody,
        B::Error: fmt::Debug,
    {
        let request = match self.jar.header() {
            Some(cookies) => request.insert_header((COOKIE, cookies)),
            None => request,
        };
        let (status, headers, body) = match self.application.call(request.to_request()).await {
            Ok(response) => {
                let (_, response) = response.into_parts();
                let (head, body) = response.into_parts();
                let body = to_bytes(body).await.unwrap_or_else(|_| panic!("the body is complete"));
                (head.status(), head.headers().clone(), body)
            }
            Err(error) => {
                let (head, body) = error.error_response().into_parts();
                let body = to_bytes(body).await.unwrap_or_default();
                (head.status(), head.headers().clone(), body)
            }
        };
        let set = headers.get_all(SET_COOKIE).filter_map(|value| value.to_str().ok());
        let session = self.jar.keep(set, &self.cookie);
        TestResponse { status, headers, body: body.to_vec(), session }
    }
}

/// Shows the names of the cookies only.
impl<S> fmt::Debug for TestClient<'_, S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TestClient").field("jar", &self.jar).finish_non_exhaustive()
    }
}
