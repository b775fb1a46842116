//! Many clients of one session on a store that loses, delays and duplicates requests and answers:
//! logins, logouts, rotations, increments, renewals and late requests, interleaved by a seed.
//!
//! A failure prints its seed. `INTERLEAVE_SEED=<seed>` runs this seed alone, and `INTERLEAVE_SEEDS`
//! sets the number of seeds.
//!
//! The test can fail. It found each of these defects of the handle within 1,700 seeds:
//! - no tombstone, a tombstone that lasts two milliseconds, or a tombstone that replaces a third
//!   revision;
//! - the new record of a failed rotation is not removed;
//! - a missing record counts as written;
//! - a create is sent again with the same id;
//! - a write in doubt is forgotten, or applied again to a third revision;
//! - a touch accepts any revision;
//! - a logout does not follow the tombstone, or stops at another revision;
//! - a late request stores its changes;
//! - updates are not computed again after a conflict.

mod ledger;
mod network;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use session_core::web::Found;
use session_core::{Config, Owner, Result, Saved, Session, SessionStore};
use tokio::time::{sleep, timeout};

use self::ledger::{Ledger, Outcome};
use self::network::{Network, say};

/// Without optimization each seed takes ten times as long.
const SEEDS: u64 = if cfg!(debug_assertions) { 2_000 } else { 10_000 };
const CLIENTS: u64 = 4;
const REQUESTS: u64 = 4;
/// How often a client repeats a call that failed.
const TRIES: u32 = 3;

#[test]
fn no_interleaving_breaks_a_promise() {
    let number = |name| std::env::var(name).ok().map(|text| text.parse::<u64>().unwrap());
    if let Some(seed) = number("INTERLEAVE_SEED") {
        return run(seed);
    }
    let seeds = number("INTERLEAVE_SEEDS").unwrap_or(SEEDS);
    let (next, threads) = (AtomicU64::new(0), std::thread::available_parallelism().unwrap());
    let failed = std::thread::scope(|scope| {
        let work = || {
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return None;
                }
                if catch_unwind(AssertUnwindSafe(|| run(seed))).is_err() {
                    next.store(seeds, Ordering::Relaxed);
                    return Some(seed);
                }
            }
        };
        let threads: Vec<_> = (0..threads.get()).map(|_| scope.spawn(work)).collect();
        threads.into_iter().find_map(|thread| thread.join().unwrap())
    });
    assert_eq!(failed, None, "INTERLEAVE_SEED of a failure");
}

fn run(seed: u64) {
    // The pauses and ids of the handle are derived from the seed, too.
    fastrand::seed(seed);
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    runtime.unwrap().block_on(async {
        let network = Arc::new(Network::new(seed));
        let config = Config::default()
            .idle_timeout(Duration::from_secs(3600))
            .renew_after(0.0)
            .tombstone_ttl(Duration::from_secs(3600))
            .random_source(|bytes| {
                fastrand::fill(bytes);
                Ok(())
            });
        let store = SessionStore::new(Arc::clone(&network)).with_config(config).unwrap();
        let ledger = Arc::new(Ledger::new(network));
        begin(&store, &ledger).await;
        let clients: Vec<_> = (0..CLIENTS)
            .map(|number| {
                let random = fastrand::Rng::with_seed(seed * CLIENTS + number);
                let (store, ledger) = (store.clone(), Arc::clone(&ledger));
                tokio::spawn(Client { store, ledger, random, number }.run())
            })
            .collect();
        for client in clients {
            client.await.unwrap();
        }
        // All requests in flight arrive.
        sleep(Duration::from_secs(1)).await;
        ledger.check_end();
    });
}

/// The session that all clients begin with.
async fn begin(store: &SessionStore, ledger: &Ledger) {
    let session = store.create();
    session.insert("n", 0).unwrap();
    while store.save(&session).await.is_err() {}
    ledger.issued(store.cookie_value(&session).unwrap().as_str());
}

struct Client {
    store: SessionStore,
    ledger: Arc<Ledger>,
    random: fastrand::Rng,
    number: u64,
}

impl Client {
    async fn run(mut self) {
        for request in 0..REQUESTS {
            sleep(Duration::from_millis(self.random.u64(0..12))).await;
            self.request(request).await;
        }
    }

    /// One request with one cookie.
    async fn request(&mut self, request: u64) {
        let id = self.ledger.an_id(&mut self.random);
        let session = match self.store.web().load(&id).await {
            Ok(Found::Session(session) | Found::Rotated(session)) => session,
            Ok(Found::Nothing) | Err(_) => return,
        };
        say(|| format!("{} {request} {id:.6} {session:?}", self.number));
        sleep(Duration::from_millis(self.random.u64(0..20))).await;
        match self.random.u32(0..20) {
            0..3 => self.log_out(&id, &session).await,
            3..5 => self.log_out_during_a_save(&id, &session).await,
            5..8 => drop(self.store.save(&session).await), // renews the session
            _ => self.change(&id, &session, format!("by {}.{request}", self.number)).await,
        }
    }

