//! tower-sessions: through its `Session`, as an application uses it, and the bare stores, which show the
//! minimal cost.

use std::collections::HashMap;
use std::sync::Arc;

use bench_harness::{CHANGED_KEY, COUNTER_KEY, READ_KEY, Subject, changed_value, values};
use serde_json::Value;
use time::OffsetDateTime;
use tower_sessions_core as core15;
use tower_sessions_core::session::{Expiry, Id, Session};
use tower_sessions_core_14 as core14;
use tower_sessions_memory_store::MemoryStore;
use tower_sessions_redis_store::RedisStore;
use tower_sessions_redis_store::fred::prelude::{ClientLike as _, Config, KeysInterface, Pool};
use tower_sessions_sqlx_store::sqlx::mysql::MySqlPoolOptions;
use tower_sessions_sqlx_store::sqlx::postgres::PgPoolOptions;
use tower_sessions_sqlx_store::sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous,
};
use tower_sessions_sqlx_store::{MySqlStore, PostgresStore, SqliteStore};

const LIFE: time::Duration = time::Duration::hours(2);
const CONNECTIONS: u32 = 10;

fn data() -> HashMap<String, Value> {
    values().into_iter().map(|(key, value)| (key.to_owned(), Value::String(value))).collect()
}

fn count_of(data: &HashMap<String, Value>) -> u64 {
    data.get(COUNTER_KEY).and_then(Value::as_u64).unwrap_or(0)
}

/// A store that is used through the `Session` of applications.
pub(crate) struct Handle(Arc<MemoryStore>);

impl Handle {
    pub(crate) fn memory() -> Self {
        Self(Arc::default())
    }

    fn session(&self, id: Option<Id>) -> Session {
        Session::new(id, self.0.clone(), Some(Expiry::OnInactivity(LIFE)))
    }
}

impl Subject for Handle {
    type Id = String;
    type Session = Session;

    async fn create(&self) -> Session {
        let session = self.session(None);
        for (key, value) in values() {
            session.insert(key, value).await.expect("insert works");
        }
        session.save().await.expect("save works");
        session
    }

    fn id(&self, session: &Session) -> String {
        session.id().expect("it is stored").to_string()
    }

    fn unknown(&self) -> String {
        Id::default().to_string()
    }

    async fn load(&self, id: &String) -> bool {
        let session = self.session(id.parse().ok());
        session.get::<String>(READ_KEY).await.expect("get works").is_some()
    }

    async fn open(&self, id: &String) -> Session {
        let session = self.session(id.parse().ok());
        session.load().await.expect("load works");
        session
    }

    async fn save(&self, session: &mut Session, number: u64) {
        session.insert(CHANGED_KEY, changed_value(number)).await.expect("insert works");
        session.save().await.expect("save works");
    }

    async fn touch(&self, session: &mut Session) {
        session.save().await.expect("save works");
    }

    async fn destroy(&self, session: Session) {
        session.flush().await.expect("flush works");
    }

    async fn increment(&self, id: &String) {
        let session = self.session(id.parse().ok());
        let count: u64 = session.get(COUNTER_KEY).await.expect("get works").unwrap_or(0);
        session.insert(COUNTER_KEY, count + 1).await.expect("insert works");
        session.save().await.expect("save works");
    }

    async fn counter(&self, id: &String) -> u64 {
        let session = self.session(id.parse().ok());
        session.get(COUNTER_KEY).await.expect("get works").unwrap_or(0)
    }

    async fn create_short(&self, _: std::time::Duration) {}

    async fn gc(&self) -> Option<u64> {
        None
    }
}

