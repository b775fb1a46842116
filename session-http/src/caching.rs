//! The headers that tell caches how to treat a response with a session.

use crate::headers::ResponseHeaders;

/// Headers that some caches follow instead of `Cache-Control`. Headers whose names end in
/// `cdn-cache-control` (RFC 9213) are recognised by this ending.
const OVERRULING: [&str; 3] = ["surrogate-control", "x-accel-expires", "edge-control"];

/// Tells caches that the response depends on this header of the request, so that they do not send it to other
/// clients.
pub(crate) fn vary_on(headers: &mut impl ResponseHeaders, name: &str) {
    let mut said = false;
    headers.each("vary", |value| {
        said |= directives(value)
            .any(|field| field == b"*" || field.eq_ignore_ascii_case(name.as_bytes()));
    });
    if !said {
        headers.append("vary", name);
    }
}

/// Keeps a response that sets the cookie out of shared caches. `Cache-Control: private` and
/// `no-store` already do and stay unchanged; any other value is replaced by `no-store`.
pub(crate) fn keep_out_of_shared_caches(headers: &mut impl ResponseHeaders) {
    // `private="field"` restricts that field only, and a comma within quotes is not a separator. A value
    // with quotes is not parsed but replaced.
    let (mut quotes, mut kept_out, mut shared) = (false, false, false);
    headers.each("cache-control", |value| {
        quotes |= value.contains(&b'"');
        for directive in directives(value) {
            let name = directive.split(|byte| *byte == b'=').next().unwrap_or_default();
            kept_out |= is_one_of(directive, &[b"private", b"no-store"]);
            shared |= is_one_of(name, &[b"public", b"s-maxage"]);
        }
    });
    if quotes || !kept_out || shared {
        headers.set("cache-control", "no-store");
        headers.remove("expires");
    }
    headers.remove_if(|name| OVERRULING.contains(&name) || name.ends_with("cdn-cache-control"));
}

fn is_one_of(said: &[u8], wanted: &[&[u8]]) -> bool {
    wanted.iter().any(|wanted| said.eq_ignore_ascii_case(wanted))
}

fn directives(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(|byte| *byte == b',').map(<[u8]>::trim_ascii)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Default)]
    struct Headers(Vec<(String, String)>);

    impl ResponseHeaders for Headers {
        fn each(&self, name: &str, mut see: impl FnMut(&[u8])) {
            self.values(name).iter().for_each(|value| see(value.as_bytes()));
        }

        fn append(&mut self, name: &'static str, value: &str) {
            self.0.push((name.to_owned(), value.to_owned()));
        }

        fn set(&mut self, name: &'static str, value: &'static str) {
            self.remove(name);
            self.append(name, value);
        }

        fn set_secret(&mut self, name: &str, value: &str) {
            self.0.push((name.to_owned(), value.to_owned()));
        }

        fn remove(&mut self, name: &'static str) {
            self.0.retain(|(there, _)| there != name);
        }

        fn remove_if(&mut self, is_removed: impl Fn(&str) -> bool) {
            self.0.retain(|(name, _)| !is_removed(name));
        }
    }

    impl Headers {
        fn new(pairs: &[(&str, &str)]) -> Self {
            Self(pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect())
        }

        fn values(&self, name: &str) -> Vec<&str> {
            let pairs = self.0.iter().filter(|(there, _)| there == name);
            pairs.map(|(_, value)| value.as_str()).collect()
        }
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
            let mut headers = Headers::new(before);
            vary_on(&mut headers, "Cookie");
            assert_eq!(headers.values("vary"), after);
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
            let mut headers = Headers::new(before);
            keep_out_of_shared_caches(&mut headers);
            assert_eq!(headers.values("cache-control"), ["no-store"], "{before:?}");
            assert!(headers.values("expires").is_empty());
        }
    }

    #[test]
    fn what_is_private_already_stays() {
        for kept in ["private, max-age=60", "no-store", "Private", "max-age=0, no-store"] {
            let mut headers = Headers::new(&[("cache-control", kept)]);
            keep_out_of_shared_caches(&mut headers);
            assert_eq!(headers.values("cache-control"), [kept]);
        }
    }

    #[test]
    fn headers_that_overrule_cache_control_are_dropped() {
        let mut headers = Headers::new(&[
            ("cache-control", "private"),
            ("surrogate-control", "max-age=600"),
            ("cdn-cache-control", "max-age=600"),
            ("cloudflare-cdn-cache-control", "max-age=600"),
            ("x-accel-expires", "600"),
            ("edge-control", "max-age=600"),
            ("x-other", "kept"),
        ]);
        keep_out_of_shared_caches(&mut headers);
        assert_eq!(headers.0.len(), 2);
    }
}
