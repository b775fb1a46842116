//! The clients: browsers whose requests the application servers answer.

mod operate;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fastrand::Rng;
use session_core::web::{CookieChange, Found};
use session_core::{ErrorKind, Owner, Session, SessionStore};

use crate::content::{UPDATES, name_of};
use crate::handle::{Handle, apply, key_of};
use crate::server::Server;
use crate::setup::Setup;
use crate::sim::Sim;

/// How many handles a browser's requests keep for later ones.
const KEPT: usize = 3;

/// What the tabs of one browser share.
#[derive(Default)]
pub(crate) struct Browser {
    cookie: Option<String>,
    old: Vec<String>,
    kept: Vec<Handle>,
}

/// One tab: it sends one request after another.
pub(crate) struct Client {
    pub(crate) sim: Sim,
    pub(crate) setup: Setup,
    pub(crate) servers: Arc<Vec<Server>>,
    pub(crate) browser: Arc<Mutex<Browser>>,
    pub(crate) random: Rng,
}

impl Client {
    pub(crate) async fn run(mut self) {
        for _ in 0..self.setup.requests {
            if self.sim.now() > Setup::HORIZON {
                return;
            }
            self.request().await;
            self.pause().await;
        }
    }

    fn browser(&self) -> MutexGuard<'_, Browser> {
        self.browser.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn chance(&mut self, percent: u32) -> bool {
        self.random.u32(..100) < percent
    }

    async fn pause(&mut self) {
        let longest = match self.random.u32(..60) {
            0 => Setup::LIFETIME / 2,
            1 => Setup::TOMBSTONE * 2,
            2 => Setup::DEADLINE,
            _ => self.setup.pause,
        };
        let pause = self.random.u64(..=longest);
        self.sim.sleep(pause).await;
    }

    async fn request(&mut self) {
        let Some(mut handle) = self.begin().await else {
            return;
        };
        for _ in 0..self.random.u32(1..=3) {
            self.act(&mut handle).await;
            if self.has_crashed(&handle) {
                return;
            }
            if self.chance(40) {
                self.pause().await;
            }
        }
        if self.has_crashed(&handle) {
            return;
        }
        if !self.chance(5) {
            handle.hand_out();
            self.answer(&handle);
        }
        if self.chance(25) {
            let mut browser = self.browser();
            browser.kept.push(handle);
            if browser.kept.len() > KEPT {
                browser.kept.remove(0);
            }
        }
    }

    fn has_crashed(&self, handle: &Handle) -> bool {
        self.servers[handle.server].store().0 != handle.generation
    }

    /// The handle of a request: one that was kept, or the session of the cookie.
    async fn begin(&mut self) -> Option<Handle> {
        if self.chance(25) {
            let kept = self.browser().kept.pop();
            if let Some(handle) = kept.filter(|handle| !self.has_crashed(handle)) {
                return Some(handle);
            }
        }
        let server = self.random.usize(..self.servers.len());
        let (generation, store) = self.servers[server].store();
        let mut cookie = self.browser().cookie.clone();
        if self.chance(15) {
            let old = self.browser().old.clone();
            let any = self.random.usize(..=old.len());
            cookie = old.get(any).cloned().or(cookie);
        }
        let mut handle = match cookie {
            None => self.create(server, &store),
            Some(cookie) => self.load(server, &store, &cookie).await?,
        };
        (handle.server, handle.generation) = (server, generation);
        Some(handle)
    }

    fn create(&self, server: usize, store: &SessionStore) -> Handle {
        self.sim.set_wall_clock(self.servers[server].skew());
        Handle::new(&self.sim, store, store.create(), self.setup.idle)
    }

    async fn load(&mut self, server: usize, store: &SessionStore, cookie: &str) -> Option<Handle> {
        let key = key_of(cookie);
        let before = self.sim.with(|world| world.model.before(&key));
        let found = self.operate("load", server, store.web().load(cookie)).await?;
        let now = self.sim.now();
        let (sim, idle) = (self.sim.clone(), self.setup.idle);
        let handle = |session| Handle::new(&sim, store, session, idle);
        match (found, before) {
            (Ok(Found::Session(session)), before) => {
                if let Some(before) = before {
                    let has = contains(&session);
                    self.sim.with(|world| world.model.found(before, has));
                }
                let mut handle = handle(session);
                handle.key = Some(key);
                Some(handle)
            }
            (Ok(other), before) => {
                if let Some(before) = before {
                    self.sim.with(|world| world.model.not_found(&key, before, now));
                }
                let mut handle = match other {
                    Found::Rotated(session) if !self.chance(20) => {
                        let mut handle = handle(session);
                        handle.late = true;
                        handle.key = Some(key);
                        handle
                    }
                    _ => self.create(server, store),
                };
                handle.created = now;
                Some(handle)
            }
            (Err(error), _) => {
                if error.kind() != ErrorKind::Unavailable && error.kind() != ErrorKind::Other {
                    self.violation(&format!("a load failed: {error}"));
                }
                None
            }
        }
    }

    /// The response arrives.
    fn answer(&self, handle: &Handle) {
        let change = handle.store.web().cookie_change(&handle.session);
        let mut browser = self.browser();
        let cookie = match change {
            CookieChange::Keep => return,
            CookieChange::Set(value) | CookieChange::Renew(value) => Some(value.into_string()),
            CookieChange::Remove => None,
        };
        if browser.cookie != cookie {
            let old = std::mem::replace(&mut browser.cookie, cookie);
            browser.old.extend(old);
        }
    }

