//! A cookie store for the tests of its handle.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, LazyLock, Mutex};
use std::time::{Duration, SystemTime};

use crate::faulty::Faulty;
use crate::support::config;
use session_core::{
    Backend, Config, CookieBackend, CookieName, Error, ErrorKind, Expiry, Key, Opened, Record,
    Result, Sealed, SessionId, SessionStore,
};

pub(super) const HOUR: Duration = Duration::from_secs(3600);
pub(super) const LEEWAY: Duration = Duration::from_secs(30);

type Content = (SessionId, Record, SystemTime);

/// Its cookie values are indexes of remembered sessions: to the handle a value is opaque.
#[derive(Debug, Default, Clone)]
pub(super) struct Sealing {
    pub(super) sealed: Arc<Mutex<HashMap<String, Content>>>,
    /// Whether all cookies were sealed with an older key.
    pub(super) aged: Arc<AtomicBool>,
    pub(super) revocation: Option<Arc<Faulty>>,
    pub(super) leeway: Duration,
}

impl Sealing {
    pub(super) fn expires_at(&self, cookie: &str) -> SystemTime {
        self.sealed.lock().unwrap()[cookie].2
    }

    /// The key under which the cookie's session is revoked.
    pub(super) fn key(&self, cookie: &str) -> Key {
        self.sealed.lock().unwrap()[cookie].0.key()
    }
}

impl CookieBackend for Sealing {
    fn name(&self) -> &'static str {
        "sealing"
    }

    fn cookie_name(&self) -> &CookieName {
        static NAME: LazyLock<CookieName> = LazyLock::new(|| CookieName::new("session").unwrap());
        &NAME
    }

    fn seal(&self, id: &SessionId, record: &Record, expiry: Expiry) -> Result<Sealed> {
        if record.payload.len() > 1000 {
            return Err(Error::new(ErrorKind::TooLarge, "no browser would keep it"));
        }
        let expires_at = match expiry {
            Expiry::After(life) => SystemTime::now() + life,
            Expiry::At(moment) => moment,
        };
        let mut sealed = self.sealed.lock().unwrap();
        let value = sealed.len().to_string();
        sealed.insert(value.clone(), (id.clone(), record.clone(), expires_at));
        Ok(Sealed { value, expires_at })
    }

    fn open(&self, value: &str) -> Result<Option<Opened>> {
        let sealed = self.sealed.lock().unwrap();
        let live = sealed.get(value).filter(|(.., expires_at)| *expires_at > SystemTime::now());
        let reseal = self.aged.load(Ordering::SeqCst);
        Ok(live.cloned().map(|(id, record, expires_at)| Opened { id, record, expires_at, reseal }))
    }

    fn revocation(&self) -> Option<&dyn Backend> {
        self.revocation.as_ref().map(|revoked| revoked as &dyn Backend)
    }

    fn leeway(&self) -> Duration {
        self.leeway
    }
}

pub(super) fn without_revocation() -> SessionStore {
    SessionStore::new_cookie(Sealing::default()).with_config(config()).unwrap()
}

pub(super) fn with_revocation(config: Config) -> (Arc<Faulty>, SessionStore) {
    let (revoked, _, store) = with_cookies(config);
    (revoked, store)
}

pub(super) fn with_cookies(config: Config) -> (Arc<Faulty>, Sealing, SessionStore) {
    with_leeway(LEEWAY, config)
}

pub(super) fn with_leeway(
    leeway: Duration,
    config: Config,
) -> (Arc<Faulty>, Sealing, SessionStore) {
    let revoked = Arc::new(Faulty::default());
    let revocation = Some(Arc::clone(&revoked));
    let cookies = Sealing { revocation, leeway, ..Sealing::default() };
    let store = SessionStore::new_cookie(cookies.clone()).with_config(config).unwrap();
    (revoked, cookies, store)
}

/// The expiry of the revocation mark of this key.
pub(super) async fn marked_until(revoked: &Faulty, key: Key) -> SystemTime {
    let mark = revoked.load(&key).await.unwrap().expect("the id is revoked");
    SystemTime::now() + mark.expires_in
}
