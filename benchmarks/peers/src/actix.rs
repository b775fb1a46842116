//! actix-session's Redis store, without the middleware around it.

use std::collections::HashMap;

use actix_session::storage::{RedisSessionStore, SessionKey, SessionStore as _};
use bench_harness::{CHANGED_KEY, COUNTER_KEY, READ_KEY, Subject, changed_value, values};
use time::Duration;

const LIFE: Duration = Duration::hours(2);

/// Each value is a separate JSON text.
type State = HashMap<String, String>;

pub(crate) struct Store(RedisSessionStore);

impl Store {
    pub(crate) async fn connect(url: &str) -> Self {
        Self(RedisSessionStore::new(url).await.expect("Redis answers"))
    }

    async fn get(&self, id: &str) -> Option<State> {
        self.0.load(&key(id)).await.expect("load works")
    }

    async fn put(&self, id: &str, state: State) {
        self.0.update(key(id), state, &LIFE).await.expect("update works");
    }
}

impl Subject for Store {
    type Id = String;
    type Session = (String, State);

    async fn create(&self) -> Self::Session {
        let state = values().map(|(key, value)| (key.to_owned(), json(&value)));
        let id = self.0.save(State::from(state), &LIFE).await.expect("save works");
        (id.into(), State::new())
    }

    fn id(&self, session: &Self::Session) -> String {
        session.0.clone()
    }

    fn unknown(&self) -> String {
        (0..64).map(|_| fastrand::alphanumeric()).collect()
    }

    async fn load(&self, id: &String) -> bool {
        match self.get(id).await {
            Some(state) => {
                let value = state.get(READ_KEY).map(|text| serde_json::from_str::<String>(text));
                assert!(value.is_some_and(|value| value.is_ok()));
                true
            }
            None => false,
        }
    }

    async fn open(&self, id: &String) -> Self::Session {
        (id.clone(), self.get(id).await.expect("it exists"))
    }

    async fn save(&self, (id, state): &mut Self::Session, number: u64) {
        state.insert(CHANGED_KEY.to_owned(), json(&changed_value(number)));
        self.put(id, state.clone()).await;
    }

    async fn touch(&self, (id, _): &mut Self::Session) {
        self.0.update_ttl(&key(id), &LIFE).await.expect("update_ttl works");
    }

    async fn destroy(&self, (id, _): Self::Session) {
        self.0.delete(&key(&id)).await.expect("delete works");
    }

    async fn increment(&self, id: &String) {
        let (id, mut state) = self.open(id).await;
        state.insert(COUNTER_KEY.to_owned(), (count_of(&state) + 1).to_string());
        self.put(&id, state).await;
    }

    async fn counter(&self, id: &String) -> u64 {
        count_of(&self.open(id).await.1)
    }

    async fn create_short(&self, _: std::time::Duration) {}

    async fn gc(&self) -> Option<u64> {
        None
    }
}

fn key(id: &str) -> SessionKey {
    id.to_owned().try_into().expect("it is short")
}

fn json(text: &str) -> String {
    serde_json::to_string(text).expect("a string is JSON")
}

fn count_of(state: &State) -> u64 {
    state.get(COUNTER_KEY).and_then(|text| text.parse().ok()).unwrap_or(0)
}
