//! Several live cookies of one name: a logout ends them all.

use session_core::ErrorKind;
use tokio::task::JoinHandle;

use crate::app::{DROPS_HANDLERS, serve, start};
use crate::several_app::{Hooks, app};
use crate::support::{Client, Probe, Reply, eventually};

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
#[tokio::test]
async fn a_logout_ends_all_of_them_also_when_something_takes_its_place() {
    for path in ["/logout-and-flash", "/destroyed-by-the-store", "/destroyed-and-saved"] {
        let probe = Probe::default();
        let app = app(probe.store(), Hooks::default());
        let mut client = Client::new(serve(app).await);
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
    let (probe, hooks) = (Probe::default(), Hooks::default());
    let request = logged_out(&probe, &hooks, "/logout-and-wait").await;
    assert_eq!(probe.sessions(), 1);
    request.abort();
    if !DROPS_HANDLERS {
        hooks.go_on.notify_one();
    }
    eventually(|| probe.sessions() == 0).await;
}

/// The handler has destroyed its own session and has nothing to save; the other session is still alive.
#[tokio::test]
async fn a_logout_that_could_not_end_all_sessions_is_not_reported_as_done() {
    let (probe, hooks) = (Probe::default(), Hooks::default());
    let request = logged_out(&probe, &hooks, "/logout-and-set").await;
    probe.fail("destroy", ErrorKind::Unavailable);
    hooks.go_on.notify_one();
    assert_eq!(request.await.unwrap().status, 503);
}

/// A request with two cookies, whose handler has ended its session and waits.
async fn logged_out(probe: &Probe, hooks: &Hooks, path: &'static str) -> JoinHandle<Reply> {
    let mut client = Client::new(serve(app(probe.store(), hooks.clone())).await);
    let (header, _) = two_cookies(&mut client).await;
    let request = tokio::spawn(async move { client.get_with(path, Some(&header)).await });
    hooks.destroyed.notified().await;
    request
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
