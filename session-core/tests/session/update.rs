//! `SessionStore::update`, values and their errors, purposes, lifetimes.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use crate::faulty::{Fault, Faulty};
use crate::support::{config, cookie, increment, load, n, request, store, stored, with_config};
use session_core::{Config, ErrorKind, Owner, Saved, Session, SessionStore};
use tokio::task::JoinSet;

fn one_more(n: Option<u32>) -> u32 {
    n.unwrap_or(0) + 1
}

/// The results of parallel requests of one client, each with its own session.
async fn in_parallel(store: &SessionStore, cookie: &str, requests: usize) -> Vec<Option<u32>> {
    let mut tasks = JoinSet::new();
    let barrier = Arc::new(tokio::sync::Barrier::new(requests));
    for _ in 0..requests {
        let (store, cookie, barrier) = (store.clone(), cookie.to_owned(), Arc::clone(&barrier));
        tasks.spawn(async move {
            let session = load(&store, &cookie).await;
            barrier.wait().await;
            store.update(&session, "n", one_more).await.ok()
        });
    }
    tasks.join_all().await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_limiter_of_three_attempts_lets_three_of_sixteen_parallel_requests_through() {
    let (_, store) = with_config(Config::default());
    for _ in 0..8 {
        let (cookie, _) = stored(&store).await;
        let numbers = in_parallel(&store, &cookie, 16).await;
        assert_eq!(numbers.iter().filter(|n| n.unwrap() <= 3).count(), 3, "{numbers:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn parallel_updates_return_different_numbers() {
    let (backend, store) = with_config(Config::default());
    let (cookie, _) = stored(&store).await;
    let numbers = in_parallel(&store, &cookie, 64).await;
    let numbers: BTreeSet<_> = numbers.into_iter().map(Option::unwrap).collect();
    assert_eq!(numbers, (1..=64).collect());
    assert_eq!(n(&store, &cookie).await, 64);
    // Some answers are lost, and some requests are sent twice.
    backend.fail(&[Fault::LoseAnswer, Fault::None, Fault::SentTwice, Fault::LoseRequest]);
    let numbers = in_parallel(&store, &cookie, 64).await;
    let written: Vec<_> = numbers.iter().flatten().collect();
    assert_eq!(written.iter().collect::<BTreeSet<_>>().len(), written.len(), "{numbers:?}");
    let total = usize::try_from(n(&store, &cookie).await).unwrap() - 64;
    assert!((written.len()..=64).contains(&total), "{total} {numbers:?}");
}

#[tokio::test]
async fn clones_of_one_session_get_different_numbers() {
    let (_, store) = store();
    let (cookie, session) = stored(&store).await;
    let mut tasks = JoinSet::new();
    for _ in 0..8 {
        let (store, session) = (store.clone(), session.clone());
        tasks.spawn(async move { store.update(&session, "n", one_more).await.unwrap() });
    }
    let numbers: BTreeSet<_> = tasks.join_all().await.into_iter().collect();
    assert_eq!(numbers, (1..=8).collect());
    assert_eq!(n(&store, &cookie).await, 8);
}

#[tokio::test]
async fn an_update_returns_the_written_value_after_each_failure() {
    for fault in [Fault::LoseAnswer, Fault::LoseRequest, Fault::Refuse, Fault::SentTwice] {
        let (backend, store) = store();
        let (cookie, session) = stored(&store).await;
        request(&store, &cookie, increment).await;
        backend.fail(&[Fault::None, fault]);
        assert_eq!(session.get::<u32>("n").unwrap(), Some(0));
        assert_eq!(store.update(&session, "n", one_more).await.unwrap(), 2, "{fault:?}");
        assert_eq!(n(&store, &cookie).await, 2);
    }
}

#[tokio::test]
async fn a_failed_update_remains_an_ordinary_change() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    backend.fail(&[Fault::Refuse, Fault::Refuse]);
    let error = store.update(&session, "n", one_more).await.unwrap_err();
    assert!(error.nothing_was_written());
    assert!(session.changed());
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(n(&store, &cookie).await, 1);
    // An update of a value of another type changes nothing.
    session.insert("text", "abc").unwrap();
    store.save(&session).await.unwrap();
    let error = store.update(&session, "text", one_more).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidValue);
    assert!(!session.changed());
    // A session that was destroyed during the update.
    let same = session.clone();
    backend.before("save", 1, async move { same.destroy() });
    let error = store.update(&session, "n", one_more).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gone);
    assert_eq!(backend.len(), 0);
}

