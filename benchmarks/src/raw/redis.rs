//! redis-rs on one multiplexed connection: GET, SET PX, PEXPIRE, DEL.

use std::time::Duration;

use bench_harness::Subject;
use redis::AsyncCommands as _;
use redis::aio::MultiplexedConnection;

use super::{Key, LIFE, change, changed_number, payload, random_key};

pub(crate) struct Raw {
    connection: MultiplexedConnection,
    payload: Vec<u8>,
}

impl Raw {
    pub(crate) async fn connect(url: &str) -> redis::RedisResult<Self> {
        let connection = redis::Client::open(url)?.get_multiplexed_async_connection().await?;
        Ok(Self { connection, payload: payload() })
    }

    async fn get(&self, key: &Key) -> Option<Vec<u8>> {
        self.connection.clone().get(name(key)).await.expect("GET works")
    }

    async fn set(&self, key: &Key, payload: &[u8]) {
        let millis = u64::try_from(LIFE.as_millis()).unwrap_or(u64::MAX);
        let mut connection = self.connection.clone();
        let set = connection.pset_ex::<_, _, ()>(name(key), payload, millis);
        set.await.expect("SET PX works");
    }
}

impl Subject for Raw {
    type Id = Key;
    type Session = (Key, Vec<u8>);

    async fn create(&self) -> Self::Session {
        let key = random_key();
        self.set(&key, &self.payload).await;
        (key, Vec::new())
    }

    fn id(&self, session: &Self::Session) -> Key {
        session.0
    }

    fn unknown(&self) -> Key {
        random_key()
    }

    async fn load(&self, key: &Key) -> bool {
        self.get(key).await.is_some()
    }

    async fn open(&self, key: &Key) -> Self::Session {
        (*key, self.get(key).await.expect("it exists"))
    }

    async fn save(&self, (key, payload): &mut Self::Session, number: u64) {
        change(payload, number);
        self.set(key, payload).await;
    }

    async fn touch(&self, (key, _): &mut Self::Session) {
        let millis = i64::try_from(LIFE.as_millis()).unwrap_or(i64::MAX);
        let mut connection = self.connection.clone();
        connection.pexpire::<_, ()>(name(key), millis).await.expect("PEXPIRE works");
    }

    async fn destroy(&self, (key, _): Self::Session) {
        self.connection.clone().del::<_, ()>(name(&key)).await.expect("DEL works");
    }

    async fn increment(&self, key: &Key) {
        let mut payload = self.get(key).await.expect("it exists");
        let count = changed_number(&payload) + 1;
        change(&mut payload, count);
        self.set(key, &payload).await;
    }

    async fn counter(&self, key: &Key) -> u64 {
        changed_number(&self.get(key).await.expect("it exists"))
    }

    async fn create_short(&self, _: Duration) {}

    async fn gc(&self) -> Option<u64> {
        None
    }
}

fn name(key: &Key) -> String {
    format!("raw:{}", session_core::Key::from_bytes(*key).to_hex())
}
