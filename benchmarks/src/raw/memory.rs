//! dashmap from keys to bytes.

use std::time::{Duration, Instant};

use bench_harness::Subject;
use dashmap::DashMap;
use session_core::Bytes;

use super::{Key, LIFE, change, payload, random_key};

pub(crate) struct Raw {
    sessions: DashMap<Key, (Bytes, Instant)>,
    payload: Bytes,
}

impl Raw {
    pub(crate) fn new() -> Self {
        Self { sessions: DashMap::new(), payload: payload().into() }
    }

    fn insert(&self, key: Key, life: Duration) {
        let copy = Bytes::copy_from_slice(&self.payload);
        self.sessions.insert(key, (copy, Instant::now() + life));
    }

    fn get(&self, key: &Key) -> Option<Bytes> {
        let entry = self.sessions.get(key)?;
        (entry.1 > Instant::now()).then(|| entry.0.clone())
    }
}

impl Subject for Raw {
    type Id = Key;
    type Session = (Key, Vec<u8>);

    async fn create(&self) -> Self::Session {
        let key = random_key();
        self.insert(key, LIFE);
        (key, Vec::new())
    }

    fn id(&self, session: &Self::Session) -> Key {
        session.0
    }

    fn unknown(&self) -> Key {
        random_key()
    }

    async fn load(&self, key: &Key) -> bool {
        std::hint::black_box(self.get(key)).is_some()
    }

    async fn open(&self, key: &Key) -> Self::Session {
        (*key, self.get(key).expect("it exists").to_vec())
    }

    async fn save(&self, (key, payload): &mut Self::Session, number: u64) {
        change(payload, number);
        self.sessions.insert(*key, (Bytes::copy_from_slice(payload), Instant::now() + LIFE));
    }

    async fn touch(&self, (key, _): &mut Self::Session) {
        if let Some(mut entry) = self.sessions.get_mut(key) {
            entry.1 = Instant::now() + LIFE;
        }
    }

    async fn destroy(&self, (key, _): Self::Session) {
        self.sessions.remove(&key);
    }

    /// A load and a save, as with a store without compare-and-swap.
    async fn increment(&self, key: &Key) {
        let mut session = self.open(key).await;
        let count = self.counter(key).await + 1;
        self.save(&mut session, count).await;
    }

    async fn counter(&self, key: &Key) -> u64 {
        super::changed_number(&self.get(key).expect("it exists"))
    }

    async fn create_short(&self, life: Duration) {
        self.insert(random_key(), life);
    }

    async fn gc(&self) -> Option<u64> {
        let (before, now) = (self.sessions.len(), Instant::now());
        self.sessions.retain(|_, (_, expiry)| *expiry > now);
        Some((before - self.sessions.len()) as u64)
    }
}