#[tokio::test]
async fn an_update_that_a_clone_discarded_returns_no_number() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    let same = session.clone();
    backend.before("save", 1, async move { same.discard_changes() });
    backend.fail(&[Fault::LoseRequest]);
    backend.failing_loads.store(1, Ordering::SeqCst);
    store.update(&session, "n", one_more).await.unwrap_err();
    let saving = store.update(&session, "n", one_more);
    let same = session.clone();
    backend.before("load", 1, async move { same.discard_changes() });
    let error = saving.await.unwrap_err();
    assert_eq!((error.kind(), error.nothing_was_written()), (ErrorKind::Unavailable, false));
    assert_eq!(n(&store, &cookie).await, 0);
}

#[tokio::test]
async fn an_update_that_was_written_is_reported_whatever_a_clone_does_afterwards() {
    type Interference = fn(&Session);
    let interferences: [Interference; 3] = [
        Session::discard_changes,
        |session| session.insert("n", 7).unwrap(),
        |session| assert!(session.remove("n")),
    ];
    for fault in [Fault::None, Fault::LoseAnswer, Fault::SentTwice] {
        for interfere in interferences {
            let (backend, store) = store();
            let (cookie, session) = stored(&store).await;
            let same = session.clone();
            backend.before("save", 1, async move { interfere(&same) });
            backend.fail(&[fault]);
            assert_eq!(store.update(&session, "n", one_more).await.unwrap(), 1, "{fault:?}");
            assert_eq!(n(&store, &cookie).await, 1);
        }
    }
}

/// A save of the session hangs while another task updates it; `meanwhile` runs when the update waits
/// for that save. Returns the result of the update.
async fn update_during_a_save(
    backend: &Arc<Faulty>,
    store: &SessionStore,
    session: &Session,
    meanwhile: impl Fn(&Session) + Send + Sync + 'static,
) -> session_core::Result<u32> {
    session.insert("other", 1).unwrap();
    let same = session.clone();
    backend.before("save", 1, async move {
        tokio::time::sleep(Duration::from_millis(30)).await;
        meanwhile(&same);
    });
    let saving = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        store.update(session, "n", one_more).await
    };
    let (saved, updated) = tokio::join!(store.save(session), saving);
    saved.unwrap();
    updated
}

#[tokio::test]
async fn an_update_that_a_clone_replaced_or_discarded_before_it_was_sent_returns_no_number() {
    type Meanwhile = fn(&Session);
    let cases: [(Meanwhile, u32); 2] =
        [(|session| session.insert("n", 7).unwrap(), 7), (Session::discard_changes, 0)];
    for (meanwhile, stored_at_last) in cases {
        let (backend, store) = store();
        let (cookie, session) = stored(&store).await;
        let error = update_during_a_save(&backend, &store, &session, meanwhile).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Unavailable);
        store.save(&session).await.unwrap();
        assert_eq!(n(&store, &cookie).await, stored_at_last);
    }
}