macro_rules! store {
    ($name:ident, $core:ident) => {
        /// A bare store, without a `Session` around it.
        pub(crate) struct $name<S> {
            store: S,
            /// Whether each save builds the map of all values first, as every request has to. Otherwise
            /// one map is kept from save to save.
            builds_maps: bool,
        }

        impl<S: $core::SessionStore> $name<S> {
            fn new(store: S) -> Self {
                Self { store, builds_maps: false }
            }

            async fn get(&self, id: &$core::session::Id) -> Option<$core::session::Record> {
                self.store.load(id).await.expect("load works")
            }
        }

        impl<S: $core::SessionStore> Subject for $name<S> {
            type Id = $core::session::Id;
            type Session = $core::session::Record;

            async fn create(&self) -> Self::Session {
                let mut record = $core::session::Record {
                    id: $core::session::Id::default(),
                    data: data(),
                    expiry_date: OffsetDateTime::now_utc() + LIFE,
                };
                self.store.create(&mut record).await.expect("create works");
                record
            }

            fn id(&self, record: &Self::Session) -> Self::Id {
                record.id
            }

            fn unknown(&self) -> Self::Id {
                $core::session::Id::default()
            }

            async fn load(&self, id: &Self::Id) -> bool {
                match self.get(id).await {
                    Some(record) => {
                        assert!(record.data.get(READ_KEY).and_then(Value::as_str).is_some());
                        true
                    }
                    None => false,
                }
            }

            async fn open(&self, id: &Self::Id) -> Self::Session {
                self.get(id).await.expect("it exists")
            }

            async fn save(&self, record: &mut Self::Session, number: u64) {
                if self.builds_maps {
                    record.data = data();
                }
                record.data.insert(CHANGED_KEY.to_owned(), changed_value(number).into());
                record.expiry_date = OffsetDateTime::now_utc() + LIFE;
                self.store.save(record).await.expect("save works");
            }

            async fn touch(&self, record: &mut Self::Session) {
                record.expiry_date = OffsetDateTime::now_utc() + LIFE;
                self.store.save(record).await.expect("save works");
            }

            async fn destroy(&self, record: Self::Session) {
                self.store.delete(&record.id).await.expect("delete works");
            }

            async fn increment(&self, id: &Self::Id) {
                let mut record = self.open(id).await;
                let count = count_of(&record.data) + 1;
                record.data.insert(COUNTER_KEY.to_owned(), count.into());
                self.store.save(&record).await.expect("save works");
            }

            async fn counter(&self, id: &Self::Id) -> u64 {
                count_of(&self.open(id).await.data)
            }

            async fn create_short(&self, _: std::time::Duration) {}

            async fn gc(&self) -> Option<u64> {
                None
            }
        }
    };
}

store!(Store, core15);
store!(OtherStore, core14);

impl Store<MemoryStore> {
    pub(crate) fn memory() -> Self {
        Self::new(MemoryStore::default())
    }

    pub(crate) fn memory_with_new_maps() -> Self {
        Self { store: MemoryStore::default(), builds_maps: true }
    }
}

/// As in its documentation, with one connection like the other contenders.
pub(crate) async fn redis(
    url: &str,
) -> OtherStore<RedisStore<impl KeysInterface + Send + Sync + std::fmt::Debug + 'static>> {
    let config = Config::from_url(url).expect("it is a URL");
    let pool = Pool::new(config, None, None, None, 1).expect("the settings are good");
    // It runs until the process ends.
    drop(pool.connect());
    pool.wait_for_connect().await.expect("Redis answers");
    OtherStore::new(RedisStore::new(pool))
}

/// With the same settings as the other contenders.
pub(crate) async fn sqlite(path: &std::path::Path) -> OtherStore<SqliteStore> {
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        .journal_mode(SqliteJournalMode::Wal)
        .synchronous(SqliteSynchronous::Normal)
        .busy_timeout(std::time::Duration::from_secs(30));
    let pool = SqlitePoolOptions::new().max_connections(CONNECTIONS).connect_with(options);
    let store = SqliteStore::new(pool.await.expect("SQLite opens"));
    store.migrate().await.expect("the table can be made");
    OtherStore::new(store)
}

pub(crate) async fn postgres(url: &str) -> OtherStore<PostgresStore> {
    let pool = PgPoolOptions::new().max_connections(CONNECTIONS).connect(url);
    let store = PostgresStore::new(pool.await.expect("PostgreSQL answers"));
    store.migrate().await.expect("the table can be made");
    OtherStore::new(store)
}

pub(crate) async fn mysql(url: &str) -> OtherStore<MySqlStore> {
    let pool = MySqlPoolOptions::new().max_connections(CONNECTIONS).connect(url);
    let store = MySqlStore::new(pool.await.expect("MariaDB answers"));
    store.migrate().await.expect("the table can be made");
    OtherStore::new(store)
}
