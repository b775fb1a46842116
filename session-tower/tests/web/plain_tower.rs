//! The layer around a tower service without axum.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::pin::Pin;
use std::task::{Context, Poll};

use http::{Request, Response};
use session_core::ErrorKind;
use session_tower::{SessionFailure, SessionHandle, SessionService};
use tower_layer::Layer as _;
use tower_service::Service;

use crate::app::quiet;
use crate::support::Probe;

/// Counts the visits of a session.
#[derive(Clone)]
struct Visits;

impl Service<Request<()>> for Visits {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<String>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        Box::pin(async move {
            let visits = visits(&request).await;
            Ok(match visits {
                Ok(visits) => Response::new(visits.to_string()),
                Err(failure) => {
                    let response = Response::builder().status(failure.status());
                    response.body(String::new()).unwrap()
                }
            })
        })
    }
}

async fn visits(request: &Request<()>) -> Result<u64, SessionFailure> {
    let handle = request.extensions().get::<SessionHandle>().unwrap();
    let session = handle.session().await?;
    Ok(session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1)?)
}

async fn call(service: &mut SessionService<Visits>, cookie: Option<&str>) -> Response<String> {
    let mut request = Request::new(());
    if let Some(cookie) = cookie {
        request.headers_mut().insert("cookie", cookie.parse().unwrap());
    }
    let response = service.call(request).await.unwrap();
    response.map(|body| body.into_inner().unwrap_or_default())
}

#[tokio::test]
async fn any_service_reaches_its_session_through_the_handle() {
    let probe = Probe::default();
    let mut service = quiet(probe.store()).layer(Visits);
    let first = call(&mut service, None).await;
    let cookie = first.headers()["set-cookie"].to_str().unwrap().split(';').next().unwrap();
    for visit in 2..5 {
        let reply = call(&mut service, Some(cookie)).await;
        assert_eq!(reply.body(), &visit.to_string());
    }
    probe.fail("load", ErrorKind::Unavailable);
    assert_eq!(call(&mut service, Some(cookie)).await.status(), 503);
}

/// A service whose error is not a response.
#[derive(Clone)]
struct Failing;

impl Service<Request<()>> for Failing {
    type Response = Response<String>;
    type Error = &'static str;
    type Future = Ready<Result<Response<String>, &'static str>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), &'static str>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Request<()>) -> Self::Future {
        ready(Err("failed"))
    }
}

#[tokio::test]
async fn errors_of_the_service_pass_through() {
    let mut service = quiet(Probe::default().store()).layer(Failing);
    assert_eq!(service.call(Request::new(())).await.unwrap_err(), "failed");
}

/// Destroys the session and never responds.
#[derive(Clone)]
struct LogsOut;

impl Service<Request<()>> for LogsOut {
    type Response = Response<String>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<String>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<()>) -> Self::Future {
        let handle = request.extensions().get::<SessionHandle>().unwrap().clone();
        Box::pin(async move {
            handle.session().await.unwrap().destroy();
            std::future::pending().await
        })
    }
}

#[test]
fn a_logout_survives_a_request_that_is_dropped_outside_the_runtime() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let probe = Probe::default();
    let store = probe.store();
    let session = session_core::Session::new();
    session.insert("user", "ann").unwrap();
    runtime.block_on(store.save(&session)).unwrap();
    let cookie = format!("__Host-id={}", store.cookie_value(&session).unwrap().as_str());
    let request = Request::builder().header("cookie", cookie).body(()).unwrap();
    let mut request = Box::pin(quiet(store).layer(LogsOut).call(request));
    runtime.block_on(async {
        let moment = std::time::Duration::from_millis(20);
        assert!(tokio::time::timeout(moment, &mut request).await.is_err());
    });
    assert_eq!(probe.sessions(), 1);
    drop(request);
    runtime.block_on(crate::support::eventually(|| probe.sessions() == 0));
}
