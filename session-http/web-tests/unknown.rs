//! Ids that the store does not know.

use session_core::{ErrorKind, SessionId};

use crate::app::start;
use crate::support::Probe;

fn unknown(n: u32) -> String {
    let mut bytes = [0xA5; 32];
    bytes[..4].copy_from_slice(&n.to_be_bytes());
    SessionId::from_bytes(bytes).expose()
}

/// Fiber CVE-2024-38513, Rails CVE-2007-5380; axum_session and glimr adopt the id, too.
#[tokio::test]
async fn fiber_cve_2024_38513_glimr_axum_session_an_unknown_id_is_never_adopted() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    let planted = unknown(1);
    client.cookie = Some(planted.clone());
    let reply = client.get("/get/value").await;
    assert_eq!(reply.text, "nothing");
    assert_eq!(reply.set_cookie(), None, "not cleared: a parallel request may have rotated it");
    let own = client.get("/set/value/x").await.session_cookie().unwrap();
    assert_ne!(own, planted);
    assert_eq!(client.get("/get/value").await.text, "x");
    let header = format!("__Host-id={planted}");
    assert_eq!(client.get_with("/get/value", Some(&header)).await.text, "nothing");
}

/// tower-sessions: `clear()` before the load adopts the client's id.
#[tokio::test]
async fn tower_sessions_clear_first_does_not_adopt_the_client_s_id() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    let planted = unknown(2);
    client.cookie = Some(planted.clone());
    let own = client.get("/clear-and-set/x").await.session_cookie().unwrap();
    assert_ne!(own, planted);
    assert_eq!(probe.sessions(), 1);
}

/// pavex: with a stale cookie, what the request writes is silently lost.
#[tokio::test]
async fn pavex_writes_of_a_request_with_a_stale_cookie_are_kept() {
    let mut client = start(&Probe::default()).await;
    let stale = client.get("/set/value/old").await.session_cookie().unwrap();
    client.get("/logout").await;
    client.cookie = Some(stale);
    assert_eq!(client.get("/set/value/new").await.status, 200);
    assert_eq!(client.get("/get/value").await.text, "new");
}

/// Django CVE-2015-5143 and CVE-2015-5963.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn django_cve_2015_5963_10000_unknown_ids_and_logouts_leave_an_empty_store() {
    let probe = Probe::default();
    let client = start(&probe).await;
    let tasks = (0..10).map(|task| {
        let client = client.clone();
        tokio::spawn(async move {
            for n in 0..1000 {
                let header = format!("__Host-id={}", unknown(task * 1000 + n));
                let path = if n % 2 == 0 { "/get/value" } else { "/logout" };
                let reply = client.get_with(path, Some(&header)).await;
                assert_eq!((reply.status, reply.set_cookie()), (200, None));
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.unwrap();
    }
    let calls = probe.calls();
    assert_eq!((calls.loads, calls.saves, calls.destroys), (10_000, 0, 0));
    assert_eq!(probe.sessions(), 0);
}

/// PAN-OS CVE-2024-3400; Mantis joins the cookie into a path.
#[tokio::test]
async fn mantis_pan_os_cve_2024_3400_malformed_ids_do_not_reach_the_store() {
    let probe = Probe::default();
    let client = start(&probe).await;
    let good = unknown(3);
    let malformed = [
        "../../etc/passwd".to_owned(),
        "..%2f..%2fetc%2fpasswd".to_owned(),
        "a\\b".to_owned(),
        "%00".to_owned(),
        "x".repeat(10_240),
        format!("{good}="),
        format!("{good}A"),
        good[1..].to_owned(),
        format!("+{}", &good[1..]),
        format!("{} ", &good[1..]),
        "null".to_owned(),
        "'; DROP TABLE sessions --".to_owned(),
    ];
    for value in malformed {
        let header = format!("__Host-id={value}");
        let reply = client.get_with("/get/value", Some(&header)).await;
        assert_eq!((reply.status, &*reply.text), (200, "nothing"), "{value}");
        assert_eq!(reply.set_cookie(), None);
    }
    assert_eq!(probe.calls().loads, 0);
}

/// Spring #280, #1939, #1991: a corrupt record is a permanent 500.
#[tokio::test]
async fn spring_280_a_corrupt_record_counts_as_no_session_and_is_kept() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    let before = client.get("/set/value/x").await.session_cookie().unwrap();
    probe.fail("load", ErrorKind::Corrupt);
    let reply = client.get("/get/value").await;
    assert_eq!((reply.status, &*reply.text), (200, "nothing"));
    assert_eq!(reply.set_cookie(), None);
    let fresh = client.get("/set/value/y").await.session_cookie().unwrap();
    assert_ne!(fresh, before);
    assert_eq!(probe.calls().destroys, 0);
    probe.recover();
    assert_eq!(client.get("/get/value").await.text, "y");
    assert_eq!(probe.sessions(), 2, "the corrupt one is still there");
}

/// aiohttp-session CVE-2018-1000519: destroyed equals empty equals valid.
#[tokio::test]
async fn aiohttp_cve_2018_1000519_destroyed_empty_and_valid_are_distinct() {
    let mut client = start(&Probe::default()).await;
    assert_eq!(client.get("/state").await.text, "exists: false, empty: true");
    let cookie = client.get("/set/value/x").await.session_cookie().unwrap();
    assert_eq!(client.get("/state").await.text, "exists: true, empty: false");
    client.get("/logout").await;
    client.cookie = Some(cookie);
    assert_eq!(client.get("/state").await.text, "exists: false, empty: true");
}