#[tokio::test]
async fn an_update_that_another_save_had_written_is_reported_although_its_own_save_fails() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    let (same, same_backend) = (session.clone(), Arc::clone(&backend));
    // Its change is part of the first save after a conflict. That is refused a change of its own.
    request(&store, &cookie, increment).await;
    backend.before("load", 1, async move {
        tokio::time::sleep(Duration::from_millis(30)).await;
    });
    backend.before("save", 2, async move {
        same.insert("late", 1).unwrap();
        same_backend.fail(&[Fault::None, Fault::Refuse, Fault::Refuse]);
    });
    session.insert("other", 1).unwrap();
    let updating = async {
        tokio::time::sleep(Duration::from_millis(10)).await;
        store.update(&session, "n", one_more).await
    };
    let (saved, updated) = tokio::join!(store.save(&session), updating);
    assert_eq!((saved.unwrap(), updated.unwrap()), (Saved::Updated, 2));
    assert_eq!(n(&store, &cookie).await, 2);
    assert!(session.changed(), "the other change waits for the next save");
}

#[tokio::test]
async fn values_are_inserted_by_value_and_taken_once() {
    let (_, store) = store();
    let session = store.create();
    session.insert("text", String::from("a")).unwrap();
    session.insert("slice", [1, 2]).unwrap();
    session.insert("reference", vec![3]).unwrap();
    assert_eq!(session.take::<String>("text").unwrap().as_deref(), Some("a"));
    assert_eq!(session.take::<String>("text").unwrap(), None);
    assert!(session.take::<String>("slice").is_err());
    assert!(session.contains("slice"), "what can't be read remains");
    store.save(&session).await.unwrap();
    let session = load(&store, &cookie(&store, &session)).await;
    assert_eq!(session.take::<Vec<u8>>("reference").unwrap(), Some(vec![3]));
    store.save(&session).await.unwrap();
    assert_eq!(load(&store, &cookie(&store, &session)).await.keys(), ["slice"]);
}

#[tokio::test]
async fn errors_name_the_value_and_the_type_and_show_no_content() {
    let (_, store) = store();
    let (_, session) = stored(&store).await;
    session.insert("pin", "very-secret").unwrap();
    session.flash().insert("note", "very-secret").unwrap();
    store.save(&session).await.unwrap();
    let session = load(&store, &cookie(&store, &session)).await;
    for (name, error) in [
        ("pin", session.get::<u32>("pin").unwrap_err()),
        ("pin", session.take::<u32>("pin").unwrap_err()),
        ("pin", session.update("pin", one_more).unwrap_err()),
        ("pin", store.update(&session, "pin", one_more).await.unwrap_err()),
        ("note", session.flash().peek::<u32>("note").unwrap_err()),
    ] {
        assert_eq!(error.kind(), ErrorKind::InvalidValue);
        let text = error.to_string();
        assert!(text.contains(name) && text.contains("u32"), "{text}");
        assert!(!format!("{error:?}").contains("secret"), "{error:?}");
    }
    let unfit = std::collections::HashMap::from([([1, 2], 3)]);
    let error = session.insert("map", unfit).unwrap_err();
    assert!(error.to_string().contains("map") && error.to_string().contains("HashMap"));
}

#[tokio::test]
async fn ids_of_one_purpose_load_nothing_for_another() {
    let backend = Arc::new(Faulty::default());
    let of = |purpose: &'static str| {
        SessionStore::new(Arc::clone(&backend)).with_config(config().purpose(purpose)).unwrap()
    };
    let stores = [of(""), of("admin"), of("admin2")];
    for (i, store) in stores.iter().enumerate() {
        let (cookie, _) = stored(store).await;
        for (j, other) in stores.iter().enumerate() {
            assert_eq!(other.load(&cookie).await.unwrap().is_some(), i == j);
        }
        let session = load(store, &cookie).await;
        session.regenerate();
        store.save(&session).await.unwrap();
        store.destroy(&session).await.unwrap();
    }
    assert_eq!(backend.len(), 0);
}

/// The store and the session have the same expiry.
fn assert_expires_in(backend: &Faulty, session: &Session, life: Duration, slack: Duration) {
    let (now, said) = (Instant::now(), session.expires_in().unwrap());
    let stored = backend.expiry() - now;
    let difference = stored.max(said) - stored.min(said);
    assert!(difference <= slack, "the store: {stored:?}, the session: {said:?}");
    assert!(stored <= life + slack && stored + slack >= life, "{stored:?} instead of {life:?}");
}

