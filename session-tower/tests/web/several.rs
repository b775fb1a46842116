//! Several live cookies of one name: a logout ends them all.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::routing::get;
use session_core::{ErrorKind, Level, SessionStore};
use session_tower::{Session, SessionFailure};
use tokio::sync::Notify;

use crate::app::{quiet, serve, start};
use crate::support::{Client, Probe, eventually};

/// Otherwise the next request would find the other session and be logged in again.
#[tokio::test]
async fn a_logout_ends_the_sessions_of_all_cookies_of_the_request() {
    for destroyed_by in ["/logout", "/fail/logout"] {
        let probe = Probe::default();
        let mut client = start(&probe).await;
        let mut values = Vec::new();
        for user in ["old", "new", "bystander"] {
            client.cookie = None;
            values.push(client.get(&format!("/login/{user}")).await.session_cookie().unwrap());
        }
        probe.calls();
        let header = format!("__Host-id={}; __Host-id={}", values[0], values[1]);
        let reply = client.get_with(destroyed_by, Some(&header)).await;
        assert_eq!(reply.session_cookie().as_deref(), Some(""));
        assert_eq!(probe.sessions(), 1, "{destroyed_by}");
        assert_eq!(
            (probe.calls().loads, client.get("/get/user").await.text),
            (2, "bystander".into())
        );
    }
}

/// Each of these handlers starts a new session in place of the destroyed one.
async fn logout_and_flash(session: Session) {
    session.destroy();
    session.flash().message(Level::Info, "Good bye");
}

async fn destroyed_by_the_store(
    State(store): State<SessionStore>,
    session: Session,
) -> Result<(), SessionFailure> {
    store.destroy(&session).await?;
    Ok(session.insert("value", "fresh")?)
}

async fn destroyed_and_saved(
    State(store): State<SessionStore>,
    session: Session,
) -> Result<(), SessionFailure> {
    store.destroy(&session).await?;
    session.insert("value", "fresh")?;
    Ok(session.save().await?)
}

#[tokio::test]
async fn a_logout_ends_all_of_them_also_when_something_takes_its_place() {
    for path in ["/logout-and-flash", "/destroyed-by-the-store", "/destroyed-and-saved"] {
        let probe = Probe::default();
        let store = probe.store();
        let router = Router::new()
            .route("/logout-and-flash", get(logout_and_flash))
            .route("/destroyed-by-the-store", get(destroyed_by_the_store))
            .route("/destroyed-and-saved", get(destroyed_and_saved))
            .with_state(store.clone())
            .merge(crate::app::app_without_a_layer())
            .layer(quiet(store));
        let mut client = Client::new(serve(router).await);
        let (header, values) = two_cookies(&mut client).await;
        let reply = client.get_with(path, Some(&header)).await;
        let fresh = reply.session_cookie().unwrap();
        assert!(!values.contains(&fresh) && !fresh.is_empty(), "{path}");
        assert_eq!(probe.sessions(), 1, "{path}: only the new session");
        assert_eq!(client.get_with("/get/user", Some(&header)).await.text, "nothing", "{path}");
    }
}

#[tokio::test]
async fn a_logout_ends_all_of_them_also_when_the_client_leaves_after_it() {
    let probe = Probe::default();
    let store = probe.store();
    let destroyed = Arc::new(Notify::new());
    let tell = Arc::clone(&destroyed);
    let logout = get(async move |State(store): State<SessionStore>, session: Session| {
        store.destroy(&session).await.unwrap();
        tell.notify_one();
        std::future::pending::<()>().await;
    });
    let router = Router::new()
        .route("/logout-and-wait", logout)
        .with_state(store.clone())
        .merge(crate::app::app_without_a_layer())
        .layer(quiet(store));
    let mut client = Client::new(serve(router).await);
    let (header, _) = two_cookies(&mut client).await;
    let leaving = client.clone();
    let request =
        tokio::spawn(async move { leaving.get_with("/logout-and-wait", Some(&header)).await });
    destroyed.notified().await;
    assert_eq!(probe.sessions(), 1);
    request.abort();
    eventually(|| probe.sessions() == 0).await;
}

/// The handler has destroyed its own session and has nothing to save; the other session is still alive.
#[tokio::test]
async fn a_logout_that_could_not_end_all_sessions_is_not_reported_as_done() {
    let probe = Probe::default();
    let store = probe.store();
    let outage = probe.clone();
    let logout = get(
        async move |State(store): State<SessionStore>,
                    session: Session|
                    -> Result<(), SessionFailure> {
            store.destroy(&session).await?;
            session.insert("value", "fresh")?;
            session.save().await?;
            outage.fail("destroy", ErrorKind::Unavailable);
            Ok(())
        },
    );
    let router = Router::new()
        .route("/logout-before-an-outage", logout)
        .with_state(store.clone())
        .merge(crate::app::app_without_a_layer())
        .layer(quiet(store));
    let mut client = Client::new(serve(router).await);
    let (header, _) = two_cookies(&mut client).await;
    assert_eq!(client.get_with("/logout-before-an-outage", Some(&header)).await.status, 503);
}

/// Two signed-in sessions, and the header with both of their cookies.
async fn two_cookies(client: &mut Client) -> (String, Vec<String>) {
    let mut values = Vec::new();
    for user in ["old", "new"] {
        client.cookie = None;
        values.push(client.get(&format!("/login/{user}")).await.session_cookie().unwrap());
    }
    (format!("__Host-id={}; __Host-id={}", values[0], values[1]), values)
}
