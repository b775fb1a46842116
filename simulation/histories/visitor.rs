//! The clients: visitors with several tabs, whose requests use one session at once.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use session_core::web::Found;
use session_core::{Error, ErrorKind, Owner, Result, Session, SessionStore};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};

use crate::content::{LIST, all, content, push};
use crate::ledger::{Counts, Fate, Ledger, Seen, add};
use crate::stores::DEADLINE;

/// The value that tells the session of a visitor from one that a late sign-in began.
const ORIGIN: &str = "origin";
/// How much longer than its deadline an operation may take on a busy machine.
const SLACK: Duration = Duration::from_millis(1_500);
/// How long a client repeats what has to succeed.
const PATIENCE: Duration = Duration::from_secs(60);
const TABS: usize = 3;
/// How many requests each tab sends in one session.
const REQUESTS: usize = 16;

#[derive(Clone)]
pub(crate) struct Visitors {
    pub(crate) store: SessionStore,
    pub(crate) counts: Arc<Counts>,
    pub(crate) stop: Arc<AtomicBool>,
}

/// A handle of a request, and what its client knows of it.
struct Handle {
    session: Session,
    /// The number of the id that it was loaded with.
    cookie: usize,
    pending: Vec<u32>,
    /// What comes next would belong to another session.
    spent: bool,
}

impl Visitors {
    /// One visitor: one session after another, until the end.
    pub(crate) async fn run(self) {
        while !self.stop.load(Ordering::Relaxed) {
            let ledger = Arc::new(Ledger::default());
            if !self.begin(&ledger).await {
                continue;
            }
            add(&self.counts.sessions);
            let mut tabs = JoinSet::new();
            for _ in 0..TABS {
                let (visitors, ledger) = (self.clone(), Arc::clone(&ledger));
                tabs.spawn(async move { visitors.tab(&ledger).await });
            }
            while let Some(tab) = tabs.join_next().await {
                if tab.is_err() {
                    self.counts.violation("an operation panicked");
                }
            }
            self.audit(&ledger).await;
        }
    }

    /// Carries out one operation and counts it.
    async fn operate<T>(&self, name: &str, work: impl Future<Output = Result<T>>) -> Result<T> {
        let begins = Instant::now();
        let outcome = work.await;
        let took = begins.elapsed();
        self.counts.operation(took, Some(&outcome));
        if took > DEADLINE + SLACK {
            self.counts.violation(format!("{name} took {} ms", took.as_millis()));
        }
        outcome
    }

    /// Repeats an operation until it succeeds; `None` if it does not.
    pub(crate) async fn insist<T, F>(&self, name: &str, work: impl Fn() -> F) -> Option<T>
    where
        F: Future<Output = Result<T>>,
    {
        let begins = Instant::now();
        loop {
            match self.operate(name, work()).await {
                Ok(value) => return Some(value),
                Err(error) if error.kind() == ErrorKind::Gone => return None,
                Err(_) if begins.elapsed() > PATIENCE => {
                    self.counts.violation(format!("{name} did not succeed within {PATIENCE:?}"));
                    return None;
                }
                Err(_) => pause(30).await,
            }
        }
    }

    async fn begin(&self, ledger: &Ledger) -> bool {
        let session = self.store.create();
        session.insert(ORIGIN, 1).expect("a number can be stored");
        let saved = self.insist("create", || self.store.save(&session)).await;
        let cookie = self.store.cookie_value(&session);
        let Some((_, cookie)) = saved.zip(cookie) else {
            return false;
        };
        ledger.state().issued(cookie.into_string());
        true
    }

    async fn tab(&self, ledger: &Ledger) {
        let mut kept = None;
        for _ in 0..REQUESTS {
            let mut handle = match kept.take() {
                Some(handle) => handle,
                None => match self.load(ledger).await {
                    Some(handle) => handle,
                    None => {
                        if ledger.state().dead {
                            return;
                        }
                        pause(5).await;
                        continue;
                    }
                },
            };
            self.request(ledger, &mut handle).await;
            if chance(25) && !handle.spent {
                kept = Some(handle);
            }
            if chance(20) {
                pause(3).await;
            }
        }
    }

