//! The same work with the bare drivers, to which the stores of this project are compared.

pub(crate) mod cookie;
pub(crate) mod file;
pub(crate) mod memory;
pub(crate) mod redis;
pub(crate) mod sql;

use std::time::Duration;

use bench_harness::{changed_value, values};

/// The lifetime of a session, the same as the default of this project.
const LIFE: Duration = Duration::from_secs(7200);

/// A key of 32 bytes, like those of this project.
pub(crate) type Key = [u8; 32];

pub(crate) fn random_key() -> Key {
    let mut key = [0; 32];
    fastrand::fill(&mut key);
    key
}

/// The payload that is written. It is encoded once, since a bare driver only moves bytes.
pub(crate) fn payload() -> Vec<u8> {
    let map: std::collections::BTreeMap<_, _> = values().into_iter().collect();
    serde_json::to_vec(&map).expect("strings are JSON")
}

/// Writes another value of the same length into a payload.
pub(crate) fn change(payload: &mut [u8], number: u64) {
    let at = payload.len() - CHANGED_FROM_END;
    payload[at..at + 20].copy_from_slice(changed_value(number).as_bytes());
}

/// The number in the changed value, which is the counter of the bare drivers in the hot workload.
pub(crate) fn changed_number(payload: &[u8]) -> u64 {
    let at = payload.len() - CHANGED_FROM_END;
    let digits = std::str::from_utf8(&payload[at..at + 20]).ok();
    digits.and_then(|digits| digits.parse().ok()).expect("the payload has digits there")
}

/// Where the changed value begins, counted from the end: before `","theme":"…"}`.
const CHANGED_FROM_END: usize = 20 + r#"","theme":"dark with high contrast"}"#.len();

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_change_stays_in_its_value() {
        let mut changed = payload();
        change(&mut changed, 7);
        let values: std::collections::BTreeMap<String, String> =
            serde_json::from_slice(&changed).unwrap();
        assert_eq!(values[bench_harness::CHANGED_KEY], changed_value(7));
    }
}
