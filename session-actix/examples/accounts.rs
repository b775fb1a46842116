//! Sign-in and sign-out with actix-web: `cargo run -p session-actix --example accounts`, then open
//! <http://127.0.0.1:3000>.

use actix_web::http::header::{CONTENT_TYPE, LOCATION};
use actix_web::{App, HttpResponse, HttpServer, web};
use session_actix::session_core::{Owner, SessionStore};
use session_actix::{Session, SessionFailure, SessionMiddleware};
use session_memory::MemoryBackend;

type Answer = Result<HttpResponse, SessionFailure>;

async fn home(session: Session) -> Answer {
    let visits = session.update_and_save("visits", |n: Option<u64>| n.unwrap_or(0) + 1).await?;
    let form = match session.owner() {
        Some(owner) => format!(
            "<p>You are {}.</p><form method=post action=/sign-out><button>Sign out</button></form>",
            escape(owner.as_str())
        ),
        None => {
            "<form method=post action=/sign-in><input name=user autocomplete=username required> \
                 <button>Sign in</button></form>"
                .to_owned()
        }
    };
    let page = format!("<!doctype html><title>Accounts</title><p>Visit {visits}.</p>{form}");
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/html; charset=utf-8")).body(page))
}

/// A real application checks a password first.
async fn sign_in(session: Session, body: String) -> Answer {
    let user =
        body.strip_prefix("user=").filter(|user| user.bytes().all(|b| b.is_ascii_alphanumeric()));
    match user.filter(|user| !user.is_empty()) {
        Some(user) => {
            session.sign_in(Owner::new(user)?);
            Ok(to_home())
        }
        None => Ok(HttpResponse::BadRequest().body("A name has letters and digits only.")),
    }
}

async fn sign_out(session: Session) -> Answer {
    session.destroy();
    Ok(to_home())
}

fn to_home() -> HttpResponse {
    HttpResponse::SeeOther().insert_header((LOCATION, "/")).finish()
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;")
}

#[actix_web::main]
async fn main() -> std::io::Result<()> {
    let sessions = SessionMiddleware::new(SessionStore::new(MemoryBackend::new()));
    let server = HttpServer::new(move || {
        App::new()
            .wrap(sessions.clone())
            .route("/", web::get().to(home))
            .route("/sign-in", web::post().to(sign_in))
            .route("/sign-out", web::post().to(sign_out))
    });
    server.bind(("127.0.0.1", 3000))?.run().await
}
