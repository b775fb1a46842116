//! Handlers that save or destroy the session themselves: the client's cookie changes all the same.

use crate::app::serve;
use crate::explicit_app::app;
use crate::support::{Client, Probe};

async fn start(probe: &Probe) -> Client {
    Client::new(serve(app(probe.store())).await)
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
