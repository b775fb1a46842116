//! Pages that touch the session in different ways, and one that caches may store.

use axum::Router;
use axum::response::IntoResponse;
use axum::routing::get;
use session_core::SessionStore;
use session_tower::Session;

use crate::app::quiet;

pub(crate) type Access = fn(&session_core::Session);

/// Each path does this to the session, and `/no-session` does not ask for it.
pub(crate) fn accessing(store: SessionStore, accessors: &[(&'static str, Access)]) -> Router {
    let mut router = Router::new().route("/no-session", get(|| async {}));
    for (path, access) in accessors.iter().copied() {
        router = router.route(path, get(move |session: Session| async move { access(&session) }));
    }
    router.layer(quiet(store))
}

/// The number of visits, on a page that says that caches may store it.
pub(crate) fn cached_page(store: SessionStore) -> Router {
    async fn page(session: Session) -> impl IntoResponse {
        let visit = session.update("visits", |visits: Option<u64>| visits.unwrap_or(0) + 1);
        let headers = [
            ("cache-control", "public, s-maxage=600"),
            ("cdn-cache-control", "max-age=600"),
            ("surrogate-control", "max-age=600"),
            ("vary", "accept-encoding"),
        ];
        (headers, visit.unwrap().to_string())
    }
    Router::new().route("/", get(page)).layer(quiet(store))
}
