//! What a record holds: the values of a session, never its id.

use std::borrow::Cow;
use std::collections::HashMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;
use session_core::{Bytes, Error, ErrorKind, Result};

pub(crate) type Values = HashMap<String, Value>;

/// The same form that session-core gives its documents, so that one tool reads both.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Document<'a> {
    v: u64,
    data: Cow<'a, Values>,
}

const VERSION: u64 = 1;

pub(crate) fn encode(values: &Values) -> Result<Bytes> {
    let document = Document { v: VERSION, data: Cow::Borrowed(values) };
    match serde_json::to_vec(&document) {
        Ok(json) => Ok(json.into()),
        Err(error) => {
            let message = "the session's values can't be written as JSON";
            Err(Error::new(ErrorKind::InvalidValue, message).with_source(error))
        }
    }
}

pub(crate) fn decode(payload: &[u8]) -> Result<Values> {
    let corrupt = || Error::corrupt("the record holds no session of tower-sessions");
    // The parser's message may quote a value, so only the place of the error is passed on.
    let document: Document<'_> = serde_json::from_slice(payload).map_err(|error| {
        let place = format!("JSON is malformed in column {}", error.column());
        corrupt().with_source(place)
    })?;
    if document.v != VERSION {
        return Err(corrupt().with_source("another format version"));
    }
    Ok(document.data.into_owned())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn values_round_trip() {
        let values: Values = [
            ("empty", json!("")),
            ("null", Value::Null),
            ("é\"\\\n", json!({"nested": [1, -2, 1.5, u64::MAX, true]})),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .into();
        assert_eq!(decode(&encode(&values).unwrap()).unwrap(), values);
        assert_eq!(&encode(&Values::new()).unwrap()[..], br#"{"v":1,"data":{}}"#);
    }

    #[test]
    fn what_is_no_session_is_corrupt_and_its_error_quotes_nothing() {
        for bad in [
            &b""[..],
            b"{}",
            b"[]",
            br#"{"v":1}"#,
            br#"{"v":2,"data":{}}"#,
            br#"{"v":1,"data":{"secret":"hunter2"},"more":"hunter2"}"#,
            br#"{"v":"hunter2","data":{}}"#,
            b"{\"v\":1,\"data\":{\"a\":\"\xff\"}}",
        ] {
            let error = decode(bad).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Corrupt);
            assert!(!format!("{error:?}").contains("hunter2"), "{error:?}");
        }
    }
}
