//! How long a session lives. The tests compare the expiries in the store, so that no test depends
//! on the speed of the machine.

use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::faulty::{Fault, Faulty};
use crate::support::{config, increment, load, request, store, stored, with_config};
use session_core::{Config, ErrorKind, Saved, Session, SessionStore};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3600);
/// The lifetime is computed in whole milliseconds of the wall clock.
const ROUNDING: Duration = Duration::from_millis(2);

async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

#[tokio::test]
async fn a_fixed_lifetime_stays_fixed() {
    let (backend, store) = store();
    let (cookie, session) = stored(&store).await;
    let expiry = backend.expiry();
    pass(5).await;
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    request(&store, &cookie, |session| assert!(session.contains("n"))).await;
    assert_eq!(backend.expiry(), expiry);
    session.regenerate();
    let before = Instant::now();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    // The remaining life is computed after the save, so it may differ by the duration of the save.
    let latest = expiry + before.elapsed();
    assert!((expiry..=latest).contains(&backend.expiry()));
    assert!(!backend.take_calls().contains(&"touch"));
}

#[tokio::test]
async fn an_idle_timeout_costs_one_touch_per_window() {
    let config = config().idle_timeout(Duration::from_secs(2)).renew_after(0.1);
    let (backend, store) = with_config(config);
    let (cookie, session) = stored(&store).await;
    let first = backend.expiry();
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(backend.expiry(), first, "within the window");

    pass(250).await;
    let session = load(&store, &cookie).await;
    backend.take_calls();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_eq!(backend.take_calls(), ["touch"]);
    let second = backend.expiry();
    assert!(second >= first + Duration::from_millis(250));
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    let session = load(&store, &cookie).await;
    backend.take_calls();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Unchanged);
    assert!(backend.take_calls().is_empty());
}

#[tokio::test]
async fn a_save_in_a_new_window_renews_without_a_touch() {
    let (backend, store) = with_config(config().idle_timeout(HOUR).renew_after(0.0));
    let (_, session) = stored(&store).await;
    let first = backend.expiry();
    pass(5).await;
    increment(&session);
    backend.take_calls();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_eq!(backend.take_calls(), ["save"]);
    assert!(backend.expiry() >= first + Duration::from_millis(5));
}

#[tokio::test]
async fn no_renewal_exceeds_the_lifetime() {
    let config = config().idle_timeout(HOUR).lifetime(MINUTE).renew_after(0.0);
    let (backend, store) = with_config(config);
    let (cookie, session) = stored(&store).await;
    // The rest of the lifetime is computed before a write is sent, and counted from when it arrives.
    let mut limit = Instant::now() + MINUTE + ROUNDING;
    assert!(backend.expiry() <= limit);
    pass(20).await;
    let begins = Instant::now();
    increment(&session);
    store.save(&session).await.unwrap();
    limit += begins.elapsed();
    assert!(backend.expiry() <= limit);
    for change in [Session::extend, Session::regenerate] {
        let begins = Instant::now();
        request(&store, &cookie, change).await;
        limit += begins.elapsed();
        assert!(backend.expiry() <= limit);
    }
}

#[tokio::test]
async fn a_write_that_is_sent_again_later_gives_no_longer_life() {
    let (backend, store) = store();
    let (_, session) = stored(&store).await;
    session.set_lifetime(HOUR).unwrap();
    backend.fail(&[Fault::LoseRequest]);
    backend.failing_loads.store(1, Ordering::SeqCst);
    store.save(&session).await.unwrap_err();
    let limit = Instant::now() + HOUR + ROUNDING;
    pass(20).await;
    let begins = Instant::now();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert!(backend.expiry() <= limit + begins.elapsed());
}

#[tokio::test]
async fn an_own_lifetime_begins_at_once_and_stays() {
    let (backend, store) = with_config(config().lifetime(MINUTE));
    let (cookie, session) = stored(&store).await;
    for lifetime in [HOUR, Duration::from_secs(10)] {
        session.set_lifetime(lifetime).unwrap();
        let before = Instant::now();
        assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
        let after = Instant::now();
        assert!((before + lifetime..=after + lifetime).contains(&backend.expiry()));
        assert!(session.expires_in().unwrap() <= lifetime);
    }
    // A later renewal uses the session's own lifetime, not the store's.
    pass(5).await;
    let before = Instant::now();
    request(&store, &cookie, |session| session.extend()).await;
    let ten = Duration::from_secs(10);
    assert!((before + ten..=Instant::now() + ten).contains(&backend.expiry()));
}

#[tokio::test]
async fn a_lifetime_below_a_millisecond_is_refused() {
    let (_, store) = store();
    let (_, session) = stored(&store).await;
    for lifetime in [Duration::ZERO, Duration::from_nanos(999_999)] {
        let error = session.set_lifetime(lifetime).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidValue);
    }
    assert!(!session.changed());
}

