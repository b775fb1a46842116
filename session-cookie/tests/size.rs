//! A cookie has at most 4096 bytes. A larger session is refused before it is sent.

#![allow(clippy::unwrap_used)] // also outside of #[test] functions, in their helpers

mod common;

use common::{LIFETIME, NAME, key, modes, open, record};
use session_cookie::CookieStore;
use session_core::{Bytes, CookieBackend as _, Error, ErrorKind, Expiry, Record, SessionId};

const LONGEST_ATTRIBUTES: &str = "; Path=/; Max-Age=315360000000; \
    Expires=Fri, 31 Dec 9999 23:59:59 GMT; Secure; HttpOnly; SameSite=Strict; Partitioned";

fn sealed(store: &CookieStore, payload: impl Into<Bytes>) -> Result<String, Error> {
    let record = Record { payload: payload.into(), ..record() };
    let id = SessionId::from_bytes([1; 32]);
    Ok(store.seal(&id, &record, Expiry::After(LIFETIME))?.value)
}

fn largest_payload(store: &CookieStore) -> usize {
    let lengths: Vec<usize> = (0..=4096).collect();
    lengths.partition_point(|length| sealed(store, vec![b'x'; *length]).is_ok()) - 1
}

#[test]
fn the_largest_cookie_has_4096_bytes_with_its_longest_attributes() {
    for (mode, make) in modes() {
        for name in ["s", NAME] {
            let store = make(name, &[key()]);
            let largest = largest_payload(&store);
            let value = sealed(&store, vec![b'x'; largest]).unwrap();
            let cookie = format!("{name}={value}{LONGEST_ATTRIBUTES}");
            assert!((4094..=4096).contains(&cookie.len()), "{mode}: {}", cookie.len());
            assert!(open(&store, &value).is_some(), "{mode}");
            assert!(largest > 2700, "{mode}: {largest}");
        }
    }
}

#[test]
fn too_large_names_the_size_the_limit_and_the_largest_values_without_their_content() {
    let long_key = format!("line\nbreak {}", "k".repeat(100));
    let payload = serde_json::json!({
        "v": 1, "created": 1_790_000_000_000_u64,
        "data": {
            "theme": "dark", "cart": "4111-1111".repeat(300), "history": "h".repeat(900),
            long_key: "l".repeat(500), "a": 1, "b": 2, "c": 3,
        },
        "flash": ["private message".repeat(60)],
    });
    for (mode, make) in modes() {
        let error = sealed(&make(NAME, &[key()]), payload.to_string()).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{mode}");
        let text = error.message();
        let bytes: usize = text
            .split(|c: char| !c.is_ascii_digit())
            .find_map(|number| number.parse().ok())
            .unwrap();
        assert!((6000..9000).contains(&bytes), "{mode}: {text}");
        assert!(text.contains("4096"), "{mode}: {text}");
        let position = |what: &str| text.find(what).unwrap_or_else(|| panic!("{what}: {text}"));
        assert!(position("\"cart\" 2706") < position("flash 904"), "{mode}: {text}");
        assert!(position("\"history\" 909") < position("flash 904"), "{mode}: {text}");
        assert!(position("flash 904") < position("line\\nbreak kkkk"), "{mode}: {text}");
        assert!(!text.contains("4111") && !text.contains("private"), "{mode}: {text}");
        assert!(!text.contains('\n') && text.len() < 600, "{mode}: {text}");
    }
}

#[test]
fn a_payload_that_is_not_a_document_is_too_large_as_well() {
    for (mode, make) in modes() {
        for payload in [vec![0xFF; 5000], vec![b'['; 1 << 20], b"{\"data\":3}".repeat(500)] {
            let error = sealed(&make(NAME, &[key()]), payload).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::TooLarge, "{mode}");
            assert!(error.message().contains("4096"), "{mode}: {error}");
        }
    }
}

#[test]
fn the_attribute_reserve_is_configurable() {
    for (mode, make) in modes() {
        let store = make(NAME, &[key()]);
        let domain = "; Domain=example.org".len();
        let before = largest_payload(&store);
        let after =
            largest_payload(&store.with_attribute_reserve(LONGEST_ATTRIBUTES.len() + domain));
        let lost = before - after;
        assert!((domain * 3 / 4 - 1..=domain * 3 / 4 + 1).contains(&lost), "{mode}: {lost}");
        let none = make(NAME, &[key()]).with_attribute_reserve(usize::MAX);
        assert_eq!(sealed(&none, "").unwrap_err().kind(), ErrorKind::TooLarge, "{mode}");
    }
}

#[test]
fn a_name_that_leaves_no_room_for_the_session_is_refused_when_the_store_is_built() {
    assert!(CookieStore::signed("n".repeat(256), [key()]).is_ok());
    for length in [257, 4080] {
        let error = CookieStore::signed("n".repeat(length), [key()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
    }
}

#[test]
fn the_web_layer_gets_the_attribute_reserve() {
    for (mode, make) in modes() {
        let store = make(NAME, &[key()]);
        assert_eq!(store.attribute_reserve(), LONGEST_ATTRIBUTES.len(), "{mode}");
        assert_eq!(store.with_attribute_reserve(300).attribute_reserve(), 300, "{mode}");
        assert_eq!(make(NAME, &[key()]).with_attribute_reserve(0).attribute_reserve(), 64);
    }
}

#[test]
fn a_cookie_of_exactly_4096_bytes_is_sealed_and_one_byte_more_is_not() {
    for (mode, make) in modes() {
        let value = sealed(&make(NAME, &[key()]), vec![b'x'; 2_000]).unwrap();
        let room = 4096 - NAME.len() - "=".len() - value.len();
        let with = |reserve| {
            sealed(&make(NAME, &[key()]).with_attribute_reserve(reserve), vec![b'x'; 2_000])
        };
        assert!(with(room).is_ok(), "{mode}");
        assert_eq!(with(room + 1).unwrap_err().kind(), ErrorKind::TooLarge, "{mode}");
    }
}

#[test]
fn debug_shows_the_algorithm_and_the_number_of_keys() {
    for (mode, make) in modes() {
        let text = format!("{:?}", make(NAME, &[key(), key(), key()]));
        let algorithm = if mode == "signed" { "HMAC-SHA256" } else { "AES-256-GCM-SIV" };
        assert!(text.contains(algorithm) && text.contains("keys: 3"), "{text}");
    }
}
