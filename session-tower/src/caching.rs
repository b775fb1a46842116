//! The headers that tell caches how to treat a response with a session.

use http::header::{CACHE_CONTROL, EXPIRES, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};

/// Headers that some caches follow instead of `Cache-Control`. Headers whose names end in
/// `cdn-cache-control` (RFC 9213) are recognised by this ending.
const OVERRULING: [HeaderName; 3] = [
    HeaderName::from_static("surrogate-control"),
    HeaderName::from_static("x-accel-expires"),
    HeaderName::from_static("edge-control"),
];

/// Tells caches that the response depends on the cookie, so that they do not send it to other clients.
pub(crate) fn vary_on_cookie(headers: &mut HeaderMap) {
    let said = headers
        .get_all(VARY)
        .iter()
        .flat_map(directives)
        .any(|field| field == b"*" || field.eq_ignore_ascii_case(b"cookie"));
    if !said {
        headers.append(VARY, HeaderValue::from_static("Cookie"));
    }
}

/// Keeps a response that sets the cookie out of shared caches. `Cache-Control: private` and
/// `no-store` already do and stay unchanged; any other value is replaced by `no-store`.
pub(crate) fn keep_out_of_shared_caches(headers: &mut HeaderMap) {
    let says = |wanted: &[&[u8]], read: fn(&[u8]) -> &[u8]| {
        let mut said = headers.get_all(CACHE_CONTROL).iter().flat_map(directives);
        said.any(|one| wanted.iter().any(|wanted| read(one).eq_ignore_ascii_case(wanted)))
    };
    // `private="field"` restricts that field only, and a comma within quotes is not a separator. A value
    // with quotes is not parsed but replaced.
    let quotes =
        headers.get_all(CACHE_CONTROL).iter().any(|value| value.as_bytes().contains(&b'"'));
    let kept_out = !quotes && says(&[b"private", b"no-store"], |directive| directive);
    let shared = says(&[b"public", b"s-maxage"], |directive| {
        directive.split(|byte| *byte == b'=').next().unwrap_or_default()
    });
    if !kept_out || shared {
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
        headers.remove(EXPIRES);
    }
    let overruling: Vec<HeaderName> = headers
        .keys()
        .filter(|name| OVERRULING.contains(name) || name.as_str().ends_with("cdn-cache-control"))
        .cloned()
        .collect();
    for name in overruling {
        headers.remove(name);
    }
}

fn directives(value: &HeaderValue) -> impl Iterator<Item = &[u8]> {
    value.as_bytes().split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, HeaderValue::from_static(value));
        }
        headers
    }

    fn values(headers: &HeaderMap, name: HeaderName) -> Vec<&str> {
        headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    #[test]
    fn vary_is_appended_once_and_respects_a_star() {
        for (before, after) in [
            (&[][..], &["Cookie"][..]),
            (&[("vary", "accept-encoding")], &["accept-encoding", "Cookie"]),
            (&[("vary", "accept, COOKIE")], &["accept, COOKIE"]),
            (&[("vary", "accept"), ("vary", "cookie")], &["accept", "cookie"]),
            (&[("vary", "*")], &["*"]),
            (&[("vary", "x-cookie")], &["x-cookie", "Cookie"]),
        ] {
            let mut headers = headers(before);
            vary_on_cookie(&mut headers);
            assert_eq!(values(&headers, VARY), after);
        }
    }

    #[test]
    fn what_shared_caches_may_store_becomes_no_store() {
        for before in [
            &[][..],
            &[("cache-control", "public, max-age=600")],
            &[("cache-control", "s-maxage=600")],
            &[("cache-control", "private, S-MaxAge=600")],
            &[("cache-control", "private"), ("cache-control", "public")],
            &[("cache-control", "max-age=600"), ("expires", "Thu, 01 Jan 2099 00:00:00 GMT")],
            &[("cache-control", "private=\"x-field\", max-age=600")],
            &[("cache-control", "max-age=600, no-cache=\"x-a, private, x-b\"")],
            &[("cache-control", "max-age=600, ext=\"a, no-store, b\"")],
            &[("cache-control", "no-cache")],
        ] {
            let mut headers = headers(before);
            keep_out_of_shared_caches(&mut headers);
            assert_eq!(values(&headers, CACHE_CONTROL), ["no-store"], "{before:?}");
            assert!(!headers.contains_key(EXPIRES));
        }
    }

    #[test]
    fn what_is_private_already_stays() {
        for kept in ["private, max-age=60", "no-store", "Private", "max-age=0, no-store"] {
            let mut headers = headers(&[("cache-control", kept)]);
            keep_out_of_shared_caches(&mut headers);
            assert_eq!(values(&headers, CACHE_CONTROL), [kept]);
        }
    }

    #[test]
    fn headers_that_overrule_cache_control_are_dropped() {
        let mut headers = headers(&[
            ("cache-control", "private"),
            ("surrogate-control", "max-age=600"),
            ("cdn-cache-control", "max-age=600"),
            ("cloudflare-cdn-cache-control", "max-age=600"),
            ("x-accel-expires", "600"),
            ("edge-control", "max-age=600"),
            ("x-other", "kept"),
        ]);
        keep_out_of_shared_caches(&mut headers);
        assert_eq!(headers.len(), 2);
    }
}
