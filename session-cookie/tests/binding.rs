//! A value is valid only for its cookie, purpose, algorithm and key ring, and until its expiry.

mod common;

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use common::{Clock, LIFETIME, NAME, key, modes, open, record, seal, stores};
use session_core::{CookieBackend as _, ErrorKind, Expiry, MAX_TTL, SessionId};

const MILLISECOND: Duration = Duration::from_millis(1);

#[test]
fn a_value_moved_to_another_cookie_is_refused() {
    for (mode, make) in modes() {
        let key = [key()];
        let value = seal(&make("a", &key), &record());
        assert!(open(&make("a", &key), &value).is_some(), "{mode}");
        for other in ["b", "A", "aa", "__Host-a"] {
            assert!(open(&make(other, &key), &value).is_none(), "{mode}: {other}");
        }
    }
}

#[test]
fn a_value_of_another_purpose_is_refused() {
    for (mode, make) in modes() {
        let key = [key()];
        let store = |purpose| make(NAME, &key).with_purpose(purpose);
        let value = seal(&store("shop"), &record());
        assert!(open(&store("shop"), &value).is_some(), "{mode}");
        for other in ["", "session", "shop2", "sho"] {
            assert!(open(&store(other), &value).is_none(), "{mode}: {other}");
        }
        assert!(open(&make(NAME, &key), &value).is_none(), "{mode}: the default");
    }
}

#[test]
fn the_boundary_between_purpose_and_name_is_bound_too() {
    for (mode, make) in modes() {
        let key = [key()];
        let value = seal(&make("session", &key).with_purpose("shop"), &record());
        let moved = make("psession", &key).with_purpose("sho");
        assert!(open(&moved, &value).is_none(), "{mode}");
    }
}

#[test]
fn a_value_sealed_by_an_unknown_key_is_refused() {
    for (mode, make) in modes() {
        let value = seal(&make(NAME, &[key()]), &record());
        assert!(open(&make(NAME, &[key(), key(), key()]), &value).is_none(), "{mode}");
    }
}

#[test]
fn any_other_version_byte_or_key_identifier_is_refused() {
    for (mode, store) in stores() {
        let bytes = URL_SAFE_NO_PAD.decode(seal(&store, &record())).unwrap();
        for version in (0..=u8::MAX).filter(|version| *version != bytes[0]) {
            let mut forged = bytes.clone();
            forged[0] = version;
            let forged = URL_SAFE_NO_PAD.encode(forged);
            assert!(open(&store, &forged).is_none(), "{mode}: version {version}");
        }
        for index in 1..5 {
            let mut forged = bytes.clone();
            forged[index] = forged[index].wrapping_add(1);
            assert!(open(&store, &URL_SAFE_NO_PAD.encode(forged)).is_none(), "{mode}");
        }
    }
}

#[cfg(feature = "encryption")]
#[test]
fn encryption_never_accepts_a_signed_or_plain_value() {
    use session_cookie::CookieStore;

    let keys = [key()];
    let signed = CookieStore::signed(NAME, keys.clone()).unwrap();
    let encrypted = CookieStore::encrypted(NAME, keys).unwrap();
    let signed_value = seal(&signed, &record());
    let encrypted_value = seal(&encrypted, &record());
    assert!(open(&encrypted, &signed_value).is_none());
    assert!(open(&signed, &encrypted_value).is_none());

    // The version byte does not matter: a signed value with the version of an encrypted one, and
    // the reverse.
    let relabelled = |value: &str, version| {
        let mut bytes = URL_SAFE_NO_PAD.decode(value).unwrap();
        bytes[0] = version;
        URL_SAFE_NO_PAD.encode(bytes)
    };
    assert!(open(&encrypted, &relabelled(&signed_value, 2)).is_none());
    assert!(open(&signed, &relabelled(&encrypted_value, 1)).is_none());

    let payload = record().payload;
    assert!(open(&encrypted, std::str::from_utf8(&payload).unwrap()).is_none());
    assert!(open(&encrypted, &URL_SAFE_NO_PAD.encode(&payload)).is_none());
}

