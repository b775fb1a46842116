//! The application's own page in place of the layer's.

use session_core::ErrorKind;

use crate::app::{Slow, app_with, quiet, serve};
use crate::support::{Client, Probe};

#[tokio::test]
async fn the_application_can_show_its_own_page_for_an_outage() {
    use axum::http::header::CONTENT_LENGTH;
    use axum::response::{Html, IntoResponse as _, Response};
    use session_tower::SessionFailure;
    async fn own_page(response: Response) -> Response {
        if response.extensions().get::<SessionFailure>().is_none() {
            return response;
        }
        let (mut kept, _) = response.into_parts();
        let (page, body) = Html("our own page").into_response().into_parts();
        kept.headers.remove(CONTENT_LENGTH);
        kept.headers.extend(page.headers);
        Response::from_parts(kept, body)
    }
    let probe = Probe::default();
    let router = app_with(quiet(probe.store()), Slow::default())
        .layer(axum::middleware::map_response(own_page));
    let mut client = Client::new(serve(router).await);
    client.get("/set/value/x").await;
    for failing in ["load", "save"] {
        probe.fail(failing, ErrorKind::Unavailable);
        let reply = client.get("/set/value/y").await;
        assert_eq!((reply.status, &*reply.text), (503, "our own page"), "{failing}");
        assert_eq!(reply.header("vary"), Some("Cookie"), "{failing}");
        assert_eq!(reply.header("cache-control"), Some("no-store"), "{failing}");
        assert!(reply.header("content-type").unwrap().starts_with("text/html"), "{failing}");
    }
}
