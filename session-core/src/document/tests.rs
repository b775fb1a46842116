use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use bytes::Bytes;

use super::index;
use super::parsed::Document;
use crate::Result;
use crate::session::Changes;

fn decode(text: &str) -> Result<Document> {
    Document::decode(Bytes::copy_from_slice(text.as_bytes()))
}

#[test]
fn values_are_found_without_being_decoded() {
    let document = decode(
        r#" { "v" : 1 , "created":5, "data": {"b":[1,{"x":"]}"}], "a\n":1e400, "":"\"\\"} } "#,
    )
    .unwrap();
    assert_eq!(document.created, 5);
    let mut names: Vec<_> = document.members().map(|member| member.name).collect();
    names.sort();
    assert_eq!(names, [&b""[..], b"a\n", b"b"]);
    assert_eq!(document.value("b").unwrap(), r#"[1,{"x":"]}"}]"#);
    assert_eq!(document.value("a\n").unwrap(), "1e400");
    assert_eq!(document.value("").unwrap(), r#""\"\\""#);
    assert!(document.value("a").is_none());
}

#[test]
fn a_text_that_is_not_a_document_is_corrupt() {
    let deep = format!(r#"{{"v":1,"data":{{"a":{}}}}}"#, "[".repeat(100_000));
    for text in [
        "",
        "null",
        "{}",
        "[]",
        "{",
        r#"{"v":1"#,
        r#"{"v":1}}"#,
        r#"{"v":2,"data":{}}"#,
        r#"{"v":1,"data":{"a":1,"a":2}}"#,
        r#"{"v":1,"data":{"a":}}"#,
        r#"{"v":1,"data":{"a":[}}}"#,
        r#"{"v":1,"data":{"a":"}}"#,
        r#"{"v":1,"data":{"a":1,}}"#,
        r#"{"v":1,"data":[]}"#,
        r#"{"v":1,"flash":{}}"#,
        r#"{"v":1,"other":{}}"#,
        r#"{"v":1,"created":-1}"#,
        r#"{"v":1,"created":99999999999999999999}"#,
        r#"{"v":1,"data":{"\ud800":1}}"#,
        r#"{"v":1,"data":{"a":nll}}"#,
        r#"{"v":1,"data":{"a":[1 2]}}"#,
        &deep,
    ] {
        let error = decode(text).err().unwrap_or_else(|| panic!("accepted {text:.60}"));
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
    }
    assert!(Document::decode(Bytes::from_static(b"{\"v\":1,\"data\":{\"\xff\":1}}")).is_err());
}

#[test]
fn an_index_that_does_not_match_is_ignored() {
    let mut changes = Changes::default();
    changes.set("a", Bytes::from_static(b"\"12345\""));
    changes.set("b", Bytes::from_static(b"[1,2]"));
    let written = changes.encode(&Document::new(1), || 1).payload();
    let text = std::str::from_utf8(&written).unwrap();
    assert!(index::read(&written).is_some(), "{text}");
    for (edited, a) in [
        (text.replace("12345", "123456"), "123456"),
        (text.replace("\"a\"", "\"aa\"").replace("\"aa\"", "\"a\" "), "12345"),
        (text.replace("\"index\":\"0", "\"index\":\"~"), "12345"),
        (text.replace("\"index\":\"0", "\"index\":\""), "12345"),
    ] {
        assert!(index::read(&Bytes::from(edited.clone())).is_none(), "{edited}");
        let value = decode(&edited).unwrap().value("a").unwrap();
        assert_eq!(value, format!("\"{a}\""));
    }
}

/// Short texts of any characters, many of which JSON has to escape. It is not a regular expression,
/// because that would be parsed again for each text.
fn any_text() -> impl Strategy<Value = String> {
    vec(any::<char>(), 0..6).prop_map(String::from_iter)
}

/// Texts that need no escapes, so that a document has an index. Two are hardly ever equal.
fn plain_name() -> impl Strategy<Value = String> {
    let plain = proptest::char::ranges(std::vec!['a'..='z', '\u{a1}'..='\u{d7ff}'].into());
    vec(plain, 3..6).prop_map(String::from_iter)
}

fn any_value() -> impl Strategy<Value = (String, Vec<Option<i64>>, f32)> {
    (any_text(), vec(any::<Option<i64>>(), 0..4), any::<f32>())
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn any_map_is_read_as_serde_json_reads_it(
        map in btree_map(any_text(), any_value(), 0..12),
        pretty: bool,
    ) {
        let whole = serde_json::json!({"data": map, "v": 1, "created": 7});
        let text = if pretty {
            serde_json::to_string_pretty(&whole).unwrap()
        } else {
            whole.to_string()
        };
        let document = decode(&text).unwrap();
        prop_assert_eq!(document.len(), map.len());
        for key in map.keys() {
            let value: serde_json::Value =
                serde_json::from_slice(&document.value(key).unwrap()).unwrap();
            prop_assert_eq!(&value, &whole["data"][key]);
        }
    }

    #[test]
    fn a_written_document_is_read_with_and_without_the_index(
        // An index has up to `index::MAX_ENTRIES`.
        map in prop_oneof![
            btree_map(plain_name(), any_text(), 0..12),
            btree_map(plain_name(), any_text(), index::MAX_ENTRIES - 1..index::MAX_ENTRIES + 3),
            btree_map(any_text(), any_text(), 0..12),
        ],
        lifetime: Option<u32>,
    ) {
        let mut changes = Changes::default();
        for (key, value) in &map {
            changes.set(key, serde_json::to_vec(value).unwrap().into());
        }
        let base = Document { lifetime: lifetime.map(u64::from), ..Document::new(5) };
        let written = changes.encode(&base, || 1);
        let scanned = Document::scan(&written.payload()).unwrap();
        let read = Document::decode(written.payload()).unwrap();
        for document in [&written, &scanned, &read] {
            prop_assert_eq!(document.created, 5);
            prop_assert_eq!(document.lifetime, lifetime.map(u64::from));
            prop_assert_eq!(document.len(), map.len());
            for (key, value) in &map {
                let json = document.value(key).unwrap();
                prop_assert_eq!(&serde_json::from_slice::<String>(&json).unwrap(), value);
            }
        }
        serde_json::from_slice::<serde_json::Value>(&written.payload()).unwrap();
    }

    /// Neighbours that did not change are copied together, whatever lies between them.
    #[test]
    fn changes_apply_to_any_base(
        map in prop_oneof![
            btree_map(plain_name(), any_text(), 0..12),
            btree_map(plain_name(), any_text(), index::MAX_ENTRIES - 2..index::MAX_ENTRIES + 2),
            btree_map(any_text(), any_text(), 0..12),
        ],
        fates in vec(prop_oneof![4 => Just(None), 1 => Just(Some(None)), 1 => any_text().prop_map(|it| Some(Some(it)))], 70),
        new in btree_map(plain_name(), any_text(), 0..3),
        with_index: bool,
        cleared in proptest::bool::weighted(0.1),
    ) {
        let json = |text: &String| Bytes::from(serde_json::to_vec(text).unwrap());
        let mut first = Changes::default();
        map.iter().for_each(|(name, value)| first.set(name, json(value)));
        let payload = first.encode(&Document::new(5), || 1).payload();
        let base = if with_index { Document::decode(payload) } else { Ok(Document::scan(&payload).unwrap()) };

        let (mut changes, mut expected) = (Changes::default(), map.clone());
        if cleared {
            changes.clear();
            expected.clear();
        }
        for (name, fate) in map.keys().zip(fates) {
            match fate {
                None => {}
                Some(None) => {
                    changes.remove(name);
                    expected.remove(name);
                }
                Some(Some(value)) => {
                    changes.set(name, json(&value));
                    expected.insert(name.clone(), value);
                }
            }
        }
        for (name, value) in new {
            changes.set(&name, json(&value));
            expected.insert(name, value);
        }
        let written = changes.encode(&base.unwrap(), || 1);
        let whole: serde_json::Value = serde_json::from_slice(&written.payload()).unwrap();
        prop_assert_eq!(&whole["data"], &serde_json::json!(expected));
        let read = Document::decode(written.payload()).unwrap();
        for document in [&written, &read] {
            prop_assert_eq!(document.len(), expected.len());
            for (name, value) in &expected {
                prop_assert_eq!(document.value(name), Some(json(value)));
            }
        }
    }

    #[test]
    fn damage_never_panics(cut in 0usize..90, at in 0usize..90, byte: u8) {
        let text = r#"{"v":1,"created":1,"data":{"k\u0041":"v","n":[1,{"a":2}]},"flash":[{"id":1,"key":"k","value":1}]}"#;
        let mut bytes = text.as_bytes().to_vec();
        bytes[at] = byte;
        bytes.truncate(cut);
        let _ = Document::decode(bytes.into());
    }
}
