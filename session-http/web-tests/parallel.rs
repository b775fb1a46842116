//! Many concurrent requests.

use crate::app::start;
use crate::support::{Client, Probe};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_64_parallel_increments_none_is_lost() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/set/value/x").await;
    at_once(&client, 64, |_| "/count".to_owned()).await;
    assert_eq!(client.get("/count").await.text, "65");
    assert_eq!(client.get("/get/value").await.text, "x");
}

/// A limit of 3 attempts accepts 3 of 16 parallel requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn update_and_save_returns_a_different_number_to_each_parallel_request() {
    let mut client = start(&Probe::default()).await;
    client.get("/set/value/x").await;
    let tasks: Vec<_> = (0..16)
        .map(|_| {
            let mut client = client.clone();
            tokio::spawn(
                async move { client.get("/count-and-save").await.text.parse::<u64>().unwrap() },
            )
        })
        .collect();
    let mut numbers = Vec::new();
    for task in tasks {
        numbers.push(task.await.unwrap());
    }
    numbers.sort_unstable();
    assert_eq!(numbers, (1..=16).collect::<Vec<_>>());
}

/// All libraries of the comparison lose one of two changes to different values.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn changes_to_different_values_all_survive() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/set/value/x").await;
    at_once(&client, 64, |n| format!("/set/key{n}/value{n}")).await;
    for n in 0..64 {
        assert_eq!(client.get(&format!("/get/key{n}")).await.text, format!("value{n}"));
    }
}

/// express #167, #360, #704: the response is sent before the save is done.
#[tokio::test]
async fn express_167_the_next_request_sees_the_write_at_once() {
    let mut client = start(&Probe::default()).await;
    for n in 0..200 {
        client.get(&format!("/set/value/{n}")).await;
        assert_eq!(client.get("/get/value").await.text, n.to_string());
    }
}

/// GitHub 2021, Fiber #1497: a session object is shared between requests.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fiber_1497_interleaved_users_never_see_each_other() {
    let probe = Probe::default();
    let client = start(&probe).await;
    let users = (0..50).map(|user| {
        let mut client = client.clone();
        tokio::spawn(async move {
            let name = format!("user{user}");
            client.get(&format!("/login/{name}")).await;
            for n in 0..40 {
                assert_eq!(client.get("/get/user").await.text, name);
                let mark = format!("{name}-{n}");
                client.get(&format!("/set/mark/{mark}")).await;
                assert_eq!(client.get("/get/mark").await.text, mark);
            }
        })
    });
    for user in users.collect::<Vec<_>>() {
        user.await.unwrap();
    }
    assert_eq!(probe.sessions(), 50);
}

/// Of parallel logins of one session, one wins, and no second session remains.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_parallel_logins_one_wins_and_the_others_set_no_cookie() {
    let probe = Probe::default();
    let mut client = start(&probe).await;
    client.get("/set/value/x").await;
    let replies = at_once(&client, 16, |n| format!("/login/user{n}")).await;
    let cookies: Vec<_> = replies.into_iter().flatten().collect();
    assert!(!cookies.is_empty());
    assert_eq!(probe.sessions(), cookies.len(), "one session for each cookie, and no other");
}

/// Sends concurrent requests with one cookie; returns the cookies that were set.
async fn at_once(
    client: &Client,
    requests: usize,
    path: impl Fn(usize) -> String,
) -> Vec<Option<String>> {
    let tasks = (0..requests).map(|n| {
        let (mut client, path) = (client.clone(), path(n));
        tokio::spawn(async move {
            let reply = client.get(&path).await;
            assert_eq!(reply.status, 200, "{path}");
            reply.session_cookie()
        })
    });
    let mut replies = Vec::new();
    for task in tasks.collect::<Vec<_>>() {
        replies.push(task.await.unwrap());
    }
    replies
}
