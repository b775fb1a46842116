//! Values in Redis that another program wrote.

use std::sync::Once;
use std::time::Duration;

use session_core::{Backend as _, Error, ErrorKind, Key, Record, Revision, Update, Write};
use session_redis::RedisBackend;
use session_redis::redis::{self, AsyncCommands as _};
use tokio::sync::OnceCell;

use crate::Input;

const EXAMPLES: [&[u8]; 4] = [
    b"s1:0000000000c0ffee:5:alice\n{\"v\":1}",
    b"s1:ffffffffffffffff:0:\n",
    b"s1:0000000000000001:255:a\n",
    b"",
];
const LIFE_MS: u64 = 60_000;

/// A connection of the store, and one of the other program.
static CONNECTIONS: OnceCell<Option<(RedisBackend, redis::aio::MultiplexedConnection)>> =
    OnceCell::const_new();

/// Any bytes are a record or `Corrupt`. A record can be changed; `Corrupt` is kept, and can be destroyed.
pub(super) async fn run(mut input: Input) {
    let Some((store, program)) = CONNECTIONS.get_or_init(connect).await else { return };
    let key = Key::from_bytes([u8::try_from(input.number(256)).unwrap_or_default(); 32]);
    let name = format!("session:{}", key.to_hex());
    let value = input.mutated(&EXAMPLES);
    let mut program = program.clone();
    let written: Result<(), _> = program.pset_ex(&name, &value, LIFE_MS).await;
    written.expect("the server answers");

    let record = Record { payload: "new".into(), revision: Revision::from_u64(7), owner: None };
    let refused = |result: Result<(), Error>| result.expect_err("the value is there").kind();
    let create = Write::Create { ttl: Duration::from_secs(60) };
    assert_eq!(refused(store.save(&key, &record, create).await), ErrorKind::AlreadyExists);
    match store.load(&key).await {
        Ok(found) => {
            let found = found.expect("it lives for a minute").record;
            let expected = found.revision;
            let update = Update { expected, ttl: None };
            store.save(&key, &record, Write::Update(update)).await.expect("it is the revision");
            let now = store.load(&key).await.expect("it is a record").expect("it is live");
            assert_eq!(now.record, record);
        }
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            let kept: Vec<u8> = program.get(&name).await.expect("the server answers");
            assert_eq!(kept, value, "what can't be read is kept");
        }
    }
    assert!(store.destroy(&key, None).await.expect("whatever it is"));
    assert!(store.load(&key).await.expect("nothing is there").is_none());
}

async fn connect() -> Option<(RedisBackend, redis::aio::MultiplexedConnection)> {
    let server = match test_servers::redis::shared() {
        Ok(server) => server,
        Err(missing) => {
            static SAID: Once = Once::new();
            assert!(std::env::var_os("CONFORMANCE_STRICT").is_none(), "{missing}");
            SAID.call_once(|| say(&format!("redis-record is skipped: {missing}")));
            return None;
        }
    };
    let store = RedisBackend::connect(server.url()).await.expect("the server is new");
    let client = redis::Client::open(server.url()).expect("the URL is right");
    let program = client.get_multiplexed_async_connection().await.expect("the server is new");
    Some((store, program))
}

#[allow(clippy::print_stderr, reason = "a target that is skipped must be seen")]
fn say(text: &str) {
    eprintln!("{text}");
}
