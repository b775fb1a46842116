//! The application's own page in place of the middleware's, and errors of other middlewares.

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{CONTENT_LENGTH, CONTENT_TYPE, HeaderValue};
use actix_web::middleware::{Next, from_fn};
use actix_web::{App, Error, test, web};
use session_actix::{Session, SessionFailure};
use session_core::ErrorKind;

use crate::app::quiet;
use crate::support::Probe;

async fn own_page<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let response = next.call(request).await?.map_into_boxed_body();
    if response.response().extensions().get::<SessionFailure>().is_none() {
        return Ok(response);
    }
    // Caches and the client depend on the status and the headers.
    let mut response = response.map_body(|_, _| BoxBody::new("our own page"));
    let headers = response.headers_mut();
    headers.remove(CONTENT_LENGTH);
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("text/html; charset=utf-8"));
    Ok(response)
}

#[actix_web::test]
async fn the_application_can_show_its_own_page_for_an_outage() {
    let probe = Probe::default();
    let write = async |session: Session| match session.insert("value", "x") {
        Ok(()) => Ok("written"),
        Err(error) => Err(SessionFailure::from(error)),
    };
    let app = App::new()
        .wrap(quiet(probe.store()))
        .wrap(from_fn(own_page))
        .route("/", web::get().to(write));
    let app = test::init_service(app).await;
    for failing in ["load", "save"] {
        let first = test::call_service(&app, test::TestRequest::get().uri("/").to_request()).await;
        let cookie = first.headers().get("set-cookie").unwrap().to_str().unwrap().to_owned();
        assert_eq!(test::read_body(first).await, "written");
        let pair = cookie.split(';').next().unwrap().to_owned();
        probe.fail(failing, ErrorKind::Unavailable);
        let request = test::TestRequest::get().uri("/").insert_header(("cookie", pair));
        let reply = test::call_service(&app, request.to_request()).await;
        probe.recover();
        if failing == "save" && reply.status() == 200 {
            // The second time, the value is unchanged: there is nothing to save.
            continue;
        }
        assert_eq!(reply.status(), 503, "{failing}");
        assert_eq!(reply.headers().get("vary").unwrap(), "Cookie", "{failing}");
        assert_eq!(reply.headers().get("cache-control").unwrap(), "no-store", "{failing}");
        assert_eq!(test::read_body(reply).await, "our own page", "{failing}");
    }
}

/// A middleware inside may fail in place of the handler.
#[actix_web::test]
async fn an_error_of_another_middleware_discards_the_changes_and_tells_caches() {
    async fn teapot<B: MessageBody + 'static>(
        request: ServiceRequest,
        next: Next<B>,
    ) -> Result<ServiceResponse<B>, Error> {
        drop(next.call(request).await?);
        Err(actix_web::error::ErrorImATeapot("short and stout"))
    }
    let probe = Probe::default();
    let write = async |session: Session| {
        session.insert("value", "x").unwrap();
        "written"
    };
    let app = App::new()
        .wrap(from_fn(teapot))
        .wrap(quiet(probe.store()))
        .route("/", web::get().to(write));
    let app = test::init_service(app).await;
    let request = test::TestRequest::get().uri("/").to_request();
    let error = test::try_call_service(&app, request).await.unwrap_err();
    let reply = error.error_response();
    assert_eq!(reply.status(), 418);
    assert_eq!(reply.headers().get("vary").unwrap(), "Cookie");
    assert_eq!(reply.headers().get("set-cookie"), None);
    assert_eq!(error.to_string(), "short and stout");
    assert_eq!(probe.sessions(), 0);
}
