//! session-cookie: signed, encrypted, and signed with a revocation store in memory.

use std::sync::Arc;
use std::time::Duration;

use session_conformance::{Fixture, Harness};
use session_cookie::{CookieStore, SecretKey};
use session_core::{Capabilities, Result, async_trait};
use session_memory::MemoryBackend;

const NAME: &str = "__Host-session";

pub(crate) fn harnesses() -> Vec<Box<dyn Harness>> {
    vec![Box::new(Signed), Box::new(Encrypted), Box::new(SignedWithRevocation)]
}

struct Signed;
struct Encrypted;
struct SignedWithRevocation;

/// The capabilities of a cookie store: it is durable, and nothing else.
const COOKIE: Capabilities = Capabilities { durable: true, expires_natively: false };

/// Without leeway, because the cases compare expiries to the millisecond, on one clock.
fn exact(store: Result<CookieStore>) -> CookieStore {
    store.expect("a generated key and a valid name").with_leeway(Duration::ZERO)
}

#[async_trait]
impl Harness for Signed {
    fn name(&self) -> &str {
        "cookie-signed"
    }

    fn capabilities(&self) -> Capabilities {
        COOKIE
    }

    async fn open(&self) -> Result<Fixture> {
        let key = SecretKey::generate()?;
        Ok(Fixture::cookie(move || exact(CookieStore::signed(NAME, [key.clone()]))))
    }
}

#[async_trait]
impl Harness for Encrypted {
    fn name(&self) -> &str {
        "cookie-encrypted"
    }

    fn capabilities(&self) -> Capabilities {
        COOKIE
    }

    async fn open(&self) -> Result<Fixture> {
        let key = SecretKey::generate()?;
        Ok(Fixture::cookie(move || exact(CookieStore::encrypted(NAME, [key.clone()]))))
    }
}

#[async_trait]
impl Harness for SignedWithRevocation {
    fn name(&self) -> &str {
        "cookie-revocable"
    }

    fn capabilities(&self) -> Capabilities {
        COOKIE
    }

    async fn open(&self) -> Result<Fixture> {
        let key = SecretKey::generate()?;
        let revoked = Arc::new(MemoryBackend::new());
        let fixture = Fixture::cookie(move || {
            exact(CookieStore::signed(NAME, [key.clone()])).with_revocation(Arc::clone(&revoked))
        });
        Ok(fixture.revocable())
    }
}
