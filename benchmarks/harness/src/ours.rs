//! The stores of this project: one adapter for all of them, because they have the same handle.

use std::time::Duration;

use session_core::{Config, Saved, Session, SessionId, SessionStore};

use crate::{CHANGED_KEY, COUNTER_KEY, READ_KEY, Subject, changed_value, values};

/// A store of this project, used through its handle as in an application.
#[derive(Debug)]
pub struct Ours(SessionStore);

impl Ours {
    /// The store, with sessions that can be renewed.
    ///
    /// # Panics
    /// Never: the settings are valid.
    #[must_use]
    pub fn new(store: SessionStore) -> Self {
        let config = Config::default().lifetime(None).idle_timeout(Duration::from_secs(7200));
        Self(store.with_config(config).expect("the settings are valid"))
    }

    async fn store_new(&self, session: &Session) {
        let saved = self.0.save(session).await.expect("create works");
        assert_eq!(saved, Saved::Issued);
    }

    async fn found(&self, id: &str) -> Session {
        self.0.load(id).await.expect("load works").expect("the session is there")
    }
}

fn new_session() -> Session {
    let session = Session::new();
    for (key, value) in values() {
        session.insert(key, value).expect("a string can be kept");
    }
    session
}

impl Subject for Ours {
    type Id = String;
    type Session = Session;

    async fn create(&self) -> Session {
        let session = new_session();
        self.store_new(&session).await;
        session
    }

    fn id(&self, session: &Session) -> String {
        self.0.cookie_value(session).expect("it is stored").into_string()
    }

    fn unknown(&self) -> String {
        if self.0.web().cookie_name().is_some() {
            return "A".repeat(800); // as long as a sealed session is
        }
        let mut bytes = [0; 32];
        fastrand::fill(&mut bytes);
        SessionId::from_bytes(bytes).expose()
    }

    async fn load(&self, id: &String) -> bool {
        match self.0.load(id).await.expect("load works") {
            Some(session) => {
                let value = session.get::<String>(READ_KEY).expect("it is a string");
                assert!(value.is_some());
                true
            }
            None => false,
        }
    }

    async fn open(&self, id: &String) -> Session {
        self.found(id).await
    }

    async fn save(&self, session: &mut Session, number: u64) {
        session.insert(CHANGED_KEY, changed_value(number)).expect("a string can be kept");
        let saved = self.0.save(session).await.expect("save works");
        assert!(matches!(saved, Saved::Updated | Saved::Issued));
    }

    async fn touch(&self, session: &mut Session) {
        session.extend();
        let saved = self.0.save(session).await.expect("touch works");
        assert_eq!(saved, Saved::Issued);
    }

    async fn destroy(&self, session: Session) {
        self.0.destroy(&session).await.expect("destroy works");
    }

    async fn increment(&self, id: &String) {
        let session = self.found(id).await;
        session
            .update(COUNTER_KEY, |count: Option<u64>| count.unwrap_or(0) + 1)
            .expect("it is a number");
        self.0.save(&session).await.expect("save works");
    }

    async fn counter(&self, id: &String) -> u64 {
        self.found(id).await.get(COUNTER_KEY).expect("it is a number").unwrap_or(0)
    }

    async fn create_short(&self, life: Duration) {
        if self.0.guarantees().expires_natively {
            return;
        }
        let session = new_session();
        session.set_lifetime(life).expect("it is not zero");
        self.store_new(&session).await;
    }

    async fn gc(&self) -> Option<u64> {
        if self.0.guarantees().expires_natively {
            return None;
        }
        Some(self.0.gc().await.expect("gc works"))
    }
}
