//! The headers of the crate `http`.

use http::header::{COOKIE, VARY};
use http::{HeaderMap, HeaderName, HeaderValue};
use session_http::{RequestHeaders, ResponseHeaders};

/// Of a request.
pub(crate) struct Request<'a>(pub(crate) &'a HeaderMap);

impl RequestHeaders for Request<'_> {
    fn each<'a>(&'a self, name: &str, see: impl FnMut(&'a [u8])) {
        // Each request reads these, and a name that has to be parsed first takes twice the time.
        static SEC_PURPOSE: HeaderName = HeaderName::from_static("sec-purpose");
        static SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");
        let values = match name {
            "cookie" => self.0.get_all(COOKIE),
            "sec-purpose" => self.0.get_all(&SEC_PURPOSE),
            "sec-fetch-mode" => self.0.get_all(&SEC_FETCH_MODE),
            name => self.0.get_all(name),
        };
        values.iter().map(HeaderValue::as_bytes).for_each(see);
    }
}

/// Of a response.
pub(crate) struct Response<'a>(pub(crate) &'a mut HeaderMap);

impl ResponseHeaders for Response<'_> {
    fn each(&self, name: &str, see: impl FnMut(&[u8])) {
        let values = match name {
            "vary" => self.0.get_all(VARY),
            name => self.0.get_all(name),
        };
        values.iter().map(HeaderValue::as_bytes).for_each(see);
    }

    fn append(&mut self, name: &'static str, value: &str) {
        // Each response with a session has this one.
        if (name, value) == ("vary", "Cookie") {
            self.0.append(VARY, HeaderValue::from_static("Cookie"));
            return;
        }
        let mut value = HeaderValue::from_str(value).expect("session-http checks what it sets");
        // Neither a `Debug` of the headers nor HTTP/2 compression reveals it.
        value.set_sensitive(name == "set-cookie");
        self.0.append(name, value);
    }

    fn set(&mut self, name: &'static str, value: &'static str) {
        self.0.insert(name, HeaderValue::from_static(value));
    }

    fn set_secret(&mut self, name: &str, value: &str) {
        let name = HeaderName::from_bytes(name.as_bytes()).expect("SessionHeader checks its names");
        let mut value = HeaderValue::from_str(value).expect("session-http checks what it sets");
        value.set_sensitive(true);
        self.0.insert(name, value);
    }

    fn remove(&mut self, name: &'static str) {
        self.0.remove(name);
    }

    fn remove_if(&mut self, is_removed: impl Fn(&str) -> bool) {
        let names: Vec<HeaderName> =
            self.0.keys().filter(|name| is_removed(name.as_str())).cloned().collect();
        for name in names {
            self.0.remove(name);
        }
    }
}
