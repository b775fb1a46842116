//! Opens what a client can send: any text, and any change of a valid value.
#![no_main]

use std::sync::LazyLock;
use std::time::{Duration, SystemTime};

use libfuzzer_sys::fuzz_target;
use session_cookie::{CookieStore, SecretKey};
use session_core::{Bytes, CookieBackend as _, Expiry, Owner, Record, Revision, SessionId};

const NAME: &str = "__Host-session";

/// Keys and clock are constant, so that a finding can be reproduced.
static STORES: LazyLock<[CookieStore; 2]> = LazyLock::new(|| {
    // Computed, because a literal key could be copied from here.
    let keys = [1_u32, 2].map(|seed| {
        let byte = |n: u32| (n + 1).wrapping_mul(seed.wrapping_mul(2_654_435_761)).to_be_bytes()[0];
        let bytes: Vec<u8> = (0..32).map(|n| byte(n * n + n * 97)).collect();
        SecretKey::from_bytes(&bytes).expect("no pattern")
    });
    [
        CookieStore::signed(NAME, keys.clone()).expect("good keys"),
        CookieStore::encrypted(NAME, keys).expect("good keys"),
    ]
    .map(|store| store.with_clock(|| SystemTime::UNIX_EPOCH + Duration::from_secs(1_790_000_000)))
});

fuzz_target!(|data: &[u8]| {
    for store in STORES.iter() {
        if let Ok(text) = std::str::from_utf8(data) {
            assert!(store.open(text).expect("no authentic value").is_none(), "text opened");
        }
        changed(store, data);
        round_trip(store, data);
    }
});

/// Changes a valid value: the input contains the position, the number of bytes to remove, and the
/// bytes to insert.
fn changed(store: &CookieStore, data: &[u8]) {
    let [at, taken, put @ ..] = data else { return };
    let Ok(put) = std::str::from_utf8(put) else { return };
    let value = seal(store, b"{\"v\":1,\"data\":{}}", None);
    let start = usize::from(*at) * value.len() / 256;
    let end = (start + usize::from(*taken)).min(value.len());
    let forged = format!("{}{put}{}", &value[..start], &value[end..]);
    let opened = store.open(&forged).expect("authentic values are understood");
    assert_eq!(opened.is_some(), forged == value, "only the unchanged value may open");
}

/// The input is the content of the session.
fn round_trip(store: &CookieStore, data: &[u8]) {
    let (owner, payload) = data.split_at(data.len().min(20));
    let owner = std::str::from_utf8(owner).ok().and_then(|name| Owner::new(name).ok());
    if payload.len() > 2500 {
        return;
    }
    let opened = store.open(&seal(store, payload, owner.clone()));
    let record = opened.expect("understood").expect("opens").record;
    assert_eq!(record.payload, payload);
    assert_eq!(record.owner, owner);
}

fn seal(store: &CookieStore, payload: &[u8], owner: Option<Owner>) -> String {
    let record =
        Record { payload: Bytes::copy_from_slice(payload), revision: Revision::from_u64(1), owner };
    let id = SessionId::from_bytes([7; 32]);
    let sealed = store.seal(&id, &record, Expiry::After(Duration::from_secs(3600)));
    sealed.expect("small enough").value
}
