//! Sessions in the cookie: rotations against logouts, with and without a revocation store.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant, SystemTime};

use crate::faulty::{Fault, Faulty};
use crate::support::{config, cookie, increment, load, n, stored};
use session_core::{
    Backend, Config, CookieBackend, CookieChange, Error, ErrorKind, Expiry, Opened, Record, Result,
    Saved, Sealed, Session, SessionId, SessionStore,
};

const HOUR: Duration = Duration::from_secs(3600);
const LEEWAY: Duration = Duration::from_secs(30);

type Content = (SessionId, Record, SystemTime);

/// Its values are numbers for what it remembers: all that the handle can see of a real one.
#[derive(Debug, Default, Clone)]
struct Sealing {
    sealed: Arc<Mutex<HashMap<String, Content>>>,
    /// The cookies were sealed by an older key.
    aged: Arc<AtomicBool>,
    revocation: Option<Arc<Faulty>>,
}

impl Sealing {
    fn expires_at(&self, cookie: &str) -> SystemTime {
        self.sealed.lock().unwrap()[cookie].2
    }
}

impl CookieBackend for Sealing {
    fn name(&self) -> &'static str {
        "sealing"
    }

    fn cookie_name(&self) -> &'static str {
        "session"
    }

    fn seal(&self, id: &SessionId, record: &Record, expiry: Expiry) -> Result<Sealed> {
        if record.payload.len() > 1000 {
            return Err(Error::new(ErrorKind::TooLarge, "no browser would keep it"));
        }
        let expires_at = match expiry {
            Expiry::After(life) => SystemTime::now() + life,
            Expiry::At(moment) => moment,
        };
        let mut sealed = self.sealed.lock().unwrap();
        let value = sealed.len().to_string();
        sealed.insert(value.clone(), (id.clone(), record.clone(), expires_at));
        Ok(Sealed { value, expires_at })
    }

    fn open(&self, value: &str) -> Result<Option<Opened>> {
        let sealed = self.sealed.lock().unwrap();
        let live = sealed.get(value).filter(|(.., expires_at)| *expires_at > SystemTime::now());
        let reseal = self.aged.load(Ordering::SeqCst);
        Ok(live.cloned().map(|(id, record, expires_at)| Opened { id, record, expires_at, reseal }))
    }

    fn revocation(&self) -> Option<&dyn Backend> {
        self.revocation.as_ref().map(|revoked| revoked as &dyn Backend)
    }

    fn leeway(&self) -> Duration {
        LEEWAY
    }
}

fn without_revocation() -> SessionStore {
    SessionStore::new_cookie(Sealing::default()).with_config(config()).unwrap()
}

fn with_revocation(config: Config) -> (Arc<Faulty>, SessionStore) {
    let revoked = Arc::new(Faulty::default());
    let cookies = Sealing { revocation: Some(Arc::clone(&revoked)), ..Sealing::default() };
    (revoked, SessionStore::new_cookie(cookies).with_config(config).unwrap())
}

/// The save of the session finds out that another request was faster, and no cookie of it lives.
async fn assert_gone(store: &SessionStore, session: &Session) {
    assert_eq!(store.save(session).await.unwrap_err().kind(), ErrorKind::Gone);
    assert!(store.cookie_value(session).is_none());
    assert_eq!(store.web().cookie_change(session), CookieChange::Keep);
}

#[tokio::test]
async fn a_logout_between_the_look_and_the_mark_of_a_rotation_wins() {
    let (revoked, store) = with_revocation(config());
    let (old_cookie, session) = stored(&store).await;
    let elsewhere = load(&store, &old_cookie).await;
    session.regenerate();
    let same_store = store.clone();
    revoked.after("load", 1, async move { same_store.destroy(&elsewhere).await.unwrap() });
    assert_gone(&store, &session).await;
    assert!(store.load(&old_cookie).await.unwrap().is_none());
}

#[tokio::test]
async fn of_two_rotations_at_once_one_succeeds() {
    let (revoked, store) = with_revocation(config());
    let (old_cookie, session) = stored(&store).await;
    let elsewhere = load(&store, &old_cookie).await;
    session.regenerate();
    elsewhere.regenerate();
    let (same_store, winner) = (store.clone(), elsewhere.clone());
    revoked.after("load", 1, async move {
        assert_eq!(same_store.save(&winner).await.unwrap(), Saved::Issued);
    });
    assert_gone(&store, &session).await;
    assert_eq!(n(&store, &cookie(&store, &elsewhere)).await, 0);
    assert!(store.load(&old_cookie).await.unwrap().is_none());
}

