//! Logouts, key changes, expiry and size through the handle.

#![allow(clippy::unwrap_used)] // also outside of #[test] functions, in their helpers

mod common;

use std::sync::Arc;
use std::time::Duration;

use common::{NAME, key, modes};
use session_cookie::{CookieStore, SecretKey};
use session_core::web::Found;
use session_core::{Config, ErrorKind, Owner, Saved, SessionStore};
use session_memory::MemoryBackend;

/// A session with a theme, and its cookie.
async fn saved(store: &SessionStore) -> String {
    let session = store.create();
    session.insert("theme", "dark").unwrap();
    assert!(matches!(store.save(&session).await.unwrap(), Saved::Issued));
    store.cookie_value(&session).unwrap().into_string()
}

fn each(build: impl Fn(CookieStore) -> CookieStore) -> Vec<(&'static str, SessionStore)> {
    modes()
        .into_iter()
        .map(|(mode, make)| (mode, SessionStore::new_cookie(build(make(NAME, &[key()])))))
        .collect()
}

#[tokio::test]
async fn without_revocation_a_destroyed_session_can_be_replayed_and_says_so() {
    for (mode, store) in each(|store| store) {
        assert!(!store.guarantees().revocable, "{mode}");
        let cookie = saved(&store).await;
        let session = store.load(&cookie).await.unwrap().unwrap();
        store.destroy(&session).await.unwrap();
        assert!(store.load(&cookie).await.unwrap().is_some(), "{mode}: the documented limit");
    }
}

#[tokio::test]
async fn with_revocation_a_logout_is_final_for_every_copy_and_every_server() {
    for (mode, make) in modes() {
        let key = key();
        let memory = Arc::new(MemoryBackend::new());
        let server = || {
            let cookies =
                make(NAME, std::slice::from_ref(&key)).with_revocation(Arc::clone(&memory));
            SessionStore::new_cookie(cookies)
        };
        let (one, other) = (server(), server());
        assert!(one.guarantees().revocable, "{mode}");
        let cookie = saved(&one).await;
        let bystander = saved(&one).await;

        let in_flight = other.load(&cookie).await.unwrap().unwrap();
        in_flight.insert("cart", 1).unwrap();
        let session = one.load(&cookie).await.unwrap().unwrap();
        one.destroy(&session).await.unwrap();

        for server in [&one, &other] {
            assert!(server.load(&cookie).await.unwrap().is_none(), "{mode}");
            assert!(server.load(&bystander).await.unwrap().is_some(), "{mode}");
        }
        let error = other.save(&in_flight).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gone, "{mode}: logout wins");
        assert!(other.cookie_value(&in_flight).is_none(), "{mode}");
    }
}

#[tokio::test]
async fn a_regenerated_session_ends_its_old_cookie() {
    for (mode, store) in each(|store| store.with_revocation(MemoryBackend::new())) {
        let old = saved(&store).await;
        let session = store.load(&old).await.unwrap().unwrap();
        session.regenerate();
        assert!(matches!(store.save(&session).await.unwrap(), Saved::Issued), "{mode}");
        let new = store.cookie_value(&session).unwrap();
        assert!(store.load(&old).await.unwrap().is_none(), "{mode}");
        let late = store.web().load(&old).await.unwrap();
        let Found::Rotated(late) = late else { panic!("{mode}: {late:?}") };
        assert!(late.is_empty(), "{mode}");
        let session = store.load(new.as_str()).await.unwrap().unwrap();
        assert_eq!(session.get::<String>("theme").unwrap().as_deref(), Some("dark"), "{mode}");
    }
}

