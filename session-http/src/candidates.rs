//! The session's cookie as the client sends it.

/// How many different values of the cookie are tried, in the order in which the client sent them.
/// A request has several values if a cookie was also set for another path or domain, or by an attacker.
/// The limit prevents that one request causes many store calls.
const MAX_CANDIDATES: usize = 4;

/// The values under which the client may have a session.
///
/// The name is compared byte by byte, without trimming, unquoting or percent-decoding. A more lenient
/// comparison would accept another cookie as a `__Host-` cookie (CVE-2020-7070, CVE-2022-31629,
/// CVE-2023-23934). Values that are not `is_plausible`, or that have a character which the server never
/// sends, are left out and do not count towards the limit.
///
/// `cookies` are the values of all `Cookie` headers, with a semicolon between two of them.
pub(crate) fn candidates(
    cookies: &[u8],
    name: &str,
    is_plausible: impl Fn(&str) -> bool,
) -> Vec<String> {
    let mut found: Vec<String> = Vec::new();
    for pair in cookies.split(|byte| *byte == b';') {
        let pair = pair.strip_prefix(b" ").unwrap_or(pair);
        let Some(value) = value_of(pair, name.as_bytes()) else {
            continue;
        };
        if is_plausible(value) && found.iter().all(|known| known != value) {
            found.push(value.to_owned());
            if found.len() == MAX_CANDIDATES {
                break;
            }
        }
    }
    found
}

/// The value of the pair, if the pair has this name and the value has only the characters of an unquoted
/// value (RFC 6265bis, 4.1.1).
fn value_of<'a>(pair: &'a [u8], name: &[u8]) -> Option<&'a str> {
    well_formed(pair.strip_prefix(name)?.strip_prefix(b"=")?)
}

/// The value, if it has only the characters that the server sends.
pub(crate) fn well_formed(value: &[u8]) -> Option<&str> {
    let allowed =
        |byte: &u8| byte.is_ascii_graphic() && !matches!(byte, b'"' | b',' | b';' | b'\\');
    if value.is_empty() || !value.iter().all(allowed) {
        return None;
    }
    str::from_utf8(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn found(lines: &[&str]) -> Vec<String> {
        candidates(lines.join(";").as_bytes(), "__Host-id", |value| value.len() < 10)
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
        assert!(candidates(raw, "__Host-id", |_| true).is_empty());
    }

    #[test]
    fn several_cookies_of_one_name_are_tried_in_order_up_to_a_bound() {
        let implausible = "__Host-id=much-too-long; ".repeat(100);
        let line = format!("{implausible}__Host-id=a; __Host-id=b; __Host-id=a; __Host-id=c");
        assert_eq!(found(&[&line]), ["a", "b", "c"]);
        let many: String = (0..100).map(|n| format!("__Host-id={n}; ")).collect();
        assert_eq!(found(&[&many]), ["0", "1", "2", "3"]);
    }

    proptest! {
        #[test]
        fn any_bytes_are_read_without_panic(line in prop::collection::vec(any::<u8>(), 0..200)) {
            for found in candidates(&line, "a", |_| true) {
                let pair = format!("a={found}");
                prop_assert!(line.windows(pair.len()).any(|part| part == pair.as_bytes()));
            }
        }
    }
}
