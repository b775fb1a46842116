//! Handlers that save or destroy the session themselves: the client's cookie changes all the same.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::routing::get;
use session_core::SessionStore;
use session_tower::{Session, SessionFailure};

use crate::app::{quiet, serve};
use crate::support::{Client, Probe};

async fn login(
    State(store): State<SessionStore>,
    session: Session,
    Path(status): Path<u16>,
) -> Result<StatusCode, SessionFailure> {
    session.regenerate();
    session.insert("user", "ann")?;
    store.save(&session).await?;
    Ok(StatusCode::from_u16(status).unwrap())
}

async fn logout(State(store): State<SessionStore>, session: Session) -> Result<(), SessionFailure> {
    Ok(store.destroy(&session).await?)
}

async fn logout_and_too_large(
    State(store): State<SessionStore>,
    session: Session,
) -> Result<(), SessionFailure> {
    store.destroy(&session).await?;
    Ok(session.insert("huge", "x".repeat(2 << 20))?)
}

async fn save_after_a_logout_elsewhere(
    State(store): State<SessionStore>,
    session: Session,
) -> Result<(), SessionFailure> {
    let value = store.cookie_value(&session).unwrap();
    let elsewhere = store.load(value.as_str()).await?.unwrap();
    session.insert("user", "bob")?;
    store.destroy(&elsewhere).await?;
    store.save(&session).await?;
    Ok(())
}

async fn start(probe: &Probe) -> Client {
    let store = probe.store();
    let app = Router::new()
        .route("/login/{status}", get(login))
        .route("/logout", get(logout))
        .route("/save-after-a-logout-elsewhere", get(save_after_a_logout_elsewhere))
        .route("/logout-and-too-large", get(logout_and_too_large))
        .with_state(store.clone())
        .layer(quiet(store));
    Client::new(serve(app).await)
}

#[tokio::test]
async fn a_session_that_the_handler_saved_itself_reaches_the_client() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    let first = client.get("/login/200").await.session_cookie().unwrap();
    let second = client.get("/login/200").await.session_cookie().unwrap();
    assert_ne!(first, second, "a new id at each login");
    assert_eq!(probe.sessions(), 1);
}

#[tokio::test]
async fn a_new_id_that_was_saved_before_a_5xx_reaches_the_client() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    let before = client.get("/login/200").await.session_cookie().unwrap();
    let reply = client.get("/login/500").await;
    assert_eq!(reply.status, 500);
    assert_ne!(reply.session_cookie().unwrap(), before, "the old id is dead");
}

#[tokio::test]
async fn a_session_that_the_handler_destroyed_itself_is_removed_from_the_client() {
    for path in ["/logout", "/logout-and-too-large"] {
        let probe = Probe::default();
        let mut client = start(&probe).await;
        client.get("/login/200").await;
        assert_eq!(client.get(path).await.session_cookie().as_deref(), Some(""), "{path}");
        assert_eq!(probe.sessions(), 0);
    }
}

#[tokio::test]
async fn a_save_of_the_handler_s_own_that_a_logout_overtook_is_409() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/login/200").await;
    let reply = client.get("/save-after-a-logout-elsewhere").await;
    assert_eq!((reply.status, reply.set_cookie()), (409, None));
    assert_eq!(probe.sessions(), 0, "logout wins");
}
