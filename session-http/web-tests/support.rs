//! A client for web applications over real sockets, and a store that counts its calls and can fail.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use reqwest::header::{COOKIE, HeaderMap, SET_COOKIE};
use session_core::{
    Backend, Capabilities, Error, ErrorKind, Key, Loaded, Record, Result, Revision, Session,
    SessionStore, Write, async_trait,
};
use session_memory::MemoryBackend;
use tokio::sync::Notify;

/// A memory store that counts its calls, and can be told to fail or to wait.
#[derive(Debug, Clone, Default)]
pub(crate) struct Probe(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    memory: MemoryBackend,
    tombstones: Mutex<HashSet<Key>>,
    loads: AtomicUsize,
    saves: AtomicUsize,
    touches: AtomicUsize,
    destroys: AtomicUsize,
    gcs: AtomicUsize,
    failure: Mutex<Option<(&'static str, ErrorKind)>>,
    gate: Mutex<Option<Arc<Gate>>>,
}

/// Makes the next write, destruction or collection wait.
#[derive(Debug, Default)]
pub(crate) struct Gate {
    pub(crate) reached: Notify,
    pub(crate) open: Notify,
}

#[derive(Debug, PartialEq, Eq, Clone, Copy, Default)]
pub(crate) struct Calls {
    pub(crate) loads: usize,
    pub(crate) saves: usize,
    pub(crate) touches: usize,
    pub(crate) destroys: usize,
}

impl Probe {
    pub(crate) fn store(&self) -> SessionStore {
        SessionStore::new(self.clone())
    }

    /// The calls since the last time this was asked.
    pub(crate) fn calls(&self) -> Calls {
        Calls {
            loads: self.0.loads.swap(0, SeqCst),
            saves: self.0.saves.swap(0, SeqCst),
            touches: self.0.touches.swap(0, SeqCst),
            destroys: self.0.destroys.swap(0, SeqCst),
        }
    }

    pub(crate) fn gcs(&self) -> usize {
        self.0.gcs.load(SeqCst)
    }

    /// The number of sessions: records that are not tombstones.
    pub(crate) fn sessions(&self) -> usize {
        self.0.memory.len() - self.0.tombstones.lock().unwrap().len()
    }

    /// Makes an operation, or with `"all"` every operation, fail until [`recover`](Self::recover).
    pub(crate) fn fail(&self, operation: &'static str, kind: ErrorKind) {
        *self.0.failure.lock().unwrap() = Some((operation, kind));
    }

    pub(crate) fn recover(&self) {
        *self.0.failure.lock().unwrap() = None;
    }

    pub(crate) fn gate(&self) -> Arc<Gate> {
        let gate = Arc::new(Gate::default());
        *self.0.gate.lock().unwrap() = Some(Arc::clone(&gate));
        gate
    }

    fn check(&self, operation: &'static str) -> Result<()> {
        match *self.0.failure.lock().unwrap() {
            Some((failing, kind)) if failing == operation || failing == "all" => {
                Err(Error::new(kind, "told to fail").with_source("the probe's cause"))
            }
            _ => Ok(()),
        }
    }

    async fn pass_gate(&self) {
        let gate = self.0.gate.lock().unwrap().take();
        if let Some(gate) = gate {
            gate.reached.notify_one();
            gate.open.notified().await;
        }
    }
}

#[async_trait]
impl Backend for Probe {
    fn name(&self) -> &'static str {
        "probe"
    }

    fn capabilities(&self) -> Capabilities {
        self.0.memory.capabilities()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.0.loads.fetch_add(1, SeqCst);
        self.check("load")?;
        self.0.memory.load(key).await
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        self.0.saves.fetch_add(1, SeqCst);
        self.check("save")?;
        self.pass_gate().await;
        self.0.memory.save(key, record, write).await?;
        if record.payload.starts_with(b"{\"v\":1,\"rotated\":") {
            self.0.tombstones.lock().unwrap().insert(*key);
        }
        Ok(())
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        self.0.touches.fetch_add(1, SeqCst);
        self.check("touch")?;
        self.0.memory.touch(key, expected, ttl).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.0.destroys.fetch_add(1, SeqCst);
        self.check("destroy")?;
        self.pass_gate().await;
        let destroyed = self.0.memory.destroy(key, only).await?;
        if destroyed {
            self.0.tombstones.lock().unwrap().remove(key);
        }
        Ok(destroyed)
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        self.0.gcs.fetch_add(1, SeqCst);
        self.check("gc")?;
        self.pass_gate().await;
        self.0.memory.gc(limit).await
    }
}