#[cfg(feature = "encryption")]
#[test]
fn an_encrypted_value_shows_nothing_of_the_session_and_never_repeats() {
    // The clock is constant: only the nonce can make two values differ.
    let store = Clock::new().of(session_cookie::CookieStore::encrypted(NAME, [key()]).unwrap());
    let value = seal(&store, &record());
    let bytes = URL_SAFE_NO_PAD.decode(&value).unwrap();
    let shows = |what: &[u8]| bytes.windows(what.len()).any(|window| window == what);
    assert!(!shows(b"theme") && !shows(b"ann@") && !shows(&[7; 32]));
    assert_ne!(value, seal(&store, &record()), "a nonce of its own each time");
}

#[test]
fn a_value_from_yesterday_is_refused() {
    for (mode, make) in modes() {
        let clock = Clock::new();
        let store = clock.of(make(NAME, &[key()]));
        let value = seal(&store, &record());
        assert!(open(&store, &value).is_some(), "{mode}");
        clock.advance(Duration::from_secs(86_400));
        assert!(open(&store, &value).is_none(), "{mode}");
    }
}

#[test]
fn a_value_expires_to_the_millisecond_at_its_expiry() {
    for (mode, make) in modes() {
        for leeway in [Duration::ZERO, Duration::from_secs(10)] {
            let clock = Clock::new();
            let store = clock.of(make(NAME, &[key()])).with_leeway(leeway);
            assert_eq!(store.leeway(), leeway);
            let value = seal(&store, &record());
            clock.advance(LIFETIME + leeway - MILLISECOND);
            assert!(open(&store, &value).is_some(), "{mode}, {leeway:?}");
            clock.advance(MILLISECOND);
            assert!(open(&store, &value).is_none(), "{mode}, {leeway:?}");
        }
    }
}

#[test]
fn the_leeway_is_a_second_unless_configured() {
    for (_, store) in stores() {
        assert_eq!(store.leeway(), Duration::from_secs(1));
    }
}

#[test]
fn sealing_with_an_earlier_expiry_keeps_it() {
    for (mode, make) in modes() {
        let clock = Clock::new();
        let store = clock.of(make(NAME, &[key()])).with_leeway(Duration::ZERO);
        let opened = open(&store, &seal(&store, &record())).unwrap();
        clock.advance(LIFETIME / 2);
        let expiry = Expiry::At(opened.expires_at);
        let again = store.seal(&opened.id, &opened.record, expiry).unwrap();
        assert_eq!(again.expires_at, opened.expires_at, "{mode}");
        clock.advance(LIFETIME / 2);
        assert!(open(&store, &again.value).is_none(), "{mode}");
    }
}

#[test]
fn lifetimes_of_zero_and_of_centuries_do_not_panic() {
    for (mode, store) in stores() {
        let id = SessionId::from_bytes([1; 32]);
        let zero = store.seal(&id, &record(), Expiry::After(Duration::ZERO));
        assert_eq!(zero.unwrap_err().kind(), ErrorKind::InvalidValue, "{mode}");

        let shortest = Expiry::After(Duration::from_nanos(1));
        let sealed = store.seal(&id, &record(), shortest).unwrap();
        assert!(open(&store, &sealed.value).is_some(), "{mode}: within the leeway");

        let longest = store.seal(&id, &record(), Expiry::After(Duration::MAX)).unwrap();
        let opened = open(&store, &longest.value).unwrap();
        assert_eq!(opened.expires_at, longest.expires_at, "{mode}");
        let life = opened.expires_at.duration_since(std::time::SystemTime::now());
        assert!(life.unwrap() <= MAX_TTL, "{mode}");

        let ancient = std::time::SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        let error = store.seal(&id, &record(), Expiry::At(ancient)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidValue, "{mode}");
    }
}

#[test]
fn a_clock_before_1970_is_an_error_and_opens_nothing() {
    for (mode, make) in modes() {
        let key = [key()];
        let value = seal(&make(NAME, &key), &record());
        let broken = make(NAME, &key)
            .with_clock(|| std::time::SystemTime::UNIX_EPOCH - Duration::from_secs(1));
        assert_eq!(broken.open(&value).unwrap_err().kind(), ErrorKind::Other, "{mode}");
    }
}

#[test]
fn an_invalid_cookie_name_is_refused_when_the_store_is_built() {
    for name in ["", "a b", "a=b", "a;b", "ä", "a\0"] {
        let error = session_cookie::CookieStore::signed(name, [key()]).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{name:?}");
    }
}