    async fn log_out(&mut self, id: &str, session: &Session) {
        self.ledger.logout_begins(id);
        for _ in 0..TRIES {
            let max_wait = self.max_wait();
            if let Ok(Ok(())) = timeout(max_wait, self.store.destroy(session)).await {
                return self.ledger.logged_out(id);
            }
        }
    }

    /// A clone of the session is destroyed at any moment of a save.
    async fn log_out_during_a_save(&mut self, id: &str, session: &Session) {
        self.ledger.logout_begins(id);
        // A late sign-in creates a separate session, which is destroyed.
        let is_own = self.put_something(session);
        let (moment, clone) = (self.random.u64(0..16), session.clone());
        let destruction = tokio::spawn(async move {
            sleep(Duration::from_millis(moment)).await;
            clone.destroy();
        });
        let _ = self.store.save(session).await;
        destruction.await.unwrap();
        for _ in 0..TRIES {
            if self.store.save(session).await.is_ok() {
                assert!(self.store.cookie_value(session).is_none(), "destroyed, with a cookie");
                if !is_own {
                    self.ledger.logged_out(id);
                }
                return;
            }
        }
    }

    /// Changes the session. Returns whether it signs in.
    fn put_something(&mut self, session: &Session) -> bool {
        match self.random.u32(0..8) {
            0..2 => session.regenerate(),
            2..4 => {
                session.sign_in(Owner::new("alice").unwrap());
                return true;
            }
            4 => session.extend(),
            5 => session.set_lifetime(Duration::from_secs(7200)).unwrap(),
            6 => session.reset_lifetime(),
            _ => {}
        }
        false
    }

    /// An increment with a unique mark, and perhaps a new id.
    async fn change(&mut self, id: &str, session: &Session, mark: String) {
        let signs_in = self.put_something(session);
        session.insert(&mark, true).unwrap();
        let updates_at_once = self.random.bool();
        if !updates_at_once {
            session.update("n", |n: Option<u32>| n.unwrap_or(0) + 1).unwrap();
        }
        // A clone of the session is saved at the same time, and its result is ignored.
        let is_shared = self.random.u32(0..4) == 0;
        if is_shared {
            let (store, clone) = (self.store.clone(), session.clone());
            tokio::spawn(async move { store.save(&clone).await });
        }
        let mut outcome = if is_shared { Outcome::InDoubt } else { Outcome::NotWritten };
        for attempt in 0..TRIES {
            let max_wait = self.max_wait();
            let save = async {
                if updates_at_once && attempt == 0 {
                    let one_more = |n: Option<u32>| n.unwrap_or(0) + 1;
                    return Ok(Some(self.store.update(session, "n", one_more).await?));
                }
                self.store.save(session).await.map(|_: Saved| None)
            };
            let saved: Option<Result<_>> = timeout(max_wait, save).await.ok();
            say(|| format!("{mark}: {saved:?}"));
            match saved {
                Some(Ok(number)) => {
                    self.acknowledged(id, session, number, signs_in);
                    // The clone may have got the error that the change was given up.
                    if is_shared && number.is_none() {
                        return self.ledger.changed(mark, id, Outcome::InDoubt);
                    }
                    let now = self.store.cookie_value(session);
                    let now = now.as_ref().map_or(id, |value| value.as_str());
                    self.ledger.changed(mark, now, Outcome::Written);
                    return;
                }
                Some(Err(error)) if error.nothing_was_written() => {}
                Some(Err(_)) | None => outcome = Outcome::InDoubt,
            }
            if !session.changed() {
                break; // given up, and reported
            }
            if self.random.u32(0..6) == 0 {
                session.discard_changes();
                let _ = self.store.save(session).await;
                break;
            }
        }
        self.ledger.changed(mark, id, outcome);
    }

    fn acknowledged(&self, id: &str, session: &Session, number: Option<u32>, signs_in: bool) {
        let now = self.store.cookie_value(session);
        let now = now.as_ref().map_or(id, |value| value.as_str());
        if now != id {
            self.ledger.rotated(id, now, signs_in);
        }
        self.ledger.issued(now);
        if let Some(number) = number {
            self.ledger.counted(now, number);
        }
    }

    /// The time after which a client drops the future: usually never.
    fn max_wait(&mut self) -> Duration {
        match self.random.u32(0..5) {
            0 if !self.ledger.is_calm() => Duration::from_millis(self.random.u64(0..12)),
            _ => Duration::from_secs(3600),
        }
    }
}
