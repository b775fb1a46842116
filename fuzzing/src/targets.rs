//! What is fed.

mod redis_record;

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::LazyLock;
use std::time::Duration;

use session_cookie::{CookieStore, SecretKey};
use session_core::{
    Backend, Bytes, Capabilities, CookieBackend as _, Error, ErrorKind, Expiry, Key, Loaded, Owner,
    Record, Result, Revision, SessionId, SessionStore, Write, async_trait,
};
use session_file::FileBackend;
use session_http::{Handle, RequestHeaders, Shared};
use session_memory::MemoryBackend;
use session_redis::RedisBackend;
use session_sql::{MySqlBackend, PostgresBackend, SqliteBackend};

use crate::Input;

type Running = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Something that reads what others wrote.
pub struct Target {
    /// The name for the command line.
    pub name: &'static str,
    pub(crate) run: fn(Input) -> Running,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("name", &self.name).finish_non_exhaustive()
    }
}

/// All targets.
#[must_use]
pub fn all() -> [Target; 7] {
    [
        Target { name: "cookie-header", run: |input| Box::pin(cookie_header(input)) },
        Target { name: "sealed", run: |input| Box::pin(sealed(input)) },
        Target { name: "document", run: |input| Box::pin(document(input)) },
        Target { name: "file-record", run: |input| Box::pin(file_record(input)) },
        Target { name: "redis-record", run: |input| Box::pin(redis_record::run(input)) },
        Target { name: "sql-record", run: |input| Box::pin(sql_record(input)) },
        Target { name: "url", run: |input| Box::pin(url(input)) },
    ]
}

struct Headers(Vec<(String, Vec<u8>)>);

impl RequestHeaders for Headers {
    fn each<'a>(&'a self, name: &str, see: impl FnMut(&'a [u8])) {
        let values = self.0.iter().filter(|(there, _)| there == name);
        values.map(|(_, value)| value.as_slice()).for_each(see);
    }
}

/// No header makes a session of somebody, and none is an error.
async fn cookie_header(mut input: Input) {
    let id = "__Host-id=AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
    let examples = [id, "a=b; __Host-id=x; c=d", "__Host-id=; __Host-id=y", "=__Host-id=v"];
    let names = ["cookie", "sec-fetch-mode", "sec-fetch-dest", "sec-fetch-site", "sec-purpose"];
    let count = input.number(5);
    let mut headers = Vec::new();
    for _ in 0..count {
        headers.push((input.one_of(&names).to_owned(), input.text(&examples).into_bytes()));
    }
    let shared = Shared::new(SessionStore::new(MemoryBackend::new()));
    let method = input.one_of(&["GET", "POST", "HEAD", "", "get"]);
    let handle = Handle::new(shared, None, method, &Headers(headers));
    let session = handle.session().await.expect("a store in memory does not fail");
    assert!(!session.exists(), "the store is empty");
}

static COOKIES: LazyLock<(CookieStore, CookieStore)> = LazyLock::new(|| {
    let key = || SecretKey::generate().expect("a random source");
    (
        CookieStore::signed("__Host-id", [key()]).expect("a good key"),
        CookieStore::encrypted("__Host-id", [key()]).expect("a good key"),
    )
});

/// A changed value never opens.
async fn sealed(mut input: Input) {
    let (signed, encrypted) = &*COOKIES;
    for store in [signed, encrypted] {
        let record = Record {
            payload: input.bytes(300).into(),
            revision: Revision::from_u64(1),
            owner: Some(Owner::new("ann").expect("a short name")),
        };
        let id = SessionId::from_bytes([7; 32]);
        let lives = Expiry::After(Duration::from_secs(600));
        let value = store.seal(&id, &record, lives).expect("it fits").value;
        let opened = store.open(&value).expect("it is authentic").expect("it is live");
        assert_eq!(opened.record, record);
        let changed = input.text(&[&value, "AAAA", ""]);
        if changed != value {
            assert!(
                store.open(&changed).expect("not authentic").is_none(),
                "a changed value opened"
            );
        }
    }
}

/// A store whose only record is these bytes.
#[derive(Debug)]
struct Fixed(Bytes);

#[async_trait]
impl Backend for Fixed {
    fn name(&self) -> &'static str {
        "fixed"
    }
    fn capabilities(&self) -> Capabilities {
        Capabilities::default()
    }
    async fn load(&self, _: &Key) -> Result<Option<Loaded>> {
        let record =
            Record { payload: self.0.clone(), revision: Revision::from_u64(1), owner: None };
        Ok(Some(Loaded { record, expires_in: Duration::from_secs(60) }))
    }
    async fn save(&self, _: &Key, _: &Record, _: Write) -> Result<()> {
        Ok(())
    }
    async fn touch(&self, _: &Key, _: Revision, _: Duration) -> Result<()> {
        Ok(())
    }
    async fn destroy(&self, _: &Key, _: Option<Revision>) -> Result<bool> {
        Ok(true)
    }
    async fn gc(&self, _: usize) -> Result<u64> {
        Ok(0)
    }
}

const DOCUMENTS: [&[u8]; 4] = [
    include_bytes!("../corpus/session.json"),
    include_bytes!("../corpus/flash.json"),
    include_bytes!("../corpus/rotated.json"),
    b"{}",
];

