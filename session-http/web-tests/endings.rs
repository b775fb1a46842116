//! Login and logout while other requests are in flight.

use crate::app::{Slow, app_with, quiet, quiet_with_idle_timeout, serve, start};
use crate::support::{Client, Probe, Reply};

async fn start_slow(probe: &Probe) -> (Client, Slow) {
    let slow = Slow::default();
    let client = Client::new(serve(app_with(quiet(probe.store()), slow.clone())).await);
    (client, slow)
}

/// A request that loads the session and writes it only after the request `meanwhile` has ended.
async fn overtaken(client: &mut Client, slow: &Slow, meanwhile: &str) -> Reply {
    let mut slow_client = client.clone();
    let request = tokio::spawn(async move { slow_client.get("/slow/late").await });
    slow.reached.notified().await;
    client.get(meanwhile).await;
    slow.go_on.notify_one();
    request.await.unwrap()
}

/// rack CVE-2025-46336, Perl CVE-2013-10075, express #632: save re-creates what was destroyed.
/// actix-session stores it under a new id, and its response logs the user in again.
#[tokio::test]
async fn tower_sessions_rack_cve_2025_46336_a_slow_request_does_not_undo_a_logout() {
    let probe = Probe::default();
    let (mut client, slow) = start_slow(&probe).await;
    let cookie = client.get("/login/ann").await.session_cookie().unwrap();
    let late = overtaken(&mut client, &slow, "/logout").await;
    assert_eq!((late.status, &*late.text), (200, "late"), "the handler's response is sent");
    assert_eq!(late.set_cookie(), None, "actix-session sets a new one here");
    assert_eq!(probe.sessions(), 0);
    let header = format!("__Host-id={cookie}");
    assert_eq!(client.get_with("/get/user", Some(&header)).await.text, "nothing");
}

/// Passport CVE-2022-25896, and glimr leaves the old record alive.
#[tokio::test]
async fn passport_cve_2022_25896_glimr_the_old_id_is_dead_after_login_also_for_requests_in_flight()
{
    let probe = Probe::default();
    let (mut client, slow) = start_slow(&probe).await;
    let before = client.get("/set/cart/full").await.session_cookie().unwrap();
    let late = overtaken(&mut client, &slow, "/login/ann").await;
    assert_eq!((late.status, late.set_cookie()), (200, None));
    assert_ne!(client.cookie.as_ref(), Some(&before));
    assert_eq!(client.get("/get/user").await.text, "ann");
    assert_eq!(client.get("/get/cart").await.text, "full", "the data is kept");
    let header = format!("__Host-id={before}");
    for path in ["/get/user", "/get/cart"] {
        assert_eq!(client.get_with(path, Some(&header)).await.text, "nothing");
    }
    assert_eq!(probe.sessions(), 1);
}

/// nextjs-auth0 #2335: a refresh revives the session on the client.
#[tokio::test]
async fn nextjs_auth0_2335_a_renewal_after_a_logout_or_a_sign_in_sets_no_cookie() {
    overtaken_renewal("/logout", 0).await;
    overtaken_renewal("/sign-in/ann", 1).await;
}

async fn overtaken_renewal(by: &str, sessions: usize) {
    let probe = Probe::default();
    let slow = Slow::default();
    let app = app_with(quiet_with_idle_timeout(&probe), slow.clone());
    let mut client = Client::new(serve(app).await);
    client.get("/login/ann").await;
    let mut other = client.clone();
    let request = tokio::spawn(async move { other.get("/renew").await });
    slow.reached.notified().await;
    client.get(by).await;
    slow.go_on.notify_one();
    let late = request.await.unwrap();
    assert_eq!((late.status, late.set_cookie()), (200, None));
    assert_eq!(probe.sessions(), sessions);
}

/// tower-sessions: `flush()` then `insert()` keeps the old id.
#[tokio::test]
async fn tower_sessions_flush_then_insert_gets_a_new_id() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    let before = client.get("/login/ann").await.session_cookie().unwrap();
    let after = client.get("/logout-and-set/fresh").await.session_cookie().unwrap();
    assert_ne!(before, after);
    assert_eq!(client.get("/get/value").await.text, "fresh");
    assert_eq!(client.get("/get/user").await.text, "nothing");
    let header = format!("__Host-id={before}");
    assert_eq!(client.get_with("/get/user", Some(&header)).await.text, "nothing");
    assert_eq!(probe.sessions(), 1);
}

/// axum_session: another node serves a destroyed session.
#[tokio::test]
async fn axum_session_another_node_does_not_serve_a_destroyed_session() {
    let probe = Probe::default();
    let mut here = start(&probe).await;
    let mut there = start(&probe).await;
    here.get("/login/ann").await;
    there.cookie.clone_from(&here.cookie);
    assert_eq!(there.get("/get/user").await.text, "ann");
    here.get("/logout").await;
    assert_eq!(there.get("/get/user").await.text, "nothing");
}

/// Spring CVE-2023-20862: an emptied session must be stored empty.
#[tokio::test]
async fn spring_cve_2023_20862_clear_is_stored() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/login/ann").await;
    client.get("/clear").await;
    assert_eq!(client.get("/state").await.text, "exists: true, empty: true");
}
