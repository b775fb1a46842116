//! The rotation of key rings, and keys that are refused.

#![allow(clippy::unwrap_used)] // also outside of #[test] functions, in their helpers

mod common;

use std::fs;
use std::path::Path;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};
use common::{NAME, key, modes, open, record, seal};
use session_cookie::{CookieStore, SecretKey};
use session_core::ErrorKind;

/// A key that this repository once published as an example.
const PUBLISHED: &str = "9W0nV3qXb1uYJm0Qm0rZ2fXb9dMUlhC5o7c3yq8hV6E=";

/// Random-looking bytes, the same in every run.
fn good_bytes() -> [u8; 32] {
    let mut bytes = [0; 32];
    fastrand::Rng::with_seed(1).fill(&mut bytes);
    bytes
}

fn good() -> String {
    STANDARD.encode(good_bytes())
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Writes a file that only its owner can change, with any umask.
fn write(path: &Path, contents: impl AsRef<[u8]>) {
    fs::write(path, contents).unwrap();
    #[cfg(unix)]
    fs::set_permissions(path, std::os::unix::fs::PermissionsExt::from_mode(0o600)).unwrap();
}

#[test]
fn the_first_key_seals_and_every_key_opens() {
    for (mode, make) in modes() {
        let (old, new) = (key(), key());
        let value = seal(&make(NAME, std::slice::from_ref(&old)), &record());

        let rotated = make(NAME, &[new.clone(), old.clone()]);
        let opened = open(&rotated, &value).expect(mode);
        assert_eq!(opened.record, record(), "{mode}");
        assert!(opened.reseal, "{mode}: an older key sealed it");

        let sealed_again = seal(&rotated, &record());
        assert!(!open(&rotated, &sealed_again).expect(mode).reseal, "{mode}");
        assert!(
            open(&make(NAME, &[new]), &sealed_again).is_some(),
            "{mode}: the new key sealed it"
        );
        assert!(open(&make(NAME, &[old]), &sealed_again).is_none(), "{mode}: the old one did not");
    }
}

#[test]
fn removing_a_key_ends_the_sessions_that_it_sealed() {
    for (mode, make) in modes() {
        let (old, new) = (key(), key());
        let value = seal(&make(NAME, std::slice::from_ref(&old)), &record());
        assert!(open(&make(NAME, &[new.clone(), old]), &value).is_some(), "{mode}");
        assert!(open(&make(NAME, &[new]), &value).is_none(), "{mode}");
    }
}

#[test]
fn an_empty_ring_or_a_duplicate_key_is_refused_when_the_store_is_built() {
    let none = CookieStore::signed(NAME, []).unwrap_err();
    assert_eq!(none.kind(), ErrorKind::InvalidConfig);
    assert!(none.message().contains("openssl rand -base64 32"), "{none}");
    let key = key();
    let twice = CookieStore::signed(NAME, [key.clone(), key]).unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::InvalidConfig);
}

#[test]
fn weak_bytes_are_refused_with_the_command_that_makes_a_good_key() {
    let random = good_bytes();
    let inside = b"\x01\x99my-Secret-\xf0 key that is long enough\x7f".to_vec();
    let weak: Vec<(&str, Vec<u8>)> = vec![
        ("it is empty", vec![]),
        ("fewer than 32 bytes", random[..31].to_vec()),
        ("all its bytes are equal", vec![0xA7; 32]),
        ("all its bytes are equal", vec![0; 64]),
        ("it is a pattern", (0..32).collect()),
        ("it is a pattern", (0..32).map(|i| 255 - 3 * i).collect()),
        ("it is a pattern", [0xDE, 0xAD, 0xBE, 0xEF].repeat(8)),
        ("it is a pattern", random[..20].repeat(2)),
        ("it is a pattern", [&random[..8], &[0; 24]].concat()),
        ("it is a pattern", b"changeme".repeat(4)),
        ("it is a placeholder", inside),
        ("it is text", b"correct horse battery staple, and then some more".to_vec()),
        ("it is text", good().into_bytes()),
        ("it is text", "Mein streng geheimer Schlüssel für die Anwendung".into()),
        ("it is text", b"this is the session key of my application\0".to_vec()),
        ("it is a pattern", (0..32).map(|i| if i % 2 == 0 { i } else { 255 - i }).collect()),
        ("it is a pattern", [&random[..24], &(7..20).collect::<Vec<u8>>()].concat()),
        ("it was published", STANDARD.decode(PUBLISHED).unwrap()),
    ];
    for (why, bytes) in weak {
        let error = SecretKey::from_bytes(&bytes).expect_err(why);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{why}");
        assert!(error.message().contains(why), "{why}: {error}");
        assert!(error.message().ends_with("openssl rand -base64 32"), "{why}: {error}");
    }
}