#[tokio::test]
async fn a_logout_with_the_old_cookie_ends_the_session_under_its_new_id() {
    for (mode, store) in each(|store| store.with_revocation(MemoryBackend::new())) {
        let old = saved(&store).await;
        let second_tab = store.load(&old).await.unwrap().unwrap();
        let session = store.load(&old).await.unwrap().unwrap();
        session.sign_in(Owner::new("ann").unwrap());
        store.save(&session).await.unwrap();
        let new = store.cookie_value(&session).unwrap();
        store.destroy(&second_tab).await.unwrap();
        assert!(store.load(new.as_str()).await.unwrap().is_none(), "{mode}");
    }
}

#[tokio::test]
async fn a_value_of_an_older_key_is_sealed_again_at_the_next_save() {
    for (mode, make) in modes() {
        let (old, new) = (key(), key());
        let store = |keys: &[SecretKey]| SessionStore::new_cookie(make(NAME, keys));
        let cookie = saved(&store(std::slice::from_ref(&old))).await;

        let rotating = store(&[new.clone(), old]);
        let session = rotating.load(&cookie).await.unwrap().unwrap();
        let outcome = rotating.save(&session).await.unwrap();
        assert!(matches!(outcome, Saved::Issued), "{mode}: although nothing changed");
        let anew = rotating.cookie_value(&session).unwrap();

        let after = store(&[new]);
        assert!(after.load(&cookie).await.unwrap().is_none(), "{mode}");
        let session = after.load(anew.as_str()).await.unwrap().unwrap();
        assert_eq!(session.get::<String>("theme").unwrap().as_deref(), Some("dark"), "{mode}");
        assert!(matches!(after.save(&session).await.unwrap(), Saved::Unchanged), "{mode}");
    }
}

#[tokio::test]
async fn a_fixed_lifetime_stays_fixed_after_many_saves() {
    for (mode, store) in each(|store| store.with_leeway(Duration::ZERO)) {
        let store = store.with_config(Config::default().lifetime(Duration::from_millis(400)));
        let store = store.unwrap();
        let mut cookie = saved(&store).await;
        let began = std::time::Instant::now();
        while let Some(session) = store.load(&cookie).await.unwrap() {
            assert!(began.elapsed() < Duration::from_secs(2), "{mode}: it never ends");
            session.insert("at", began.elapsed().as_millis()).unwrap();
            match store.save(&session).await {
                Ok(_) => cookie = store.cookie_value(&session).unwrap().into_string(),
                Err(error) => assert_eq!(error.kind(), ErrorKind::Gone, "{mode}"),
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
}

/// With the default leeway, a use within the leeway must not begin another life.
#[tokio::test]
async fn a_lifetime_ends_a_session_in_constant_use() {
    for (mode, store) in each(|store| store) {
        let config = Config::default()
            .idle_timeout(Duration::from_millis(700))
            .lifetime(Duration::from_secs(1));
        let store = store.with_config(config).unwrap();
        let mut cookie = saved(&store).await;
        let began = std::time::Instant::now();
        while let Some(session) = store.load(&cookie).await.unwrap() {
            assert!(began.elapsed() < Duration::from_millis(2500), "{mode}: it never ends");
            session.extend();
            store.save(&session).await.unwrap();
            cookie = store.cookie_value(&session).unwrap().into_string();
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        assert!(began.elapsed() > Duration::from_millis(900), "{mode}: it ended too early");
    }
}

#[tokio::test]
async fn a_session_too_large_for_a_cookie_is_not_issued_and_the_error_names_its_values() {
    for (mode, store) in each(|store| store) {
        let cookie = saved(&store).await;
        let session = store.load(&cookie).await.unwrap().unwrap();
        session.insert("history", "private".repeat(1000)).unwrap();
        let error = store.save(&session).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TooLarge, "{mode}");
        assert!(error.message().contains("\"history\" 7009"), "{mode}: {error}");
        assert!(!error.to_string().contains("private"), "{mode}: {error}");

        session.remove("history");
        session.insert("small", 1).unwrap();
        store.save(&session).await.unwrap();
        assert!(store.cookie_value(&session).is_some(), "{mode}: works again");
    }
}