/// A client that keeps its session cookie as a browser does.
#[derive(Clone)]
pub(crate) struct Client {
    http: reqwest::Client,
    address: SocketAddr,
    pub(crate) cookie: Option<String>,
}

#[derive(Debug)]
pub(crate) struct Reply {
    pub(crate) status: u16,
    pub(crate) headers: HeaderMap,
    pub(crate) text: String,
}

impl Client {
    pub(crate) fn new(address: SocketAddr) -> Self {
        Self { http: reqwest::Client::new(), address, cookie: None }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Sends a GET request with the cookie, and keeps the cookie that the response sets.
    pub(crate) async fn get(&mut self, path: &str) -> Reply {
        let header = self.cookie.as_ref().map(|value| format!("__Host-id={value}"));
        let reply = self.get_with(path, header.as_deref()).await;
        match reply.session_cookie() {
            Some(value) if value.is_empty() => self.cookie = None,
            Some(value) => self.cookie = Some(value),
            None => {}
        }
        reply
    }

    /// Sends a GET request with this `Cookie` header.
    pub(crate) async fn get_with(&self, path: &str, cookie: Option<&str>) -> Reply {
        let cookie = cookie.map(|cookie| (COOKIE.as_str(), cookie));
        self.get_with_headers(path, cookie.as_slice()).await
    }

    pub(crate) async fn get_with_headers(&self, path: &str, headers: &[(&str, &str)]) -> Reply {
        self.send("GET", path, headers).await
    }

    pub(crate) async fn send(&self, method: &str, path: &str, headers: &[(&str, &str)]) -> Reply {
        let method = method.parse().unwrap();
        let mut request = self.http.request(method, format!("http://{}{path}", self.address));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let response = request.send().await.unwrap();
        Reply {
            status: response.status().as_u16(),
            headers: response.headers().clone(),
            text: response.text().await.unwrap(),
        }
    }
}

impl Reply {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        Some(self.headers.get(name)?.to_str().unwrap())
    }

    /// All values of the header.
    pub(crate) fn all(&self, name: &str) -> Vec<&str> {
        self.headers.get_all(name).iter().map(|value| value.to_str().unwrap()).collect()
    }

    pub(crate) fn set_cookie(&self) -> Option<&str> {
        assert!(self.headers.get_all(SET_COOKIE).iter().count() <= 1);
        self.header("set-cookie")
    }

    /// The value that the session cookie was set to; empty when it was removed.
    pub(crate) fn session_cookie(&self) -> Option<String> {
        let pair = self.set_cookie()?.split(';').next().unwrap();
        Some(pair.strip_prefix("__Host-id=")?.to_owned())
    }
}

pub(crate) async fn eventually(condition: impl Fn() -> bool) {
    for _ in 0..200 {
        if condition() {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("it did not happen within 2 s");
}

/// The value as a number. One that is none counts as missing, and is removed.
pub(crate) fn number_if_it_is_one(session: &Session) -> Result<u64> {
    match session.get("value") {
        Ok(number) => Ok(number.unwrap_or_default()),
        Err(error) if error.kind() == ErrorKind::InvalidValue => {
            session.remove("value");
            Ok(0)
        }
        Err(error) => Err(error),
    }
}
