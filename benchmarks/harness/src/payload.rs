//! The values of every session of the workload.

/// The value that a load reads.
pub const READ_KEY: &str = "name";
/// The value that a save changes.
pub const CHANGED_KEY: &str = "seen";
/// The value that the hot workload increments.
pub const COUNTER_KEY: &str = "visits";

/// Eight strings: about 460 bytes as a JSON object.
#[must_use]
pub fn values() -> [(&'static str, String); 8] {
    [
        ("account", "0198f3a2-7c61-7b0e-9d52-3f1be6a0c7d4".to_owned()),
        (
            "cart",
            "4006381333931 x2, 5901234123457 x1, 9780201379624 x1, 0012345678905 x3".to_owned(),
        ),
        ("csrf", "q8Zt3nWc0xJ5vYb1KfRr7uLhMd2sEoAiGp9TzVQXyCk".to_owned()),
        ("email", "ada.lovelace@analytical-engine.example.org".to_owned()),
        (
            "landing",
            "/products/calculating-machines?campaign=spring&source=newsletter&page=3&visitor=returning&lang=en-GB".to_owned(),
        ),
        (READ_KEY, "Ada Augusta King, Countess of Lovelace".to_owned()),
        (CHANGED_KEY, changed_value(0)),
        ("theme", "dark with high contrast".to_owned()),
    ]
}

/// A value of the same length for every number: its 20 digits. `format!` would take longer than some of the
/// measured operations.
#[must_use]
pub fn changed_value(mut number: u64) -> String {
    let mut digits = *b"00000000000000000000";
    for place in digits.iter_mut().rev() {
        if number == 0 {
            break;
        }
        *place += u8::try_from(number % 10).unwrap_or_default();
        number /= 10;
    }
    String::from_utf8(digits.to_vec()).expect("digits are ASCII")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn about_460_bytes_of_json_in_eight_sorted_keys() {
        let values = values();
        let map: std::collections::BTreeMap<_, _> = values.iter().cloned().collect();
        let json = serde_json::to_string(&map).unwrap();
        assert!((450..470).contains(&json.len()), "{} bytes", json.len());
        assert!(values.is_sorted_by_key(|(key, _)| *key));
        assert_eq!(map.len(), 8);
    }

    #[test]
    fn a_changed_value_has_all_digits() {
        for number in [0, 7, 1_234_567_890, u64::MAX] {
            assert_eq!(changed_value(number), format!("{number:020}"));
        }
    }
}