    async fn act(&mut self, handle: &mut Handle) {
        self.sim.set_wall_clock(self.servers[handle.server].skew());
        let what = self.random.u32(..100);
        handle.others |= (50..66).contains(&what) || (73..79).contains(&what);
        match what {
            0..25 => {
                handle.update();
                self.maybe_save(handle).await;
            }
            25..35 => {
                handle.insert();
                self.maybe_save(handle).await;
            }
            35..50 => self.settle(handle).await,
            50..58 => {
                if self.chance(50) {
                    handle.update();
                }
                handle.signs_in = true;
                handle.session.sign_in(Owner::new("alice").expect("it is short"));
                self.save(handle).await;
            }
            58..66 => {
                handle.session.regenerate();
                if self.chance(50) {
                    handle.update();
                }
                self.save(handle).await;
            }
            66..73 => self.destroy(handle).await,
            73..77 => {
                handle.session.extend();
                self.save(handle).await;
            }
            77..79 => self.set_lifetime(handle).await,
            79..82 => {
                handle.insert_too_much();
                self.save(handle).await;
                handle.discard();
            }
            82..86 => handle.discard(),
            86..92 => self.save_together(handle).await,
            92..95 => self.is_alive(handle).await,
            _ => self.save(handle).await,
        }
    }

    async fn maybe_save(&mut self, handle: &mut Handle) {
        if self.chance(75) {
            self.save(handle).await;
        }
    }

    async fn save(&mut self, handle: &mut Handle) {
        handle.begin_save();
        let (store, session) = (handle.store.clone(), handle.session.clone());
        let saved = self.operate("save", handle.server, store.save(&session)).await;
        let saved = saved.map(|saved| saved.map(drop));
        if handle.oversized && matches!(saved, Some(Ok(()))) && handle.cookie().is_some() {
            self.violation("a session beyond the limit was saved");
        }
        handle.ended(saved.as_ref());
    }

    async fn settle(&mut self, handle: &mut Handle) {
        let change = handle.new_change();
        handle.begin_save();
        let (store, session) = (handle.store.clone(), handle.session.clone());
        let update = store.update(&session, UPDATES, apply(change));
        let result = self.operate("update", handle.server, update).await;
        match result {
            Some(Ok(list)) => {
                handle.ended(Some(&Ok(())));
                handle.settled(change, list);
            }
            Some(Err(error)) => handle.ended(Some(&Err(error))),
            None => handle.ended(None),
        }
    }

    async fn destroy(&mut self, handle: &mut Handle) {
        handle.begin_destroy();
        let (store, session) = (handle.store.clone(), handle.session.clone());
        let destroyed = if self.chance(70) {
            self.operate("destroy", handle.server, store.destroy(&session)).await
        } else {
            session.destroy();
            let saved = self.operate("save", handle.server, store.save(&session)).await;
            saved.map(|saved| saved.map(drop))
        };
        handle.ended(destroyed.as_ref());
    }

    async fn set_lifetime(&mut self, handle: &mut Handle) {
        let millis = match self.random.u32(..3) {
            0 => Setup::LIFETIME * 2,
            1 => Setup::IDLE / 2,
            _ => {
                handle.session.reset_lifetime();
                handle.set_lifetime(if self.setup.idle { Setup::IDLE } else { Setup::LIFETIME });
                return self.save(handle).await;
            }
        };
        let lifetime = std::time::Duration::from_millis(millis);
        handle.session.set_lifetime(lifetime).expect("it is not zero");
        handle.set_lifetime(millis);
        self.save(handle).await;
    }

    /// Two tasks save one session at once, or one saves and another one destroys it.
    async fn save_together(&mut self, handle: &mut Handle) {
        handle.update();
        handle.begin_save();
        // A late sign-in begins another session, which would be the one that is destroyed.
        let destroys = self.chance(30) && !handle.signs_in;
        if destroys {
            handle.doubt();
            handle.begin_destroy();
        }
        let (store, session) = (handle.store.clone(), handle.session.clone());
        let second = async {
            match destroys {
                true => store.destroy(&session).await,
                false => store.save(&session).await.map(drop),
            }
        };
        let mut other = self.fork();
        let (first, second) = tokio::join!(
            self.operate("save", handle.server, store.save(&session)),
            other.operate("second", handle.server, second),
        );
        let first = first.map(|saved| saved.map(drop));
        if destroys {
            // The first one may have done it.
            return handle.ended(second.as_ref());
        }
        // One of them may have been told what became of the changes of both.
        if !matches!((&first, &second), (Some(Ok(())), Some(Ok(())))) {
            handle.doubt();
        }
        let best = if matches!(first, Some(Ok(()))) { first } else { second };
        handle.ended(best.as_ref());
    }

    fn fork(&mut self) -> Self {
        Self {
            sim: self.sim.clone(),
            setup: self.setup.clone(),
            servers: Arc::clone(&self.servers),
            browser: Arc::clone(&self.browser),
            random: self.random.fork(),
        }
    }

    async fn is_alive(&mut self, handle: &Handle) {
        let Some(key) = handle.key.filter(|_| handle.cookie().is_some()) else {
            return;
        };
        let before = self.sim.with(|world| world.model.before(&key));
        let alive =
            self.operate("is_alive", handle.server, handle.store.is_alive(&handle.session)).await;
        if let (Some(Ok(alive)), Some(before)) = (alive, before) {
            let now = self.sim.now();
            self.sim.with(|world| match alive {
                true => world.model.found(before, |_| true),
                false => world.model.not_found(&key, before, now),
            });
        }
    }

    fn violation(&self, what: &str) {
        self.sim.with(|world| world.model.violation(what));
    }
}

/// Whether a change is in the session.
fn contains(session: &Session) -> impl Fn(u32) -> bool {
    let updates: Vec<u32> = session.get(UPDATES).ok().flatten().unwrap_or_default();
    let names = session.keys();
    move |change| updates.contains(&change) || names.contains(&name_of(change))
}
