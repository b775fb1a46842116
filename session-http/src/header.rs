//! The session id in headers, for clients that are no browsers.

use session_core::{Error, Result};

use crate::RequestHeaders;

/// Where a client that is no browser, for example a mobile app, sends the session id, and where it gets a new one.
///
/// | | the client sends | the response that has a new id |
/// |---|---|---|
/// | [`bearer`](Self::bearer) | `Authorization: Bearer <id>` | `session-token: <id>` |
/// | [`named`](Self::named)`("x-session")` | `x-session: <id>` | `x-session: <id>` |
///
/// The response has the header when the id is new or the session has ended; then it is empty, and the client forgets
/// the id. Otherwise the client keeps the id that it has. An id lives as long as the session on the server; a client
/// whose session has expired gets an empty session, as a browser does.
///
/// A client that has no id yet sends the header without one (`Authorization: Bearer`, `x-session:`).
///
/// Use it for clients that are no browsers. In a browser, any script on the page could read the id; it can't read
/// the cookie. No form or link of another site can send the header, so such requests need no protection against
/// cross-site request forgery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SessionHeader {
    scheme: Scheme,
    /// In lower case.
    request: String,
    response: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scheme {
    Bearer,
    Plain,
}

impl SessionHeader {
    /// The client sends `Authorization: Bearer <id>` (RFC 6750, 2.1), and gets a new id in `session-token`.
    #[must_use]
    pub fn bearer() -> Self {
        Self {
            scheme: Scheme::Bearer,
            request: "authorization".into(),
            response: "session-token".into(),
        }
    }

    /// Request and response have the id in the header of this name.
    ///
    /// # Errors
    /// `InvalidConfig` if it is not the name of a header, or one that has another meaning, such as `Cookie`,
    /// `Authorization` or `Content-Type`.
    pub fn named(name: &str) -> Result<Self> {
        let name = own_name(name)?;
        Ok(Self { scheme: Scheme::Plain, request: name.clone(), response: name })
    }

    /// The header in which the client gets a new id.
    ///
    /// # Errors
    /// As [`named`](Self::named).
    pub fn with_response(mut self, name: &str) -> Result<Self> {
        self.response = own_name(name)?;
        Ok(self)
    }

    /// Whether a request or a response would have one header for the ids of both.
    pub(crate) fn shares_a_header_with(&self, other: &Self) -> bool {
        self.request == other.request || self.response == other.response
    }

    pub(crate) fn request(&self) -> &str {
        &self.request
    }

    pub(crate) fn response(&self) -> &str {
        &self.response
    }

    /// What the client sent, perhaps nothing; `None` if it did not send the header.
    pub(crate) fn sent<'a>(&self, headers: &'a impl RequestHeaders) -> Option<&'a [u8]> {
        let mut sent = None;
        headers.each(&self.request, |value| {
            let value = match self.scheme {
                Scheme::Plain => Some(value),
                Scheme::Bearer => bearer(value),
            };
            sent = sent.or(value.map(<[u8]>::trim_ascii));
        });
        sent
    }
}

/// What follows the scheme, whose name is compared without case (RFC 9110, 11.1).
fn bearer(value: &[u8]) -> Option<&[u8]> {
    let (scheme, rest) = value.split_at_checked(b"bearer".len())?;
    let ends = rest.first().is_none_or(|byte| *byte == b' ');
    (ends && scheme.eq_ignore_ascii_case(b"bearer")).then_some(rest)
}

fn own_name(name: &str) -> Result<String> {
    let is_token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
    let name = name.to_ascii_lowercase();
    let taken = [
        "authorization",
        "cache-control",
        "connection",
        "content-length",
        "content-type",
        "cookie",
        "host",
        "location",
        "set-cookie",
        "transfer-encoding",
        "vary",
    ];
    if name.is_empty() || !name.bytes().all(is_token) || taken.contains(&name.as_str()) {
        return Err(Error::invalid_config(format!(
            "{name:?} can't be the header of the session id: choose a name of letters, digits and hyphens that has \
             no other meaning, for example \"x-session\""
        )));
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Headers(Vec<(&'static str, &'static str)>);

    impl RequestHeaders for Headers {
        fn each<'a>(&'a self, name: &str, mut see: impl FnMut(&'a [u8])) {
            self.0
                .iter()
                .filter(|(there, _)| *there == name)
                .for_each(|(_, value)| see(value.as_bytes()));
        }
    }

    #[test]
    fn the_scheme_is_bearer_and_nothing_else() {
        for (value, sent) in [
            ("Bearer abc", Some("abc")),
            ("bearer   abc ", Some("abc")),
            ("Bearer", Some("")),
            ("BEARER ", Some("")),
            ("Bearerabc", None),
            ("Basic abc", None),
            ("", None),
        ] {
            let headers = Headers(vec![("authorization", value)]);
            assert_eq!(SessionHeader::bearer().sent(&headers), sent.map(str::as_bytes), "{value}");
        }
        let two = Headers(vec![("authorization", "Basic x"), ("authorization", "Bearer abc")]);
        assert_eq!(SessionHeader::bearer().sent(&two), Some(&b"abc"[..]));
        assert_eq!(SessionHeader::named("X-Session").unwrap().sent(&two), None);
    }

    #[test]
    fn two_layers_share_no_header() {
        let named = |name| SessionHeader::named(name).unwrap();
        let bearer = SessionHeader::bearer();
        for (one, other, shares) in [
            (bearer.clone(), bearer.clone(), true),
            (bearer.clone(), named("x-a"), false),
            (bearer.clone(), named("x-a").with_response("session-token").unwrap(), true),
            (bearer.clone(), bearer.clone().with_response("x-b").unwrap(), true),
            (named("x-a"), named("x-b"), false),
        ] {
            assert_eq!(one.shares_a_header_with(&other), shares, "{one:?} {other:?}");
        }
    }

    #[test]
    fn a_name_is_that_of_a_header_without_another_meaning() {
        for name in [
            "Content-Length",
            "Location",
            "",
            "x session",
            "x:y",
            "Cookie",
            "set-cookie",
            "Authorization",
            "é",
        ] {
            assert!(SessionHeader::named(name).is_err(), "{name}");
            assert!(SessionHeader::bearer().with_response(name).is_err(), "{name}");
        }
    }
}
