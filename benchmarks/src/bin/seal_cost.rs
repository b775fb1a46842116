//! Compares the cost of sealing and opening with the cost of the cryptography alone, in one run:
//!
//! ```text
//! cargo run --release -p benchmarks --bin seal_cost
//! ```
//!
//! The raw row is HMAC-SHA256 and base64url of the same 400 bytes, once in each direction: tag and
//! encoding, then decoding and verification. Its key is set up in advance, as that of the store.
//! The rounds of all rows alternate, and the figure of a row is its fastest round, because other
//! load on the machine only makes a round slower. The exit code is 1 if the signed row costs more
//! than 1.5 times the raw one.

#![allow(clippy::print_stdout, reason = "that is what the program is for")]

use std::hint::black_box;
use std::process::ExitCode;
use std::time::{Duration, Instant};

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use session_cookie::{CookieStore, SecretKey};
use session_core::{Bytes, CookieBackend as _, Expiry, Record, Revision, SessionId};
use sha2::Sha256;

const RECORD_BYTES: usize = 400;
const ROUNDS: usize = 201;
const CALLS: u32 = 500;
const LIMIT: f64 = 1.5;

type Row<'a> = (&'static str, Box<dyn Fn() + 'a>);

fn main() -> ExitCode {
    let payload = Bytes::from(vec![b'x'; RECORD_BYTES]);
    let mac = Hmac::new_from_slice(&[7; 32]).expect("any length");
    let key = SecretKey::generate().expect("random source");
    let signed = CookieStore::signed("__Host-session", [key.clone()]).expect("a good key");
    let encrypted = CookieStore::encrypted("__Host-session", [key]).expect("a good key");
    let rows: Vec<Row<'_>> = vec![
        ("raw HMAC-SHA256 + base64url", Box::new(|| raw(&mac, &payload))),
        ("signed", Box::new(|| seal_and_open(&signed, &payload))),
        ("encrypted", Box::new(|| seal_and_open(&encrypted, &payload))),
    ];

    let mut rounds = vec![Vec::with_capacity(ROUNDS); rows.len()];
    for _ in 0..ROUNDS {
        for ((_, call), times) in rows.iter().zip(&mut rounds) {
            let start = Instant::now();
            for _ in 0..CALLS {
                call();
            }
            times.push(start.elapsed() / CALLS);
        }
    }
    let fastest: Vec<Duration> =
        rounds.into_iter().map(|times| times.into_iter().min().expect("some rounds")).collect();

    let ratio = |time: Duration| time.as_secs_f64() / fastest[0].as_secs_f64();
    for ((name, _), time) in rows.iter().zip(&fastest) {
        println!("{name:<28} {:>6} ns   {:.2}", time.as_nanos(), ratio(*time));
    }
    if ratio(fastest[1]) > LIMIT {
        println!("signed costs more than {LIMIT} times the raw work");
        return ExitCode::FAILURE;
    }
    ExitCode::SUCCESS
}

fn raw(mac: &Hmac<Sha256>, payload: &[u8]) {
    let tag = mac.clone().chain_update(payload).finalize().into_bytes();
    let mut sealed = Vec::with_capacity(payload.len() + tag.len());
    sealed.extend_from_slice(payload);
    sealed.extend_from_slice(&tag);
    let value = black_box(URL_SAFE_NO_PAD.encode(sealed));

    let opened = URL_SAFE_NO_PAD.decode(&value).expect("just encoded");
    let (message, tag) = opened.split_at(payload.len());
    let verified = mac.clone().chain_update(message).verify_slice(tag);
    assert!(black_box(verified).is_ok());
}

fn seal_and_open(store: &CookieStore, payload: &Bytes) {
    let record = Record { payload: payload.clone(), revision: Revision::from_u64(1), owner: None };
    let id = SessionId::from_bytes([1; 32]);
    let expiry = Expiry::After(Duration::from_secs(7200));
    let sealed = store.seal(&id, &record, expiry).expect("small enough");
    let opened = store.open(black_box(&sealed.value)).expect("authentic");
    assert!(black_box(opened).is_some());
}