/// Bytes that are no document are `Corrupt`; a document can be read, changed and saved.
async fn document(mut input: Input) {
    let store = SessionStore::new(Fixed(input.mutated(&DOCUMENTS).into()));
    let cookie = SessionId::from_bytes([1; 32]).expose();
    match store.load(&cookie).await {
        Ok(None) => {}
        Ok(Some(session)) => {
            for name in session.keys() {
                let _ = session.get::<String>(&name);
                let _ = session.get::<u64>(&name);
            }
            let _ = session.flash().take_messages();
            session.insert("new", 1).expect("a number can be stored");
            store.save(&session).await.expect("the store accepts all");
            assert_eq!(session.get::<u64>("new").expect("it was stored"), Some(1));
        }
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
    }
}

/// A file that was changed is `Corrupt` or gone, and can be destroyed.
async fn file_record(mut input: Input) {
    let directory = tempfile::tempdir().expect("a directory");
    let store = FileBackend::open(directory.path().join("sessions")).expect("a directory");
    let key = Key::from_bytes([9; 32]);
    let payload = Bytes::from(input.bytes(300));
    let record = Record { payload, revision: Revision::from_u64(5), owner: None };
    let create = Write::Create { ttl: Duration::from_secs(60) };
    store.save(&key, &record, create).await.expect("it can be written");
    let file = only_file(&directory.path().join("sessions")).expect("there is one file");
    let bytes = std::fs::read(&file).expect("it is ours");
    let changed = input.mutated(&[&bytes]);
    std::fs::write(&file, &changed).expect("it is ours");
    match store.load(&key).await {
        Ok(Some(found)) => assert!(found.record == record || changed != bytes),
        Ok(None) => {}
        Err(error) => assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}"),
    }
    store.destroy(&key, None).await.expect("whatever it is");
    assert!(store.load(&key).await.expect("nothing is there").is_none());
}

fn only_file(directory: &std::path::Path) -> Option<std::path::PathBuf> {
    for entry in std::fs::read_dir(directory).ok()?.flatten() {
        let path = entry.path();
        let found = if path.is_dir() { only_file(&path) } else { Some(path) };
        if let Some(found) = found.filter(|file| file.metadata().is_ok_and(|file| file.len() > 0)) {
            return Some(found);
        }
    }
    None
}

/// Any bytes are a payload, and come back.
async fn sql_record(mut input: Input) {
    let store = SqliteBackend::connect("sqlite::memory:").await.expect("in memory");
    store.migrate().await.expect("a new table");
    let key = Key::from_bytes([9; 32]);
    let record =
        Record { payload: input.bytes(300).into(), revision: Revision::from_u64(5), owner: None };
    let create = Write::Create { ttl: Duration::from_secs(60) };
    store.save(&key, &record, create).await.expect("it can be written");
    let owner = input.bytes(300);
    let changed = Record {
        payload: input.mutated(&DOCUMENTS).into(),
        owner: String::from_utf8(owner).ok().and_then(|owner| Owner::new(owner).ok()),
        revision: Revision::from_u64(6),
    };
    let update = session_core::Update { expected: record.revision, ttl: None };
    store.save(&key, &changed, Write::Update(update)).await.expect("any bytes are a payload");
    let found = store.load(&key).await.expect("any bytes can be read").expect("it is live");
    assert_eq!(found.record, changed);
}

/// A URL is used or refused, and its password is in no error.
async fn url(mut input: Input) {
    const SECRET: &str = "opensesame";
    let schemes = [
        "redis",
        "rediss",
        "redis+cluster",
        "redis+sentinel",
        "unix",
        "postgres",
        "postgresql",
        "mysql",
        "mariadb",
        "sqlite",
        "",
        "http",
    ];
    let scheme = input.one_of(&schemes);
    // Only the port of a closed listener: nothing is looked up, and nothing answers.
    let rest = input.text(&[
        "/0",
        "/service/0",
        "/db?sslmode=disable",
        "/?protocol=resp3",
        "?a=b",
        "/%00",
    ]);
    let user = input.one_of(&["app", "", "a%40b", "ä", "a:b"]);
    let host = input.one_of(&["127.0.0.1:1", "[::1]:1", "127.0.0.1:99999", "127.0.0.1:port", ""]);
    let url = format!("{scheme}://{user}:{SECRET}@{host}{rest}");
    let time = Duration::from_millis(50);
    let mut errors: Vec<Error> = Vec::new();
    if !host.is_empty() {
        let redis = tokio::time::timeout(time, RedisBackend::connect(&url)).await;
        errors.extend(redis.ok().and_then(std::result::Result::err));
        let postgres = tokio::time::timeout(time, PostgresBackend::connect(&url)).await;
        errors.extend(postgres.ok().and_then(std::result::Result::err));
        let mysql = tokio::time::timeout(time, MySqlBackend::connect(&url)).await;
        errors.extend(mysql.ok().and_then(std::result::Result::err));
    }
    for error in errors {
        let mut text = format!("{error} {error:?}");
        let mut source = std::error::Error::source(&error);
        while let Some(next) = source {
            text.push_str(&format!(" {next} {next:?}"));
            source = next.source();
        }
        assert!(!text.contains(SECRET), "{text}");
        assert!(error.nothing_was_written(), "{text}");
    }
}
