//! Handlers that save or destroy the session themselves.

use actix_web::HttpResponse;
use actix_web::http::StatusCode;
use actix_web::web::{Data, Path};
use session_actix::{Session, SessionFailure};
use session_core::SessionStore;

use crate::app::{Application, get, quiet};

pub(crate) fn app(store: SessionStore) -> Application {
    Application::new(Some(quiet(store.clone())), move |app| {
        app.app_data(Data::new(store.clone()))
            .route("/login/{status}", get().to(login))
            .route("/logout", get().to(logout))
            .route("/save-after-a-logout-elsewhere", get().to(save_after_a_logout_elsewhere))
            .route("/logout-and-too-large", get().to(logout_and_too_large));
    })
}

async fn login(
    store: Data<SessionStore>,
    session: Session,
    status: Path<u16>,
) -> Result<HttpResponse, SessionFailure> {
    session.regenerate();
    session.insert("user", "ann")?;
    store.save(&session).await?;
    Ok(HttpResponse::build(StatusCode::from_u16(*status).unwrap()).finish())
}

async fn logout(
    store: Data<SessionStore>,
    session: Session,
) -> Result<&'static str, SessionFailure> {
    store.destroy(&session).await?;
    Ok("")
}

async fn logout_and_too_large(
    store: Data<SessionStore>,
    session: Session,
) -> Result<&'static str, SessionFailure> {
    store.destroy(&session).await?;
    session.insert("huge", "x".repeat(2 << 20))?;
    Ok("")
}

async fn save_after_a_logout_elsewhere(
    store: Data<SessionStore>,
    session: Session,
) -> Result<&'static str, SessionFailure> {
    let value = store.cookie_value(&session).unwrap();
    let elsewhere = store.load(value.as_str()).await?.unwrap();
    session.insert("user", "bob")?;
    store.destroy(&elsewhere).await?;
    store.save(&session).await?;
    Ok("")
}