#[tokio::test]
async fn a_rotation_knows_its_own_mark_after_the_answer_was_lost() {
    // Whether the mark can be looked for at once, or by the next save only.
    for lost in [false, true] {
        for fault in [Fault::LoseAnswer, Fault::LoseRequest] {
            let (revoked, store) = with_revocation(config());
            let (old_cookie, session) = stored(&store).await;
            session.regenerate();
            revoked.fail(&[fault]);
            let faulty = revoked.clone();
            // After the look that comes before the mark.
            revoked.after("load", 1, async move {
                faulty.failing_loads.store(usize::from(lost), Ordering::SeqCst);
            });
            let mut saved = store.save(&session).await;
            if lost || fault == Fault::LoseRequest {
                assert_eq!(saved.unwrap_err().kind(), ErrorKind::Unavailable);
                assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
                saved = store.save(&session).await;
            }
            assert_eq!(saved.unwrap(), Saved::Issued, "{lost} {fault:?}");
            assert_eq!(n(&store, &cookie(&store, &session)).await, 0);
            assert!(store.load(&old_cookie).await.unwrap().is_none());
        }
    }
}

#[tokio::test]
async fn a_rotation_in_doubt_does_not_outlive_a_logout() {
    let (revoked, store) = with_revocation(config());
    let (old_cookie, session) = stored(&store).await;
    let elsewhere = load(&store, &old_cookie).await;
    session.regenerate();
    revoked.fail(&[Fault::LoseRequest]);
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Unavailable);
    store.destroy(&elsewhere).await.unwrap();
    assert_gone(&store, &session).await;
}

#[tokio::test]
async fn a_destroy_during_a_save_loses_nothing_that_came_after_it() {
    for regenerate in [false, true] {
        let (revoked, store) = with_revocation(config());
        let (old_cookie, session) = stored(&store).await;
        increment(&session);
        if regenerate {
            session.regenerate();
        }
        let same = session.clone();
        revoked.after("load", 1, async move {
            same.destroy();
            same.insert("fresh", 1).unwrap();
        });
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        let new_cookie = cookie(&store, &session);
        assert_eq!(load(&store, &new_cookie).await.keys(), ["fresh"]);
        assert!(store.load(&old_cookie).await.unwrap().is_none());
    }
}

#[tokio::test]
async fn a_save_after_a_logout_is_gone() {
    let (_, store) = with_revocation(config());
    let (old_cookie, session) = stored(&store).await;
    store.destroy(&load(&store, &old_cookie).await).await.unwrap();
    increment(&session);
    assert_gone(&store, &session).await;
}

#[tokio::test]
async fn a_mark_outlives_every_cookie_of_its_session() {
    for (own, longest) in [(None, HOUR), (Some(4 * HOUR), 4 * HOUR)] {
        let sliding = config().lifetime(HOUR).sliding(true).renew_after(0.0);
        let (revoked, store) = with_revocation(sliding);
        let session = store.create();
        increment(&session);
        if let Some(own) = own {
            session.set_lifetime(own).unwrap();
        }
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        let session = load(&store, &cookie(&store, &session)).await;
        tokio::time::sleep(Duration::from_millis(20)).await;
        // Up to now a parallel request may have been given a whole new life.
        let renewed = Instant::now() + longest + LEEWAY;
        store.destroy(&session).await.unwrap();
        assert!(revoked.deadline() >= renewed, "{own:?}");
    }
}

#[tokio::test]
async fn a_mark_of_a_rotation_outlives_every_cookie_with_the_old_id() {
    let (revoked, store) = with_revocation(config().lifetime(HOUR));
    let session = store.create();
    increment(&session);
    session.set_lifetime(4 * HOUR).unwrap();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    let session = load(&store, &cookie(&store, &session)).await;
    let renewed = Instant::now() + 4 * HOUR + LEEWAY;
    session.regenerate();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert!(revoked.deadline() >= renewed);
}

#[tokio::test]
async fn a_logout_that_failed_is_tried_again() {
    let (revoked, store) = with_revocation(config());
    let (old_cookie, session) = stored(&store).await;
    for fault in [Fault::LoseRequest, Fault::LoseAnswer] {
        revoked.fail(&[fault]);
        assert_eq!(store.destroy(&session).await.unwrap_err().kind(), ErrorKind::Unavailable);
        assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
    }
    // Its own mark is there already.
    assert_eq!(store.save(&session).await.unwrap(), Saved::Removed);
    assert_eq!(store.web().cookie_change(&session), CookieChange::Remove);
    assert!(store.load(&old_cookie).await.unwrap().is_none());
}

