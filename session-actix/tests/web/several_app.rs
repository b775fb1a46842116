//! Handlers that end their session while the client has others.

use std::sync::Arc;

use actix_web::web::Data;
use session_actix::{Session, SessionFailure};
use session_core::{Level, SessionStore};
use tokio::sync::Notify;

use crate::app::{Application, Slow, get, quiet, routes};

/// Where a handler waits after it has ended its session.
#[derive(Clone, Default)]
pub(crate) struct Hooks {
    pub(crate) destroyed: Arc<Notify>,
    pub(crate) go_on: Arc<Notify>,
}

type Answer = Result<&'static str, SessionFailure>;

/// The usual routes and these.
pub(crate) fn app(store: SessionStore, hooks: Hooks) -> Application {
    Application::new(Some(quiet(store.clone())), move |app| {
        app.route("/logout-and-flash", get().to(logout_and_flash))
            .route("/destroyed-by-the-store", get().to(destroyed_by_the_store))
            .route("/destroyed-and-saved", get().to(destroyed_and_saved))
            .route("/logout-and-wait", get().to(logout_and_wait))
            .route("/logout-and-set", get().to(logout_and_set))
            .app_data(Data::new(store.clone()))
            .app_data(Data::new(hooks.clone()));
        routes(app, Slow::default());
    })
}

async fn logout_and_flash(session: Session) -> &'static str {
    session.destroy();
    session.flash().message(Level::Info, "Good bye");
    ""
}

async fn destroyed_by_the_store(store: Data<SessionStore>, session: Session) -> Answer {
    store.destroy(&session).await?;
    session.insert("value", "fresh")?;
    Ok("")
}

async fn destroyed_and_saved(store: Data<SessionStore>, session: Session) -> Answer {
    store.destroy(&session).await?;
    session.insert("value", "fresh")?;
    session.save().await?;
    Ok("")
}

async fn logout_and_wait(
    store: Data<SessionStore>,
    hooks: Data<Hooks>,
    session: Session,
) -> Answer {
    store.destroy(&session).await?;
    hooks.destroyed.notify_one();
    hooks.go_on.notified().await;
    Ok("")
}

async fn logout_and_set(store: Data<SessionStore>, hooks: Data<Hooks>, session: Session) -> Answer {
    store.destroy(&session).await?;
    session.insert("value", "fresh")?;
    session.save().await?;
    hooks.destroyed.notify_one();
    hooks.go_on.notified().await;
    Ok("")
}
