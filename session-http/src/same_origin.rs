//! Requests that another site makes a browser send.

use crate::headers::RequestHeaders;

/// Whether a request may be carried out although it changes something: it was not sent by a page of another
/// origin. Protects against cross-site request forgery, also of the sign-in form, which needs no cookie (OWASP ASVS 5,
/// 3.5.1).
///
/// GET, HEAD and OPTIONS are always allowed, because they must not change anything. Browsers say where a request comes
/// from in `Sec-Fetch-Site` or `Origin`; a client that sends neither is not a browser, and does not add a visitor's
/// cookies by itself. `method` is in upper case.
///
/// ```
/// use session_http::{RequestHeaders, is_same_origin};
///
/// struct Headers(Vec<(&'static str, &'static str)>);
///
/// impl RequestHeaders for Headers {
///     fn each<'a>(&'a self, name: &str, mut see: impl FnMut(&'a [u8])) {
///         self.0.iter().filter(|(n, _)| *n == name).for_each(|(_, value)| see(value.as_bytes()));
///     }
/// }
///
/// let form_of_another_site = Headers(vec![("sec-fetch-site", "cross-site")]);
/// assert!(!is_same_origin("POST", &form_of_another_site));
/// assert!(is_same_origin("GET", &form_of_another_site));
/// ```
pub fn is_same_origin(method: &str, headers: &impl RequestHeaders) -> bool {
    if is_safe(method) {
        return true;
    }
    if let Some(site) = headers.first("sec-fetch-site") {
        return site == b"same-origin" || site == b"none";
    }
    let Some(origin) = headers.first("origin") else {
        return true;
    };
    // The browser sends "null" for a page without an origin.
    let host = origin.windows(3).position(|part| part == b"://").map(|at| &origin[at + 3..]);
    host.zip(headers.first("host")).is_some_and(|(origin, host)| origin.eq_ignore_ascii_case(host))
}

/// Whether the method must not change anything (RFC 9110, 9.2.1).
pub(crate) fn is_safe(method: &str) -> bool {
    matches!(method, "GET" | "HEAD" | "OPTIONS" | "TRACE")
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Headers<'a>(&'a [(&'a str, &'a str)]);

    impl RequestHeaders for Headers<'_> {
        fn each<'a>(&'a self, name: &str, mut see: impl FnMut(&'a [u8])) {
            self.0.iter().filter(|(there, _)| *there == name).for_each(|(_, v)| see(v.as_bytes()));
        }
    }

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
            let headers = [&[("host", "here:80")], sent].concat();
            assert_eq!(is_same_origin("POST", &Headers(&headers)), expected, "{sent:?}");
            for safe in ["GET", "HEAD", "OPTIONS"] {
                assert!(is_same_origin(safe, &Headers(&headers)), "{sent:?}");
            }
        }
        assert!(!is_same_origin("POST", &Headers(&[("origin", "http://here:80")])), "no host");
    }
}