#[tokio::test]
async fn a_revocation_store_that_cant_be_asked_is_an_error_and_not_a_session() {
    let (revoked, store) = with_revocation(config());
    let (cookie, session) = stored(&store).await;
    revoked.failing_loads.store(1, Ordering::SeqCst);
    assert_eq!(store.load(&cookie).await.unwrap_err().kind(), ErrorKind::Unavailable);
    increment(&session);
    revoked.failing_loads.store(1, Ordering::SeqCst);
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(session.changed());
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
}

#[tokio::test]
async fn the_client_is_told_what_the_application_destroyed_and_saved_itself() {
    let (_, revocable) = with_revocation(config());
    for store in [without_revocation(), revocable] {
        let (_, session) = stored(&store).await;
        store.destroy(&session).await.unwrap();
        assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
        assert_eq!(store.web().cookie_change(&session), CookieChange::Remove);

        let (_, session) = stored(&store).await;
        assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
        increment(&session);
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
        let value = store.cookie_value(&session).unwrap();
        assert_eq!(n(&store, value.as_str()).await, 1);
        assert_eq!(store.web().cookie_change(&session), CookieChange::Set(value));
    }
}

#[tokio::test]
async fn a_session_that_does_not_fit_a_cookie_leaves_the_client_with_the_one_it_has() {
    let (_, revocable) = with_revocation(config());
    for store in [without_revocation(), revocable] {
        let (old_cookie, session) = stored(&store).await;
        session.insert("big", "x".repeat(1000)).unwrap();
        session.regenerate();
        assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::TooLarge);
        assert_eq!(store.web().cookie_change(&session), CookieChange::Keep);
        assert_eq!(n(&store, &old_cookie).await, 0);
        session.remove("big");
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        assert_eq!(n(&store, &cookie(&store, &session)).await, 0);
    }
}

#[tokio::test]
async fn a_rotation_that_was_refused_leaves_nothing_to_revoke() {
    let (revoked, store) = with_revocation(config());
    let (_, session) = stored(&store).await;
    session.insert("big", "x".repeat(1000)).unwrap();
    session.regenerate();
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::TooLarge);
    assert_eq!(revoked.len(), 0);
    store.destroy(&session).await.unwrap();
    assert_eq!(revoked.len(), 1);
}

#[tokio::test]
async fn a_fixed_lifetime_stays_fixed() {
    let cookies = Sealing::default();
    let store = SessionStore::new_cookie(cookies.clone()).with_config(config()).unwrap();
    let (old_cookie, session) = stored(&store).await;
    let deadline = cookies.expires_at(&old_cookie);
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    session.regenerate();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    let new_cookie = cookie(&store, &session);
    assert_ne!(new_cookie, old_cookie);
    assert_eq!(cookies.expires_at(&new_cookie), deadline);
}

#[tokio::test]
async fn a_cookie_of_an_older_key_is_sealed_anew_with_the_life_that_it_has() {
    let cookies = Sealing::default();
    let store = SessionStore::new_cookie(cookies.clone()).with_config(config()).unwrap();
    let (old_cookie, _) = stored(&store).await;
    cookies.aged.store(true, Ordering::SeqCst);
    let session = load(&store, &old_cookie).await;
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    let new_cookie = cookie(&store, &session);
    assert_ne!(new_cookie, old_cookie);
    assert_eq!(cookies.expires_at(&new_cookie), cookies.expires_at(&old_cookie));
    assert_eq!(n(&store, &new_cookie).await, 0);
}

#[tokio::test]
async fn a_longer_lifetime_comes_with_a_new_id_so_that_no_mark_is_too_short() {
    let (_, store) = with_revocation(config());
    let (old_cookie, session) = stored(&store).await;
    let elsewhere = load(&store, &old_cookie).await;
    session.set_lifetime(HOUR * 24 * 30).unwrap();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert!(store.load(&old_cookie).await.unwrap().is_none(), "the old id is revoked");
    increment(&elsewhere);
    assert_gone(&store, &elsewhere).await;
}

#[tokio::test]
async fn a_cookie_past_its_absolute_lifetime_is_not_renewed_within_the_leeway() {
    let limit = Duration::from_millis(60);
    let config = config().absolute_lifetime(limit).sliding(true).renew_after(0.0);
    let (_, store) = with_revocation(config);
    let (_, session) = stored(&store).await;
    tokio::time::sleep(limit * 2).await;
    session.extend();
    let _ = session.get::<u32>("n");
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
}
