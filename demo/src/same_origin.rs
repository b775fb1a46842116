//! Refuses forms that another site sends, also the sign-in form, which needs no cookie.

use axum::extract::Request;
use axum::http::header::{HOST, ORIGIN};
use axum::http::{HeaderMap, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse, Response};

/// Refuses requests from pages of other sites. Clients other than browsers send neither header, and do not
/// add a visitor's cookies by themselves.
pub(crate) async fn only(request: Request, next: Next) -> Response {
    let is_safe = matches!(*request.method(), Method::GET | Method::HEAD | Method::OPTIONS);
    if is_safe || is_same_origin(request.headers()) {
        return next.run(request).await;
    }
    (StatusCode::FORBIDDEN, "This request came from another site.\n").into_response()
}

fn is_same_origin(headers: &HeaderMap) -> bool {
    let text = |name| headers.get(name).map(|value| value.to_str().unwrap_or_default());
    if let Some(site) = text("sec-fetch-site") {
        return matches!(site, "same-origin" | "none");
    }
    let Some(origin) = text(ORIGIN.as_str()) else {
        return true;
    };
    // The browser sends "null" for a page without an origin.
    let host = origin.split_once("://").map(|(_, host)| host);
    host.zip(text(HOST.as_str())).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_of_other_sites_are_recognised_by_their_headers() {
        for (sent, expected) in [
            (&[][..], true),
            (&[("sec-fetch-site", "same-origin")], true),
            (&[("sec-fetch-site", "none")], true),
            (&[("sec-fetch-site", "same-site")], false),
            (&[("sec-fetch-site", "cross-site")], false),
            (&[("sec-fetch-site", "cross-site"), ("origin", "http://here:80")], false),
            (&[("origin", "http://here:80")], true),
            (&[("origin", "https://HERE:80")], true),
            (&[("origin", "http://here")], false),
            (&[("origin", "http://there:80")], false),
            (&[("origin", "http://here:80.there")], false),
            (&[("origin", "null")], false),
            (&[("origin", "")], false),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(HOST, "here:80".parse().unwrap());
            for (name, value) in sent {
                headers.insert(*name, value.parse().unwrap());
            }
            assert_eq!(is_same_origin(&headers), expected, "{sent:?}");
        }
    }
}
