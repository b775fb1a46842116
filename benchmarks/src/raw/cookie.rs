//! HMAC-SHA256 and base64url, the minimal work of a signed cookie.

use std::hint::black_box;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use bench_harness::Subject;
use hmac::{Hmac, KeyInit as _, Mac as _};
use sha2::Sha256;

use super::{change, changed_number, payload};

pub(crate) struct Raw {
    mac: Hmac<Sha256>,
    payload: Vec<u8>,
}

impl Raw {
    pub(crate) fn new() -> Self {
        let mac = Hmac::new_from_slice(&[7; 32]).expect("a key has any length");
        Self { mac, payload: payload() }
    }

    fn seal(&self, payload: &[u8]) -> String {
        let tag = self.mac.clone().chain_update(payload).finalize().into_bytes();
        let mut sealed = Vec::with_capacity(payload.len() + tag.len());
        sealed.extend_from_slice(payload);
        sealed.extend_from_slice(&tag);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    fn unseal(&self, value: &str) -> Option<Vec<u8>> {
        let mut sealed = URL_SAFE_NO_PAD.decode(value).ok()?;
        let at = sealed.len().checked_sub(32)?;
        let (payload, tag) = sealed.split_at(at);
        self.mac.clone().chain_update(payload).verify_slice(tag).ok()?;
        sealed.truncate(at);
        Some(sealed)
    }
}

pub(crate) fn seal_and_open() -> impl Fn() {
    let raw = Raw::new();
    move || {
        let value = raw.seal(&raw.payload);
        assert!(black_box(raw.unseal(black_box(&value))).is_some());
    }
}

impl Subject for Raw {
    type Id = String;
    type Session = (Vec<u8>, String);

    async fn create(&self) -> Self::Session {
        (Vec::new(), self.seal(&self.payload))
    }

    fn id(&self, session: &Self::Session) -> String {
        session.1.clone()
    }

    /// A value that another key sealed.
    fn unknown(&self) -> String {
        let mut sealed = payload();
        sealed.extend([7; 32]);
        URL_SAFE_NO_PAD.encode(sealed)
    }

    async fn load(&self, value: &String) -> bool {
        black_box(self.unseal(value)).is_some()
    }

    async fn open(&self, value: &String) -> Self::Session {
        (self.unseal(value).expect("it is authentic"), String::new())
    }

    async fn save(&self, (payload, value): &mut Self::Session, number: u64) {
        change(payload, number);
        *value = self.seal(payload);
    }

    async fn touch(&self, (payload, value): &mut Self::Session) {
        *value = self.seal(payload);
    }

    async fn destroy(&self, _: Self::Session) {}

    async fn increment(&self, value: &String) {
        let mut session = self.open(value).await;
        self.save(&mut session, 1).await;
    }

    async fn counter(&self, value: &String) -> u64 {
        changed_number(&self.unseal(value).expect("it is authentic"))
    }

    async fn create_short(&self, _: Duration) {}

    async fn gc(&self) -> Option<u64> {
        None
    }
}