#[tokio::test]
async fn store_and_session_agree_on_every_combination_of_lifetimes() {
    const SLACK: Duration = Duration::from_secs(2);
    let seconds = Duration::from_secs;
    let idle_and_life = || config().idle_timeout(seconds(60)).lifetime(seconds(3600));
    for (config, usual) in [
        (config().lifetime(seconds(3600)), seconds(3600)),
        (config().lifetime(None).idle_timeout(seconds(60)), seconds(60)),
        (idle_and_life(), seconds(60)),
        (config().idle_timeout(seconds(3600)).lifetime(seconds(60)), seconds(60)),
    ] {
        let (backend, store) = with_config(config);
        let (_, session) = stored(&store).await;
        assert_expires_in(&backend, &session, usual, SLACK);
        for own in [86_400, 30, 600] {
            session.set_lifetime(seconds(own)).unwrap();
            assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
            assert!(store.web().is_persistent(&session));
            assert_expires_in(&backend, &session, seconds(own), SLACK);
            // Neither a write nor a new id changes it.
            increment(&session);
            session.regenerate();
            store.save(&session).await.unwrap();
            assert_expires_in(&backend, &session, seconds(own), SLACK);
        }
        session.sign_in(Owner::new("alice").unwrap());
        store.save(&session).await.unwrap();
        assert_expires_in(&backend, &session, seconds(600), SLACK);
        session.reset_lifetime();
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        assert!(!store.web().is_persistent(&session));
        assert_expires_in(&backend, &session, usual, SLACK);
        session.set_lifetime(seconds(9)).unwrap();
        session.reset_lifetime();
        session.sign_in(Owner::new("alice").unwrap());
        store.save(&session).await.unwrap();
        assert_expires_in(&backend, &session, usual, SLACK);
        let again = load(&store, &cookie(&store, &session)).await;
        assert_expires_in(&backend, &again, usual, SLACK);
    }
}

/// A value of the application that uses the session when it is dropped.
struct Guard(Session, Arc<AtomicUsize>);

impl Drop for Guard {
    fn drop(&mut self) {
        let _ = self.0.contains("n");
        self.0.insert("dropped", self.1.fetch_add(1, Ordering::SeqCst)).unwrap();
    }
}

/// The test would hang if a closure were dropped under the session's lock.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_captured_value_that_uses_the_session_when_dropped_does_not_deadlock() {
    type Path = fn(&Session);
    let paths: [(&str, Path, usize); 6] = [
        ("insert", |session| session.insert("a", 1).unwrap(), 1),
        ("remove", |session| assert!(session.remove("a")), 1),
        ("clear", Session::clear, 1),
        ("discard", Session::discard_changes, 1),
        ("destroy", Session::destroy, 1),
        ("save", |_| {}, 1),
    ];
    for (name, path, drops) in paths {
        for overtaken in [false, true] {
            let work = tokio::spawn(async move {
                let (_, store) = store();
                let (cookie, session) = stored(&store).await;
                let dropped = Arc::new(AtomicUsize::new(0));
                // A different session: a session that owns itself would never be dropped.
                let guard = Guard(session.clone(), Arc::clone(&dropped));
                session
                    .update("a", move |n: Option<u32>| {
                        let _ = &guard;
                        n.unwrap_or(0) + 1
                    })
                    .unwrap();
                path(&session);
                if overtaken {
                    request(&store, &cookie, increment).await;
                }
                store.save(&session).await.unwrap();
                store.save(&session).await.unwrap();
                dropped.load(Ordering::SeqCst)
            });
            let done = tokio::time::timeout(Duration::from_secs(20), work).await;
            assert_eq!(done.expect(name).unwrap(), drops, "{name}");
        }
    }
}
