//! Flash entries are delivered once, and never lost unread.

use crate::faulty::Faulty;
use session_core::{Config, FlashMode, Level, Saved, Session, SessionStore};

fn store(mode: FlashMode) -> SessionStore {
    SessionStore::new(Faulty::default()).with_config(Config::default().flash(mode)).unwrap()
}

async fn with_flash(store: &SessionStore) -> String {
    let session = store.create();
    session.flash().message(Level::Info, "one");
    session.flash().message("mine", "two");
    session.flash().message(Level::Info, "three");
    session.flash().insert("form", &vec![1, 2]).unwrap();
    session.flash().insert("nothing", &()).unwrap();
    assert!(session.flash().peek_messages().is_empty(), "they are for a later request");
    assert_eq!(store.save(&session).await.unwrap(), Saved::Issued);
    store.cookie_value(&session).unwrap().into_string()
}

async fn request(store: &SessionStore, cookie: &str, work: impl FnOnce(&Session)) {
    let session = store.load(cookie).await.unwrap().unwrap();
    work(&session);
    let _ = store.save(&session).await.unwrap();
}

fn texts(messages: &[session_core::Message]) -> Vec<&str> {
    messages.iter().map(|message| message.text.as_str()).collect()
}

#[tokio::test]
async fn entries_wait_until_they_are_read_and_are_read_once() {
    let store = store(FlashMode::UntilRead);
    let cookie = with_flash(&store).await;
    request(&store, &cookie, |session| {
        session.insert("other", &1).unwrap();
        assert_eq!(texts(&session.flash().peek_messages()), ["one", "two", "three"]);
        assert!(session.flash().contains("form"));
    })
    .await;
    request(&store, &cookie, |session| {
        assert_eq!(texts(&session.flash().take_level(&Level::Info)), ["one", "three"]);
        assert_eq!(texts(&session.flash().take_messages()), ["two"]);
        assert_eq!(session.flash().take::<Vec<u8>>("form").unwrap(), Some(vec![1, 2]));
        assert_eq!(session.flash().take::<()>("nothing").unwrap(), Some(()));
        assert_eq!(session.flash().take::<Vec<u8>>("form").unwrap(), None);
    })
    .await;
    request(&store, &cookie, |session| {
        assert!(session.flash().take_messages().is_empty());
        assert!(!session.flash().contains("form"));
    })
    .await;
}

#[tokio::test]
async fn a_value_of_another_type_is_not_taken() {
    let store = store(FlashMode::UntilRead);
    let cookie = with_flash(&store).await;
    request(&store, &cookie, |session| {
        session.flash().take::<String>("form").unwrap_err();
    })
    .await;
    request(&store, &cookie, |session| assert!(session.flash().contains("form"))).await;
}

#[tokio::test]
async fn what_another_request_adds_meanwhile_is_not_lost_and_not_shown_twice() {
    let store = store(FlashMode::UntilRead);
    let cookie = with_flash(&store).await;
    let reader = store.load(&cookie).await.unwrap().unwrap();
    assert_eq!(reader.flash().take_messages().len(), 3);
    request(&store, &cookie, |session| session.flash().message("info", "four")).await;
    assert_eq!(store.save(&reader).await.unwrap(), Saved::Updated);
    request(&store, &cookie, |session| {
        assert_eq!(texts(&session.flash().take_messages()), ["four"]);
    })
    .await;
}

#[tokio::test]
async fn kept_entries_are_delivered_again() {
    let store = store(FlashMode::UntilRead);
    let cookie = with_flash(&store).await;
    request(&store, &cookie, |session| {
        let _ = session.flash().take::<Vec<u8>>("form").unwrap();
        session.flash().keep("form");
        let _ = session.flash().take_messages();
    })
    .await;
    request(&store, &cookie, |session| {
        assert!(session.flash().contains("form"));
        assert!(session.flash().peek_messages().is_empty());
        let _ = session.flash().take::<Vec<u8>>("form").unwrap();
        session.flash().keep_all();
    })
    .await;
    request(&store, &cookie, |session| assert!(session.flash().contains("form"))).await;
}

#[tokio::test]
async fn an_insert_replaces_what_waits_under_the_key() {
    let store = store(FlashMode::UntilRead);
    let cookie = with_flash(&store).await;
    request(&store, &cookie, |session| {
        session.flash().insert("form", "new").unwrap();
        session.flash().insert("form", "newer").unwrap();
    })
    .await;
    request(&store, &cookie, |session| {
        assert_eq!(session.flash().take::<String>("form").unwrap().unwrap(), "newer");
        assert!(!session.flash().contains("form"));
    })
    .await;
}

#[tokio::test]
async fn next_request_mode_drops_what_was_not_kept() {
    let store = store(FlashMode::NextRequest);
    let cookie = with_flash(&store).await;
    // A request that does not use the session ages nothing.
    let unused = store.load(&cookie).await.unwrap().unwrap();
    assert_eq!(store.save(&unused).await.unwrap(), Saved::Unchanged);
    request(&store, &cookie, |session| {
        assert!(session.flash().contains("form"));
        session.flash().keep("form");
    })
    .await;
    request(&store, &cookie, |session| {
        assert!(session.flash().contains("form"));
        assert!(session.flash().peek_messages().is_empty());
        session.flash().message("info", "next");
    })
    .await;
    request(&store, &cookie, |session| {
        assert!(!session.flash().contains("form"));
        assert_eq!(texts(&session.flash().peek_messages()), ["next"]);
    })
    .await;
}
