//! Sign-in and sign-out, and a page for members only.

use axum::extract::Request;
use axum::http::header::CACHE_CONTROL;
use axum::middleware::{Next, from_fn};
use axum::response::{Html, IntoResponse, Redirect, Response};
use axum::routing::{get, post};
use axum::{Form, Router};
use serde::Deserialize;
use session_memory::MemoryBackend;
use session_tower::session_core::{Owner, SessionStore};
use session_tower::{SameOriginLayer, Session, SessionFailure, SessionLayer};

#[derive(Deserialize)]
struct Credentials {
    user: String,
    password: String,
}

impl Credentials {
    /// A real application compares the password with a hash (argon2).
    fn are_right(&self) -> bool {
        self.user == "ann" && self.password == "correct horse"
    }
}

async fn home(session: Session) -> Html<&'static str> {
    Html(match session.owner() {
        Some(_) => {
            "<a href=/account>Your account</a> \
             <form method=post action=/sign-out><button>Sign out</button></form>"
        }
        None => {
            "<form method=post action=/sign-in> \
             <input name=user autocomplete=username> \
             <input name=password type=password autocomplete=current-password> \
             <button>Sign in</button></form>"
        }
    })
}

async fn sign_in(
    session: Session,
    Form(credentials): Form<Credentials>,
) -> Result<Response, SessionFailure> {
    if !credentials.are_right() {
        return Ok((axum::http::StatusCode::FORBIDDEN, "Wrong name or password.").into_response());
    }
    session.sign_in(Owner::new(credentials.user)?);
    Ok(Redirect::to("/account").into_response())
}

async fn sign_out(session: Session) -> Redirect {
    session.destroy();
    Redirect::to("/")
}

/// The browser must not keep it: its back button would show it after a sign-out.
async fn account(session: Session) -> impl IntoResponse {
    let name = session.owner().map(|owner| owner.as_str().to_owned());
    ([(CACHE_CONTROL, "no-store")], format!("The account of {}.", name.unwrap_or_default()))
}

/// For routes that need a signed-in visitor.
async fn members_only(session: Session, request: Request, next: Next) -> Response {
    match session.owner() {
        Some(_) => next.run(request).await,
        None => Redirect::to("/").into_response(),
    }
}

#[tokio::main]
async fn main() -> std::io::Result<()> {
    let store = SessionStore::new(MemoryBackend::new());
    let app = Router::new()
        .route("/account", get(account))
        .route_layer(from_fn(members_only))
        .route("/", get(home))
        .route("/sign-in", post(sign_in))
        .route("/sign-out", post(sign_out))
        .layer(SessionLayer::new(store))
        .layer(SameOriginLayer);
    examples::serve(app).await
}
