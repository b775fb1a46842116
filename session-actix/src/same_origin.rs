//! Refuses requests that pages of other sites send.

use actix_web::body::MessageBody;
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::error::ErrorForbidden;
use actix_web::middleware::Next;

use crate::headers;

/// Refuses requests other than GET, HEAD and OPTIONS that a page of another origin sent, with 403: against cross-site
/// request forgery, also of the sign-in form, which needs no cookie. See
/// [`is_same_origin`](session_http::is_same_origin).
///
/// ```
/// use actix_web::{App, middleware::from_fn, web};
///
/// let app = App::new()
///     .wrap(from_fn(session_actix::same_origin))
///     .route("/sign-in", web::post().to(async || "signed in"));
/// ```
///
/// # Errors
/// 403, or the error of the service inside.
pub async fn same_origin<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, actix_web::Error> {
    let method = request.method().as_str();
    if session_http::is_same_origin(method, &headers::Request(request.headers())) {
        return next.call(request).await;
    }
    Err(ErrorForbidden("This request came from another site.\n"))
}