    async fn load(&self, ledger: &Ledger) -> Option<Handle> {
        let before = {
            let state = ledger.state();
            let last = state.cookies.len() - 1;
            let cookie = if chance(10) { fastrand::usize(..=last) } else { last };
            state.before(cookie)?
        };
        let found = self.operate("load", self.store.web().load(&before.value)).await.ok()?;
        let (seen, session) = match found {
            Found::Session(session) => (Some(content(&session)), Some(session)),
            Found::Rotated(_) => (None, None),
            Found::Nothing => {
                self.check(ledger.state().after(&before, &Seen::Nothing));
                return None;
            }
        };
        let (state, there) = (ledger.state(), seen.map(|(list, names)| all(&list, &names)));
        let seen = there.as_ref().map_or(Seen::Rotated, Seen::Session);
        self.check(state.after(&before, &seen));
        Some(Handle { session: session?, cookie: before.cookie, pending: Vec::new(), spent: false })
    }

    pub(crate) fn check(&self, violation: Option<&str>) {
        if let Some(violation) = violation {
            self.counts.violation(violation);
        }
    }

    async fn request(&self, ledger: &Ledger, handle: &mut Handle) {
        match fastrand::u32(..100) {
            0..35 => self.settled_update(ledger, handle).await,
            35..60 => {
                for _ in 0..fastrand::u32(1..=2) {
                    change(ledger, handle);
                }
                self.save(ledger, handle).await;
            }
            60..75 => {
                change(ledger, handle);
                self.dropped_save(ledger, handle).await;
            }
            75..80 => {
                handle.session.extend();
                self.save(ledger, handle).await;
            }
            80..85 => self.discard(ledger, handle).await,
            85..92 => self.two_saves(ledger, handle).await,
            92..99 => self.rotate(ledger, handle).await,
            _ if chance(15) => {
                handle.spent = true;
                self.end(ledger, &handle.session, handle.cookie).await;
            }
            _ => {}
        }
    }

    async fn settled_update(&self, ledger: &Ledger, handle: &mut Handle) {
        let change = ledger.state().new_change();
        handle.pending.push(change);
        let dead = ledger.state().dead;
        let updating = self.store.update(&handle.session, LIST, push(change));
        let updated = self.operate("update", updating).await;
        let mut state = ledger.state();
        match updated {
            Ok(list) => {
                if list.last() != Some(&change) {
                    self.counts.violation("a settled update returned the result of another one");
                }
                if dead {
                    self.counts.violation("an update was acknowledged after the session's end");
                }
                state.settled(list);
                drop(state);
                self.told(ledger, handle, Ok(()));
            }
            Err(error) => {
                drop(state);
                self.told(ledger, handle, Err(error));
                self.save_again(ledger, handle).await;
            }
        }
    }

    async fn save(&self, ledger: &Ledger, handle: &mut Handle) {
        let dead = ledger.state().dead;
        let saved = self.operate("save", self.store.save(&handle.session)).await;
        let has_failed = saved.is_err();
        if dead && !has_failed && !handle.pending.is_empty() {
            self.counts.violation("a change was acknowledged after the session's end");
        }
        self.told(ledger, handle, saved.map(drop));
        if has_failed {
            self.save_again(ledger, handle).await;
        }
    }

    /// Most clients save again after an error.
    async fn save_again(&self, ledger: &Ledger, handle: &mut Handle) {
        for _ in 0..fastrand::u32(..4) {
            if handle.pending.is_empty() {
                return;
            }
            pause(100).await;
            let saved = self.operate("save", self.store.save(&handle.session)).await;
            self.told(ledger, handle, saved.map(drop));
        }
    }

    async fn dropped_save(&self, ledger: &Ledger, handle: &mut Handle) {
        let limit = Duration::from_micros(fastrand::u64(..3_000));
        match timeout(limit, self.store.save(&handle.session)).await {
            Ok(saved) => {
                self.counts.operation(limit, Some(&saved));
                self.told(ledger, handle, saved.map(drop));
            }
            Err(_) => {
                self.counts.operation::<()>(limit, None);
                self.doubt(ledger, handle);
            }
        }
        if chance(70) {
            self.save_again(ledger, handle).await;
        }
    }

    async fn discard(&self, ledger: &Ledger, handle: &mut Handle) {
        let change = change(ledger, handle);
        handle.session.discard_changes();
        handle.pending.retain(|pending| *pending != change);
        ledger.state().set(change, Fate::NotWritten);
        // Others may have been sent before.
        self.doubt(ledger, handle);
        handle.pending.clear();
    }

