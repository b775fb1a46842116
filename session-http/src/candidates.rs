//! The session's cookie as the client sends it.

use std::ops::Range;

use crate::cookie::ID_CHARS;

/// How many different values of the cookie are tried, in the order in which the client sent them.
/// A request has several values if a cookie was also set for another path or domain, or by an attacker.
/// The limit prevents that one request causes many store calls.
const MAX_CANDIDATES: usize = 4;

/// What a value of the cookie may be.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Shape {
    /// A session id: 43 characters of base64url. The store decides whether it is one.
    Id,
    /// The value of a cookie store: any characters of an unquoted value (RFC 6265bis, 4.1.1).
    Sealed,
}

impl Shape {
    /// Whether it can be a value that the server has sent.
    fn fits(self, value: &[u8]) -> bool {
        match self {
            Self::Id => {
                value.len() == ID_CHARS && value.iter().all(|byte| OF_ID[usize::from(*byte)])
            }
            Self::Sealed => !value.is_empty() && value.iter().all(|byte| is_of_value(*byte)),
        }
    }
}

/// Whether a byte may be in a session id. Each request with a session looks at each byte of its id.
const OF_ID: [bool; 256] = {
    let mut table = [false; 256];
    let mut byte = 0_u8;
    while byte < 128 {
        table[byte as usize] = byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
        byte += 1;
    }
    table
};

fn is_of_value(byte: u8) -> bool {
    byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\')
}

/// The values under which the client may have a session, as places in what the client sent.
#[derive(Debug, Clone, Default)]
pub(crate) struct Candidates {
    places: [Range<usize>; MAX_CANDIDATES],
    count: usize,
}

impl Candidates {
    /// The name is compared byte by byte, without trimming, unquoting or percent-decoding. A more lenient
    /// comparison would accept another cookie as a `__Host-` cookie (CVE-2020-7070, CVE-2022-31629,
    /// CVE-2023-23934). Values that don't fit are left out and do not count towards the limit.
    ///
    /// `cookies` are the values of all `Cookie` headers, with a semicolon between two of them.
    pub(crate) fn of_cookies(cookies: &[u8], name: &str, shape: Shape) -> Self {
        let mut found = Self::default();
        let mut next = 0;
        while next < cookies.len() && found.count < MAX_CANDIDATES {
            let rest = &cookies[next..];
            let end = memchr::memchr(b';', rest).unwrap_or(rest.len());
            let pair = rest[..end].strip_prefix(b" ").unwrap_or(&rest[..end]);
            if let Some(value) = value_of(pair, name.as_bytes())
                && shape.fits(value)
                && found.values(cookies).all(|known| known.as_bytes() != value)
            {
                found.add(next + end - value.len()..next + end);
            }
            next += end + 1;
        }
        found
    }

    /// The whole of a header.
    pub(crate) fn of_header(sent: &[u8], shape: Shape) -> Self {
        let mut found = Self::default();
        if shape.fits(sent) {
            found.add(0..sent.len());
        }
        found
    }

    /// The values, of which there are at most four, in the order in which the client sent them.
    pub(crate) fn values<'a>(&self, sent: &'a [u8]) -> impl ExactSizeIterator<Item = &'a str> {
        self.places[..self.count]
            .iter()
            .map(|place| str::from_utf8(&sent[place.clone()]).expect("a value that fits is ASCII"))
    }

    fn add(&mut self, place: Range<usize>) {
        self.places[self.count] = place;
        self.count += 1;
    }
}

fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    pair.strip_prefix(name)?.strip_prefix(b"=")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(lines: &[&str]) -> Vec<String> {
        shaped(lines, Shape::Sealed)
    }

    fn shaped(lines: &[&str], shape: Shape) -> Vec<String> {
        let sent = lines.join(";");
        let candidates = Candidates::of_cookies(sent.as_bytes(), "__Host-id", shape);
        candidates.values(sent.as_bytes()).map(str::to_owned).collect()
    }

    #[test]
    fn finds_the_cookie_among_others_and_in_several_headers() {
        assert_eq!(found(&["a=b; __Host-id=v; c=d"]), ["v"]);
        assert_eq!(found(&["__Host-id=v"]), ["v"]);
        assert_eq!(found(&["a=b;__Host-id=v;c=d"]), ["v"]);
        assert_eq!(found(&["a=b", "__Host-id=v", "__Host-id=w; c=d"]), ["v", "w"]);
        assert_eq!(found(&["__Host-id=v=w"]), ["v=w"]);
        assert!(found(&[]).is_empty());
    }

    #[test]
    fn cookie_prefix_bypass_php_cve_2022_31629_werkzeug_cve_2023_23934() {
        for line in [
            "=__Host-id=v",
            "==__Host-id=v",
            "%5f_Host-id=v",
            "%5F%5FHost-id=v",
            "..Host-id=v",
            "._Host-id=v",
            "_ Host-id=v",
            " _Host-id=v",
            "__host-id=v",
            "__HOST-ID=v",
            "__Host-id =v",
            "\t__Host-id=v",
            "a=b;  __Host-id=v",
            "\"__Host-id\"=v",
            "__Host-id[]=v",
            "__Host-id[a]=v",
            "__Host-id",
            "__Host-id2=v",
            "x__Host-id=v",
            "a=\"; b=__Host-id=v",
        ] {
            assert!(found(&[line]).is_empty(), "{line:?}");
        }
    }

    #[test]
    fn malformed_values_are_left_out() {
        for value in ["", " v", "v ", "\"v\"", "v,w", "v w", "v\\", "v\t", "é"] {
            assert!(found(&[&format!("__Host-id={value}")]).is_empty(), "{value:?}");
        }
        let raw = &b"__Host-id=\xff\xfe"[..];
        assert_eq!(Candidates::of_cookies(raw, "__Host-id", Shape::Sealed).count, 0);
    }

    #[test]
    fn ids_have_43_characters_of_base64url() {
        let id = "Abc-_09".repeat(6) + "z";
        assert_eq!(shaped(&[&format!("__Host-id={id}")], Shape::Id), [&*id]);
        for other in
            [&id[1..], &format!("{id}a"), &format!("{}=", &id[1..]), &format!("{}.", &id[1..])]
        {
            assert!(shaped(&[&format!("__Host-id={other}")], Shape::Id).is_empty(), "{other}");
            assert_eq!(Candidates::of_header(other.as_bytes(), Shape::Id).count, 0);
        }
        let header = Candidates::of_header(id.as_bytes(), Shape::Id);
        assert_eq!(header.values(id.as_bytes()).collect::<Vec<_>>(), [&*id]);
    }

    #[test]
    fn several_cookies_of_one_name_are_tried_in_order_up_to_a_bound() {
        let malformed = "__Host-id=\"quoted\"; ".repeat(100);
        let line = format!("{malformed}__Host-id=a; __Host-id=b; __Host-id=a; __Host-id=c");
        assert_eq!(found(&[&line]), ["a", "b", "c"]);
        let many: String = (0..100).map(|n| format!("__Host-id={n}; ")).collect();
        assert_eq!(found(&[&many]), ["0", "1", "2", "3"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            for found in Candidates::of_cookies(&line, "a", Shape::Sealed).values(&line) {
                let pair = format!("a={found}");
                prop_assert!(line.windows(pair.len()).any(|part| part == pair.as_bytes()));
            }
        }
    }
}
