//! The headers of actix-web.

use actix_web::http::header::{HeaderMap, HeaderName, HeaderValue};
use session_http::{RequestHeaders, ResponseHeaders};

/// Of a request.
pub(crate) struct Request<'a>(pub(crate) &'a HeaderMap);

impl RequestHeaders for Request<'_> {
    fn each<'a>(&'a self, name: &str, see: impl FnMut(&'a [u8])) {
        self.0.get_all(name).map(HeaderValue::as_bytes).for_each(see);
    }
}

/// Of a response.
pub(crate) struct Response<'a>(pub(crate) &'a mut HeaderMap);

impl ResponseHeaders for Response<'_> {
    fn each(&self, name: &str, see: impl FnMut(&[u8])) {
        self.0.get_all(name).map(HeaderValue::as_bytes).for_each(see);
    }

    fn append(&mut self, name: &'static str, value: &str) {
        let mut value = HeaderValue::from_str(value).expect("session-http checks what it sets");
        // A `Debug` of the headers does not reveal it.
        value.set_sensitive(name == "set-cookie");
        self.0.append(HeaderName::from_static(name), value);
    }

    fn set(&mut self, name: &'static str, value: &'static str) {
        self.0.insert(HeaderName::from_static(name), HeaderValue::from_static(value));
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
