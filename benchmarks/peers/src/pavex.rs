//! pavex_session's store in memory, without a `Session` around it.

use std::borrow::Cow;
use std::collections::HashMap;
use std::time::Duration;

use bench_harness::{CHANGED_KEY, COUNTER_KEY, READ_KEY, Subject, changed_value, values};
use pavex_session::SessionId;
use pavex_session::store::{SessionRecordRef, SessionStorageBackend as _};
use pavex_session_memory_store::InMemorySessionStore;
use serde_json::Value;

const LIFE: Duration = Duration::from_secs(7200);

type State = HashMap<Cow<'static, str>, Value>;

pub(crate) struct Store(InMemorySessionStore);

impl Store {
    pub(crate) fn memory() -> Self {
        Self(InMemorySessionStore::new())
    }

    async fn get(&self, id: &SessionId) -> Option<State> {
        Some(self.0.load(id).await.expect("load works")?.state)
    }

    async fn put(&self, id: &SessionId, state: &State) {
        self.0.update(id, record(state)).await.expect("update works");
    }
}

impl Subject for Store {
    type Id = SessionId;
    type Session = (SessionId, State);

    async fn create(&self) -> Self::Session {
        let id = SessionId::random();
        let state = values().map(|(key, value)| (key.into(), value.into()));
        self.0.create(&id, record(&State::from(state))).await.expect("create works");
        (id, State::new())
    }

    fn id(&self, session: &Self::Session) -> SessionId {
        session.0
    }

    fn unknown(&self) -> SessionId {
        SessionId::random()
    }

    async fn load(&self, id: &SessionId) -> bool {
        match self.get(id).await {
            Some(state) => {
                assert!(state.get(READ_KEY).and_then(Value::as_str).is_some());
                true
            }
            None => false,
        }
    }

    async fn open(&self, id: &SessionId) -> Self::Session {
        (*id, self.get(id).await.expect("it exists"))
    }

    async fn save(&self, (id, state): &mut Self::Session, number: u64) {
        state.insert(CHANGED_KEY.into(), changed_value(number).into());
        self.put(id, state).await;
    }

    async fn touch(&self, (id, _): &mut Self::Session) {
        self.0.update_ttl(id, LIFE).await.expect("update_ttl works");
    }

    async fn destroy(&self, (id, _): Self::Session) {
        self.0.delete(&id).await.expect("delete works");
    }

    async fn increment(&self, id: &SessionId) {
        let mut state = self.get(id).await.expect("it exists");
        let count = count_of(&state) + 1;
        state.insert(COUNTER_KEY.into(), count.into());
        self.put(id, &state).await;
    }

    async fn counter(&self, id: &SessionId) -> u64 {
        count_of(&self.get(id).await.expect("it exists"))
    }

    async fn create_short(&self, _: Duration) {}

    async fn gc(&self) -> Option<u64> {
        None
    }
}

fn record(state: &State) -> SessionRecordRef<'_> {
    SessionRecordRef { state: Cow::Borrowed(state), ttl: LIFE }
}

fn count_of(state: &State) -> u64 {
    state.get(COUNTER_KEY).and_then(Value::as_u64).unwrap_or(0)
}