#[tokio::test]
async fn an_endless_lifetime_is_clamped() {
    let (_, store) = store();
    let (cookie, session) = stored(&store).await;
    session.set_lifetime(Duration::MAX).unwrap();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    let left = load(&store, &cookie).await.expires_in().unwrap();
    assert!(left > Duration::from_secs(50 * 365 * 86_400));
}

#[tokio::test]
async fn an_extension_renews_within_the_window() {
    let (backend, store) = with_config(config().idle_timeout(MINUTE).renew_after(0.9));
    let (_, session) = stored(&store).await;
    let first = backend.expiry();
    pass(5).await;
    session.extend();
    backend.take_calls();
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    assert_eq!(backend.take_calls(), ["touch"]);
    assert!(backend.expiry() >= first + Duration::from_millis(5));
}

#[tokio::test]
async fn an_extension_never_shortens_a_life() {
    let (backend, store) = with_config(config().idle_timeout(HOUR));
    let (cookie, _) = stored(&store).await;
    let expiry = backend.expiry();
    let shorter = store.with_config(config().idle_timeout(MINUTE)).unwrap();
    let session = load(&shorter, &cookie).await;
    session.extend();
    assert_eq!(shorter.save(&session).await.unwrap(), Saved::Unchanged);
    assert!(!session.changed());
    session.extend();
    increment(&session);
    assert_eq!(shorter.save(&session).await.unwrap(), Saved::Updated);
    assert_eq!(backend.expiry(), expiry);
}

#[tokio::test]
async fn a_session_that_expires_during_the_request_is_gone_and_stays_so() {
    let (backend, store) = with_config(config().lifetime(Duration::from_millis(100)));
    let (cookie, session) = stored(&store).await;
    pass(120).await;
    increment(&session);
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Gone);
    backend.take_calls();
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Gone);
    assert!(backend.take_calls().is_empty(), "it is known already");
    assert!(store.cookie_value(&session).is_none());
    assert!(store.load(&cookie).await.unwrap().is_none());
}

#[tokio::test]
async fn a_touch_of_a_session_that_is_gone_revives_nothing() {
    let (backend, store) = with_config(config().idle_timeout(HOUR).renew_after(0.0));
    let (cookie, session) = stored(&store).await;
    request(&store, &cookie, |session| session.destroy()).await;
    pass(5).await;
    assert_eq!(store.save(&session).await.unwrap_err().kind(), ErrorKind::Gone);
    assert!(store.cookie_value(&session).is_none());
    assert_eq!(backend.len(), 0);
}

#[tokio::test]
async fn the_deadline_bounds_saves_that_wait_for_each_other() {
    let (backend, store) = with_config(config().deadline(Duration::from_millis(200)));
    let (_, session) = stored(&store).await;
    backend.silent.store(true, Ordering::SeqCst);
    increment(&session);
    let saves: Vec<_> = (0..8)
        .map(|_| {
            let (store, session) = (store.clone(), session.clone());
            tokio::spawn(async move {
                let begin = Instant::now();
                let error = store.save(&session).await.unwrap_err();
                assert_eq!(error.kind(), ErrorKind::Unavailable);
                begin.elapsed()
            })
        })
        .collect();
    for save in saves {
        // Without a deadline they would take 1.6 seconds, one after another.
        assert!(save.await.unwrap() < Duration::from_millis(800));
    }
    let begin = Instant::now();
    assert_eq!(store.destroy(&session).await.unwrap_err().kind(), ErrorKind::Unavailable);
    assert!(begin.elapsed() < Duration::from_millis(800));
}

#[tokio::test]
async fn invalid_settings_are_refused() {
    let default = Config::default;
    for config in [
        default().lifetime(Duration::ZERO),
        default().lifetime(Duration::from_nanos(999_999)),
        default().idle_timeout(Duration::ZERO),
        default().lifetime(None),
        default().renew_after(f64::NAN),
        default().renew_after(-0.1),
        // The session would be renewed only after it has expired.
        default().renew_after(1.0),
        default().deadline(Duration::ZERO),
        default().max_record_size(0),
        default().max_record_size(255),
        default().max_record_size((1 << 30) + 1),
    ] {
        let text = format!("{config:?}");
        let error = SessionStore::new(Faulty::default()).with_config(config).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::InvalidConfig, "{text}");
    }
    for config in [
        default().lifetime(Duration::MAX),
        default().lifetime(None).idle_timeout(HOUR),
        default().renew_after(0.0),
        default().renew_after(0.99),
        default().deadline(Duration::MAX),
        default().max_record_size(256),
    ] {
        SessionStore::new(Faulty::default()).with_config(config).unwrap();
    }
}
