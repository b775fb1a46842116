//! The sessions of an account: what it costs to end them, and what happens at the same moment.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use session_core::{
    Backend, Capabilities, ErrorKind, Key, Loaded, Owner, OwnerIndex, Record, Result, Revision,
    Saved, Session, SessionStore, Write, async_trait,
};

use crate::faulty::{Fault, Faulty};
use crate::support::{config, cookie, load};

/// The store with an index, whose calls it notes, too.
#[derive(Debug)]
pub(crate) struct Indexed(pub(crate) Arc<Faulty>);

#[async_trait]
impl Backend for Indexed {
    fn name(&self) -> &'static str {
        "indexed"
    }

    fn capabilities(&self) -> Capabilities {
        self.0.capabilities()
    }

    async fn load(&self, key: &Key) -> Result<Option<Loaded>> {
        self.0.load(key).await
    }

    async fn save(&self, key: &Key, record: &Record, write: Write) -> Result<()> {
        self.0.save(key, record, write).await
    }

    async fn touch(&self, key: &Key, expected: Revision, ttl: Duration) -> Result<()> {
        self.0.touch(key, expected, ttl).await
    }

    async fn destroy(&self, key: &Key, only: Option<Revision>) -> Result<bool> {
        self.0.destroy(key, only).await
    }

    async fn gc(&self, limit: usize) -> Result<u64> {
        self.0.gc(limit).await
    }

    fn owner_index(&self) -> Option<&dyn OwnerIndex> {
        Some(self)
    }
}

#[async_trait]
impl OwnerIndex for Indexed {
    async fn keys_of(&self, owner: &Owner, after: Option<&Key>, limit: usize) -> Result<Vec<Key>> {
        self.0.note("keys_of").await;
        Ok(self.0.keys_of(owner, after, limit))
    }

    async fn prolong(&self, _: &Owner, _: &Key, _: Duration) -> Result<()> {
        self.0.prolong().await
    }

    async fn forget(&self, _: &Owner, _: &Key) -> Result<()> {
        self.0.note("forget").await;
        Ok(())
    }
}

pub(crate) fn alice() -> Owner {
    Owner::new("alice").unwrap()
}

pub(crate) fn indexed() -> (Arc<Faulty>, SessionStore) {
    let backend = Arc::new(Faulty::default());
    let store = SessionStore::new(Indexed(Arc::clone(&backend)));
    (backend, store.with_config(config()).unwrap())
}

pub(crate) async fn signed_in(store: &SessionStore) -> (String, Session) {
    let session = store.create();
    session.sign_in(alice());
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    (cookie(store, &session), session)
}

#[tokio::test]
async fn ending_a_session_of_an_account_costs_two_calls_and_its_entry() {
    let (backend, store) = indexed();
    for _ in 0..2 {
        signed_in(&store).await;
    }
    assert_eq!(backend.take_calls(), ["save", "save"], "the entries are the store's business");
    assert_eq!(store.destroy_all(&alice()).await.unwrap(), 2);
    let one = ["load", "destroy", "forget"];
    let all = [&["keys_of"][..], &one, &one, &["keys_of"]].concat();
    assert_eq!(backend.take_calls(), all);
}

#[tokio::test]
async fn a_session_without_an_owner_costs_nothing_more() {
    let (backend, store) = indexed();
    let store = store.with_config(config().idle_timeout(Duration::from_secs(9))).unwrap();
    let session = store.create();
    session.insert("n", 1).unwrap();
    store.save(&session).await.unwrap();
    session.insert("n", 2).unwrap();
    store.save(&session).await.unwrap();
    session.extend();
    store.save(&session).await.unwrap();
    store.destroy(&session).await.unwrap();
    assert_eq!(backend.take_calls(), ["save", "save", "touch", "destroy"]);
}

#[tokio::test]
async fn an_entry_is_prolonged_before_its_record() {
    let (backend, store) = indexed();
    let store = store.with_config(config().idle_timeout(Duration::from_secs(9))).unwrap();
    let (_, session) = signed_in(&store).await;
    backend.take_calls();
    session.extend();
    store.save(&session).await.unwrap();
    assert_eq!(backend.take_calls(), ["prolong", "touch"]);
    session.set_owner(Some(Owner::new("bob").unwrap()));
    store.save(&session).await.unwrap();
    assert_eq!(backend.take_calls(), ["prolong", "save"]);
    session.insert("n", 1).unwrap();
    store.save(&session).await.unwrap();
    assert_eq!(backend.take_calls(), ["save"], "the entry is there");
}

#[tokio::test]
async fn an_entry_that_fails_leaves_no_doubt() {
    let (backend, store) = indexed();
    let (_, session) = signed_in(&store).await;
    backend.take_calls();
    backend.failing_prolongs.store(1, Ordering::SeqCst);
    session.set_owner(Some(Owner::new("bob").unwrap()));
    let error = store.save(&session).await.unwrap_err();
    assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Unavailable, true));
    store.save(&session).await.unwrap();
    assert_eq!(backend.take_calls(), ["prolong", "prolong", "save"]);
}

/// The index is read before the session gets its new id, and the session is looked for afterwards.
#[tokio::test]
async fn a_session_that_gets_a_new_id_between_two_calls_is_ended() {
    for (call, nth) in [("keys_of", 1), ("load", 1), ("destroy", 1), ("forget", 1), ("keys_of", 2)]
    {
        let (backend, store) = indexed();
        let (old, session) = signed_in(&store).await;
        let same = store.clone();
        let (tells, hears) = tokio::sync::oneshot::channel();
        backend.after(call, nth, async move {
            session.regenerate();
            let saved = same.save(&session).await;
            drop(tells.send((saved.is_ok(), same.cookie_value(&session))));
        });
        let ended = store.destroy_all(&alice()).await.unwrap();
        assert!(ended >= 1, "{call} {nth}");
        let (_, new) = hears.await.unwrap();
        assert!(store.load(&old).await.unwrap().is_none());
        if let Some(new) = new {
            assert!(store.load(&new.into_string()).await.unwrap().is_none(), "{call} {nth}");
        }
        assert_eq!(backend.len(), 0, "{call} {nth}");
    }
}

#[tokio::test]
async fn the_others_end_and_this_one_stays_also_with_its_own_tombstone() {
    let (backend, store) = indexed();
    let (mine, session) = signed_in(&store).await;
    let (other, _) = signed_in(&store).await;
    session.regenerate();
    store.save(&session).await.unwrap();
    assert_eq!(store.destroy_others(&session).await.unwrap(), 1);
    assert!(store.load(&mine).await.unwrap().is_none(), "it has a new id");
    assert!(store.load(&other).await.unwrap().is_none());
    load(&store, &cookie(&store, &session)).await;
    assert_eq!(backend.len(), 1);
}

#[tokio::test]
async fn an_outage_is_reported() {
    let (backend, store) = indexed();
    signed_in(&store).await;
    backend.fail(&[Fault::LoseRequest]);
    let error = store.destroy_all(&alice()).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Unavailable);
    assert_eq!(store.destroy_all(&alice()).await.unwrap(), 1);
    let without = SessionStore::new(Arc::clone(&backend));
    let error = without.destroy_all(&alice()).await.unwrap_err();
    assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Unsupported, true));
    assert_eq!(without.sessions_of(&alice()).await.unwrap_err().kind(), ErrorKind::Unsupported);
}
