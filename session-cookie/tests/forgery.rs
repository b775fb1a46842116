//! Changed and invented values are refused.

#![allow(clippy::unwrap_used)] // also outside of #[test] functions, in their helpers

mod common;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{open, record, seal, stores};
use proptest::prelude::*;
use session_cookie::CookieStore;
use session_core::CookieBackend as _;
use session_core::{Bytes, Expiry, Owner, Record, Revision, SessionId};

const ALPHABET: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn opening_returns_the_sealed_session(
        id: [u8; 32], revision: u64, payload in proptest::collection::vec(any::<u8>(), 0..2500),
        owner in proptest::option::of("\\PC{1,60}"), ttl in 1_u64..10_000_000_000,
    ) {
        let record = Record {
            payload: Bytes::from(payload),
            revision: Revision::from_u64(revision),
            owner: owner.map(|name| Owner::new(name).unwrap()),
        };
        let expiry = Expiry::After(std::time::Duration::from_millis(ttl));
        for (mode, store) in stores() {
            let sealed = store.seal(&SessionId::from_bytes(id), &record, expiry).unwrap();
            let opened = open(&store, &sealed.value).expect(mode);
            prop_assert_eq!(opened.id.expose_bytes(), &id);
            prop_assert_eq!(&opened.record, &record);
            prop_assert_eq!(opened.expires_at, sealed.expires_at);
            prop_assert!(!opened.reseal);
            prop_assert!(sealed.value.bytes().all(|byte| ALPHABET.contains(&byte)));
        }
    }

}

proptest! {
    // Each case tries thousands of forgeries.
    #![proptest_config(ProptestConfig::with_cases(6))]

    #[test]
    fn every_bit_flip_truncation_and_extension_is_refused(
        payload in proptest::collection::vec(any::<u8>(), 0..200), tail in "[A-Za-z0-9_-]{1,40}",
    ) {
        let record = Record { payload: Bytes::from(payload), ..record() };
        for (mode, store) in stores() {
            let value = seal(&store, &record);
            prop_assert!(open(&store, &value).is_some(), "{mode}: the unchanged value opens");
            all_flips_refused(mode, &store, &value);
            for length in 0..value.len() {
                assert!(open(&store, &value[..length]).is_none(), "{mode}: {length} characters");
                assert!(open(&store, &value[length + 1..]).is_none(), "{mode}: from {length} on");
            }
            for extra in ALPHABET.iter().map(|byte| char::from(*byte)).chain("= .\0é".chars()) {
                assert!(open(&store, &format!("{value}{extra}")).is_none(), "{mode}: + {extra:?}");
                assert!(open(&store, &format!("{extra}{value}")).is_none(), "{mode}: {extra:?} +");
            }
            assert!(open(&store, &format!("{value}{tail}")).is_none(), "{mode}: + {tail:?}");
        }
    }
}

/// Flips every bit of the text, and of the bytes that it encodes.
fn all_flips_refused(mode: &str, store: &CookieStore, value: &str) {
    let bytes = URL_SAFE_NO_PAD.decode(value).unwrap();
    for bit in 0..bytes.len() * 8 {
        let mut bytes = bytes.clone();
        bytes[bit / 8] ^= 1 << (bit % 8);
        let forged = URL_SAFE_NO_PAD.encode(bytes);
        assert!(open(store, &forged).is_none(), "{mode}: bit {bit} of the bytes");
    }
    for bit in 0..value.len() * 8 {
        let mut text = value.as_bytes().to_vec();
        text[bit / 8] ^= 1 << (bit % 8);
        // Seven of eight flips keep a character in ASCII. The eighth is not valid text, which no
        // caller can pass.
        if let Ok(forged) = String::from_utf8(text) {
            assert!(open(store, &forged).is_none(), "{mode}: bit {bit} of the text");
        }
    }
}

#[test]
fn a_hundred_thousand_random_strings_never_panic_and_never_open() {
    let mut random = fastrand::Rng::with_seed(0x5E55_1085);
    for (mode, store) in stores() {
        let valid = seal(&store, &record());
        for round in 0..100_000 {
            let forged = match round % 4 {
                // Any text.
                0 => (0..random.usize(..300)).map(|_| random.char(..)).collect(),
                // Base64url of any bytes.
                1 => {
                    let bytes: Vec<u8> = (0..random.usize(..600)).map(|_| random.u8(..)).collect();
                    URL_SAFE_NO_PAD.encode(bytes)
                }
                // A valid beginning, followed by random bytes.
                2 => {
                    let kept = random.usize(..valid.len() - 8);
                    let rest = (0..random.usize(..200)).map(|_| *random.choice(ALPHABET).unwrap());
                    let rest: Vec<u8> = rest.collect();
                    format!("{}{}", &valid[..kept], std::str::from_utf8(&rest).unwrap())
                }
                // Two pieces of a valid value.
                _ => {
                    let (a, b) = (random.usize(1..valid.len()), random.usize(1..valid.len()));
                    if a == b { String::new() } else { format!("{}{}", &valid[..a], &valid[b..]) }
                }
            };
            assert!(open(&store, &forged).is_none(), "{mode}: {forged:?}");
        }
    }
}

#[test]
fn spare_bits_of_base64_are_refused() {
    for (mode, store) in stores() {
        for length in 0..3 {
            let payload = Bytes::from(vec![b'x'; length]);
            let value = seal(&store, &Record { payload, ..record() });
            let others = ALPHABET.iter().map(|last| {
                let mut text = value[..value.len() - 1].to_owned();
                text.push(char::from(*last));
                text
            });
            let opening = others.filter(|other| open(&store, other).is_some()).count();
            assert_eq!(opening, 1, "{mode}: only the value itself");
        }
    }
}

#[test]
fn a_value_longer_than_any_cookie_is_not_decoded() {
    for (_, store) in stores() {
        assert!(open(&store, &"A".repeat(4097)).is_none());
        assert!(open(&store, &"A".repeat(10_000_000)).is_none());
    }
}