#[test]
fn a_placeholder_key_in_base64_is_refused() {
    let weak = [
        "",
        "=",
        "changeme",
        "Y2hhbmdlbWU=",
        "secretsecretsecretsecretsecretsecretsecretse",
        "MySecretKeyForTheShopThatNobodyKnowsAnywayOk",
        "ChangeMeBeforeGoingToProductionPleasePlease1",
        "correct-horse-battery-staple-and-some-more-words",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA=",
        "abCDabCDabCDabCDabCDabCDabCDabCDabCDabCDabCD",
        "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8=",
        "not base64 at all!",
        "9W0nV3qXb1uYJm0Qm0rZ2fXb9dMUlhC5o7c3yq8hV6F=",
        PUBLISHED,
        &hex(&STANDARD.decode(PUBLISHED).unwrap()),
        &hex(&STANDARD.decode(PUBLISHED).unwrap()).to_uppercase(),
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz+/==",
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqr",
        "CorrectHorseBatteryStapleIsMyFavoritePhrases",
        "YourSigningKeyGoesHereUseARandomOneInsteadOk",
        "ThisIsMyVeryLongSessionSigningKeyForTheTests",
        "TODOputARealKeyHereBeforeGoingToProductionOk",
        "MySuperSafeSessionCookieSigningKey1234567890",
        "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA",
        "deadbeefcafebabefeedfacebaadf00ddeadc0de8badf00ddefec8edabadcafe",
        "000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f",
    ];
    for text in weak {
        let error = SecretKey::from_base64(text).expect_err(text);
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{text}");
        assert!(error.message().ends_with("openssl rand -base64 32"), "{text}: {error}");
        assert!(text.len() < 20 || !error.message().contains(text), "no key in a message");
    }
}

#[test]
fn random_keys_are_accepted_in_every_spelling() {
    let mut random = fastrand::Rng::with_seed(3);
    for round in 0..100_000 {
        let mut bytes = vec![0; [32, 33, 48, 64][round % 4]];
        random.fill(&mut bytes);
        SecretKey::from_bytes(&bytes).expect("random bytes");
        let mut spellings = vec![
            // `openssl rand -hex 32`, which is valid base64, too.
            hex(&bytes[..32]),
            STANDARD.encode(&bytes),
        ];
        if round < 4_000 {
            spellings.extend([
                STANDARD_NO_PAD.encode(&bytes),
                URL_SAFE.encode(&bytes),
                URL_SAFE_NO_PAD.encode(&bytes),
                format!(" {}\r\n", STANDARD.encode(&bytes)),
                hex(&bytes[..32]).to_uppercase(),
            ]);
        }
        for text in spellings {
            SecretKey::from_base64(&text).unwrap_or_else(|error| panic!("{text}: {error}"));
        }
    }
}

#[test]
fn a_key_is_the_same_from_bytes_base64_and_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("key");
    write(&path, format!("{}\n", good()));

    for (mode, make) in modes() {
        let value = seal(&make(NAME, &[SecretKey::from_bytes(&good_bytes()).unwrap()]), &record());
        for same in [SecretKey::from_base64(&good()), SecretKey::from_file(&path)] {
            assert!(open(&make(NAME, &[same.unwrap()]), &value).is_some(), "{mode}");
        }
    }
}

#[test]
fn a_key_file_that_is_missing_weak_or_not_text_is_refused_by_name() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("session.key");
    let refused = || {
        let error = SecretKey::from_file(&path).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig);
        assert!(error.message().contains("session.key"), "{error}");
        assert!(error.message().contains("openssl rand -base64 32"), "{error}");
    };
    refused();
    for contents in [&b""[..], b"changeme\n", &[0xFF; 40]] {
        write(&path, contents);
        refused();
    }
}

#[test]
fn a_generated_key_file_is_private_and_kept() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("session.key");
    let first = SecretKey::from_file_or_generate(&path).unwrap();
    #[cfg(unix)]
    {
        use std::os::unix::fs::PermissionsExt as _;
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
    let second = SecretKey::from_file_or_generate(&path).unwrap();
    let (mode, make) = modes()[0];
    let value = seal(&make(NAME, &[first]), &record());
    assert!(open(&make(NAME, &[second]), &value).is_some(), "{mode}");
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 1, "no temporary file");
}

#[cfg(unix)]
#[test]
fn a_key_file_is_refused_if_others_can_change_it_and_accepted_if_they_can_read_it() {
    use std::os::unix::fs::{PermissionsExt as _, chown};

    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("session.key");
    SecretKey::from_file_or_generate(&path).unwrap();
    for (mode, accepted) in [
        (0o600, true),
        (0o400, true),
        (0o644, true),
        (0o620, false),
        (0o602, false),
        (0o666, false),
    ] {
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
        for read in [SecretKey::from_file(&path), SecretKey::from_file_or_generate(&path)] {
            assert_eq!(read.is_ok(), accepted, "{mode:o}");
            if let Err(error) = read {
                assert_eq!(error.kind(), ErrorKind::InvalidConfig);
                assert!(error.message().contains("chmod 600"), "{error}");
            }
        }
    }
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    // Only root can change the owner of a file.
    if chown(&path, Some(65_534), None).is_ok() {
        assert!(SecretKey::from_file(&path).unwrap_err().message().contains("another user"));
    }
}

#[test]
fn processes_that_start_together_agree_on_one_generated_key() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("session.key");
    let keys: Vec<SecretKey> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8)
            .map(|_| scope.spawn(|| SecretKey::from_file_or_generate(&path).unwrap()))
            .collect();
        threads.into_iter().map(|thread| thread.join().unwrap()).collect()
    });
    let (mode, make) = modes()[0];
    let value = seal(&make(NAME, &keys[..1]), &record());
    for key in keys {
        assert!(open(&make(NAME, &[key]), &value).is_some(), "{mode}");
    }
}

#[test]
fn debug_shows_no_key() {
    let key = SecretKey::from_base64(&good()).unwrap();
    assert_eq!(format!("{key:?}"), "SecretKey(..)");
    for (_, make) in modes() {
        let shown = format!("{:?}", make(NAME, std::slice::from_ref(&key)));
        assert!(shown.contains("keys: 1"), "{shown}");
        let first_bytes = format!("{}, {}", good_bytes()[0], good_bytes()[1]);
        assert!(!shown.contains(&good()[..4]) && !shown.contains(&first_bytes), "{shown}");
    }
}
