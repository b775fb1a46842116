//! After each request the browser's cookie, by its `Max-Age`, expires with the session in the store.

use std::time::{Duration, Instant};

use session_core::{Config, SessionStore};

use crate::app::{app, quiet, serve};
use crate::support::{Client, Probe};

const MINUTE: Duration = Duration::from_secs(60);

/// The clocks count whole milliseconds.
const ROUNDING: Duration = Duration::from_millis(5);

/// `Max-Age` counts whole seconds and is rounded up.
const SECOND: Duration = Duration::from_secs(1);

/// The earliest and the latest moment at which the cookie expires.
type Expiry = (Instant, Instant);

async fn request(client: &mut Client, path: &str, cookie: &mut Option<Expiry>) {
    let before = Instant::now();
    let reply = client.get(path).await;
    let after = Instant::now();
    assert_eq!(reply.status, 200, "{path}");
    if let Some(text) = reply.set_cookie() {
        let (_, seconds) = text.split_once("; Max-Age=").unwrap();
        let max_age = Duration::from_secs(seconds.parse().unwrap());
        *cookie = Some((before + max_age, after + max_age));
    }
}

/// Fails unless the cookie expires with the session, or less than a second later.
async fn agrees(client: &Client, store: &SessionStore, cookie: Option<Expiry>, after: &str) {
    let before = Instant::now();
    let session = store.load(client.cookie.as_ref().unwrap()).await.unwrap().unwrap();
    let left = session.expires_in().unwrap();
    let (first, last) = (before + left, Instant::now() + left);
    let cookie = cookie.unwrap();
    assert!(cookie.1 + ROUNDING >= first, "{after}: the cookie ends {:?} early", first - cookie.1);
    assert!(
        cookie.0 <= last + SECOND + ROUNDING,
        "{after}: the cookie ends {:?} late",
        cookie.0 - last
    );
}

#[tokio::test]
async fn max_age_agrees_with_the_store_after_every_request() {
    let limits = [
        (None, Some(30 * MINUTE)),
        (Some(7 * MINUTE), None),
        (Some(7 * MINUTE), Some(30 * MINUTE)),
        (Some(7 * MINUTE), Some(5 * MINUTE)),
    ];
    for (idle, lifetime) in limits {
        for renew_after in [0.0, 0.5] {
            let config = Config::default().idle_timeout(idle).lifetime(lifetime);
            let store = Probe::default().store().with_config(config.renew_after(renew_after));
            let store = store.unwrap();
            let mut client = Client::new(serve(app(quiet(store.clone()))).await);
            let mut cookie = None;
            for path in [
                "/set/value/x",
                "/ask",
                "/set/value/y",
                "/login/ann",
                "/extend",
                "/sign-in/ann",
                "/remember",
                "/ask",
                "/set/value/z",
                "/login/ann",
                "/extend",
                "/forget",
                "/set/value/x",
                "/sign-in/bob",
            ] {
                tokio::time::sleep(Duration::from_millis(10)).await;
                request(&mut client, path, &mut cookie).await;
                let after = format!("{path} ({idle:?}, {lifetime:?}, {renew_after})");
                agrees(&client, &store, cookie, &after).await;
            }
        }
    }
}