    async fn two_saves(&self, ledger: &Ledger, handle: &mut Handle) {
        change(ledger, handle);
        let (first, second) = tokio::join!(
            self.operate("save", self.store.save(&handle.session)),
            self.operate("save", self.store.save(&handle.session)),
        );
        // The later one finds out what became of the earlier one.
        match (first, second) {
            (Ok(_), _) => self.told(ledger, handle, Ok(())),
            (Err(_), Ok(_)) => {
                self.doubt(ledger, handle);
                self.told(ledger, handle, Ok(()));
            }
            (Err(first), Err(second)) => {
                let in_doubt = !first.nothing_was_written() || !second.nothing_was_written();
                if in_doubt {
                    self.doubt(ledger, handle);
                }
                self.told(ledger, handle, Err(second));
            }
        }
    }

    /// What a save said, for each change that it had to write.
    fn told(&self, ledger: &Ledger, handle: &mut Handle, saved: Result<()>) {
        let (list, names) = content(&handle.session);
        let there = all(&list, &names);
        let mut state = ledger.state();
        match saved {
            Ok(()) => {
                for change in handle.pending.drain(..) {
                    if !state.is_in_doubt(change) || there.contains(&change) {
                        state.set(change, Fate::Acknowledged);
                        add(&self.counts.changes);
                    }
                }
            }
            Err(error) => {
                for change in &handle.pending {
                    let fate = match error.nothing_was_written() && !state.is_in_doubt(*change) {
                        true => Fate::NotWritten,
                        false => Fate::Doubt,
                    };
                    state.set(*change, fate);
                }
                if !handle.session.changed() || given_up(&error) {
                    handle.pending.clear();
                }
            }
        }
    }

    fn doubt(&self, ledger: &Ledger, handle: &Handle) {
        let mut state = ledger.state();
        for change in &handle.pending {
            state.set(*change, Fate::Doubt);
        }
    }

    /// Gives the session a new id. The same handle is saved until the outcome is known.
    async fn rotate(&self, ledger: &Ledger, handle: &mut Handle) {
        self.doubt(ledger, handle);
        handle.pending.clear();
        ledger.state().begin_rotation(handle.cookie);
        if chance(50) {
            handle.session.regenerate();
        } else {
            handle.session.sign_in(Owner::new("visitor").expect("it is a valid owner"));
        }
        if chance(20) {
            let limit = Duration::from_micros(fastrand::u64(..3_000));
            let saved = timeout(limit, self.store.save(&handle.session)).await;
            self.counts.operation(limit, saved.as_ref().ok());
        }
        if self.insist("rotation", || self.store.save(&handle.session)).await.is_none() {
            return;
        }
        let Some(cookie) = self.store.cookie_value(&handle.session) else {
            return;
        };
        if handle.session.contains(ORIGIN) {
            handle.cookie = ledger.state().issued(cookie.into_string());
        } else {
            // A late sign-in is a session of its own.
            handle.spent = true;
            self.insist("destroy", || self.store.destroy(&handle.session)).await;
        }
    }

    /// Ends the session: a logout is repeated until it succeeds.
    pub(crate) async fn end(&self, ledger: &Ledger, session: &Session, cookie: usize) {
        let is_last = {
            let mut state = ledger.state();
            state.ending = true;
            cookie + 1 == state.cookies.len()
        };
        let begins = Instant::now();
        let ended = self.insist("destroy", || self.store.destroy(session)).await;
        // Nothing leads from an old id to the session once the tombstone has expired.
        let is_followed = begins.elapsed() < Duration::from_secs(2);
        if ended.is_some() && (is_followed || !ledger.state().may_have_moved()) && is_last {
            ledger.state().dead = true;
        }
    }
}

fn given_up(error: &Error) -> bool {
    error.message().ends_with("are given up")
}

/// A change that is not saved yet.
fn change(ledger: &Ledger, handle: &mut Handle) -> u32 {
    let change = ledger.state().new_change();
    handle.pending.push(change);
    if chance(60) {
        // Fails where another request changed the kind of the value, which none does.
        handle.session.update(LIST, push(change)).expect("the value is a list of numbers");
    } else {
        handle.session.insert(&format!("i{change}"), 0).expect("a number can be stored");
    }
    change
}

fn chance(percent: u32) -> bool {
    fastrand::u32(..100) < percent
}

async fn pause(longest: u64) {
    sleep(Duration::from_millis(fastrand::u64(..=longest))).await;
}
