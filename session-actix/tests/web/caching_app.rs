//! Pages that touch the session in different ways, and one that caches may store.

use actix_web::HttpResponse;
use session_actix::Session;
use session_core::SessionStore;

use crate::app::{Application, get, quiet};

pub(crate) type Access = fn(&session_core::Session);

/// Each path does this to the session, and `/no-session` does not ask for it.
pub(crate) fn accessing(store: SessionStore, accessors: &[(&'static str, Access)]) -> Application {
    let accessors = accessors.to_vec();
    Application::new(Some(quiet(store)), move |app| {
        app.route("/no-session", get().to(async || ""));
        for (path, access) in accessors.iter().copied() {
            let handler = move |session: Session| async move {
                access(&session);
                ""
            };
            app.route(path, get().to(handler));
        }
    })
}

/// The number of visits, on a page that says that caches may store it.
pub(crate) fn cached_page(store: SessionStore) -> Application {
    async fn page(session: Session) -> HttpResponse {
        let visit = session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1);
        let mut response = HttpResponse::Ok();
        for header in [
            ("Cache-Control", "public, s-maxage=600"),
            ("CDN-Cache-Control", "max-age=600"),
            ("Surrogate-Control", "max-age=600"),
            ("Vary", "accept-encoding"),
        ] {
            response.insert_header(header);
        }
        response.body(visit.unwrap().to_string())
    }
    Application::new(Some(quiet(store)), |app| {
        app.route("/", get().to(page));
    })
}
