//! A session in the hands of a client's request, and what its client knows.

use session_core::{CookieValue, Error, ErrorKind, Key, Result, Session, SessionId, SessionStore};

use crate::content::{ORIGIN, UPDATES, name_of};
use crate::model::Fate;
use crate::setup::Setup;
use crate::sim::Sim;

pub(crate) struct Handle {
    pub(crate) sim: Sim,
    pub(crate) store: SessionStore,
    pub(crate) session: Session,
    /// Which server holds it, and in which of its processes.
    pub(crate) server: usize,
    pub(crate) generation: usize,
    /// Of the id that it knows.
    pub(crate) key: Option<Key>,
    /// The changes that are not acknowledged, and the first save that tried to write them; 0: none.
    pending: Vec<(u32, u32)>,
    /// The number of the last save.
    saves: u32,
    /// Sessions that it has to destroy, by the keys that it knew.
    ending: Vec<Key>,
    /// When the application made a new session of it.
    pub(crate) created: u64,
    /// When it was first tried to save what is not acknowledged: a life that a save gives begins then.
    began: Option<u64>,
    pub(crate) late: bool,
    pub(crate) signs_in: bool,
    /// It has changes that have no number.
    pub(crate) others: bool,
    pub(crate) own_life: Option<u64>,
    pub(crate) oversized: bool,
    pub(crate) idle: bool,
}

pub(crate) fn key_of(cookie: &str) -> Key {
    SessionId::parse(cookie).expect("clients have only cookies of the store").key()
}

impl Handle {
    pub(crate) fn new(sim: &Sim, store: &SessionStore, session: Session, idle: bool) -> Self {
        Self {
            sim: sim.clone(),
            store: store.clone(),
            session,
            server: 0,
            generation: 0,
            key: None,
            pending: Vec::new(),
            saves: 0,
            ending: Vec::new(),
            created: sim.now(),
            began: None,
            late: false,
            signs_in: false,
            others: false,
            own_life: None,
            oversized: false,
            idle,
        }
    }

    /// A new change, and the value that tells a new session from others.
    pub(crate) fn new_change(&mut self) -> u32 {
        let change = self.sim.with(|world| world.model.new_change());
        self.pending.push((change, 0));
        if self.key.is_none() && !self.late && !self.session.contains(ORIGIN) {
            self.session.insert(ORIGIN, change).expect("a number can be stored");
        }
        change
    }

    pub(crate) fn update(&mut self) {
        let change = self.new_change();
        self.session.update(UPDATES, apply(change)).expect("the value is a list of numbers");
    }

    pub(crate) fn insert(&mut self) {
        let change = self.new_change();
        self.session.insert(&name_of(change), 0).expect("a number can be stored");
    }

    pub(crate) fn insert_too_much(&mut self) {
        let change = self.new_change();
        let value = "x".repeat(Setup::MAX_BYTES);
        self.session.insert(&name_of(change), value).expect("a text can be stored");
        self.oversized = true;
    }

    pub(crate) fn set_lifetime(&mut self, millis: u64) {
        let now = self.sim.now();
        let own = self.own_life.map_or(millis, |other| other.min(millis));
        self.own_life = Some(own);
        if let Some(key) = self.key {
            self.sim.with(|world| {
                if let Some(lineage) = world.model.lineage(&key) {
                    lineage.own_life = true;
                    lineage.alive_until = lineage.alive_until.min(now + millis);
                }
            });
        }
    }

    /// The application forgets what it changed.
    pub(crate) fn discard(&mut self) {
        self.forget_pending();
        self.session.discard_changes();
        self.signs_in = false;
        self.others = false;
        self.oversized = false;
    }

    /// Before the session is destroyed in memory, with which a new one begins.
    pub(crate) fn begin_destroy(&mut self) {
        self.created = self.sim.now();
        self.began = None;
        self.forget_pending();
        let known = self.key.take();
        if let Some(key) = self.cookie().map(|value| key_of(&value.into_string())).or(known) {
            self.ending.push(key);
            self.sim.with(|world| {
                if let Some(lineage) = world.model.lineage(&key) {
                    lineage.destroy_begun = true;
                }
            });
        }
        self.late = false;
        self.signs_in = false;
        self.others = false;
        self.oversized = false;
        self.own_life = None;
    }

    fn forget_pending(&mut self) {
        let pending = std::mem::take(&mut self.pending);
        self.sim.with(|world| {
            for (change, sent) in pending {
                if sent == 0 {
                    *world.model.fate(change) = Fate::Discarded;
                }
            }
        });
    }

    /// Before an operation that writes what is pending.
    pub(crate) fn begin_save(&mut self) {
        self.saves += 1;
        for (_, sent) in self.pending.iter_mut().filter(|(_, sent)| *sent == 0) {
            *sent = self.saves;
        }
        self.began.get_or_insert(self.sim.now());
        self.sim.with(|world| {
            let key = self.key.map(|key| world.name(&key));
            world.log(|| format!("to be saved under {key:?}: {:?}", self.pending));
        });
    }

    pub(crate) fn cookie(&self) -> Option<CookieValue> {
        self.store.cookie_value(&self.session)
    }

    /// An operation has ended: `None` when it was dropped.
    pub(crate) fn ended(&mut self, outcome: Option<&Result<()>>) {
        match outcome {
            Some(Ok(())) => self.succeeded(),
            Some(Err(error)) => self.failed(error),
            None => self.doubt(),
        }
    }

    /// Nothing is known of what is pending.
    pub(crate) fn doubt(&self) {
        self.sim.with(|world| {
            for (change, _) in &self.pending {
                *world.model.fate(*change) = Fate::Doubt;
            }
        });
    }

    fn failed(&mut self, error: &Error) {
        if !error.nothing_was_written() {
            self.doubt();
        } else {
            let kind = error.kind();
            self.sim.with(|world| {
                // It may be about what came later, and an earlier save may have found them written.
                let first = self.pending.first().map(|(_, sent)| *sent);
                let together = self.pending.iter().all(|(_, sent)| Some(*sent) == first);
                let all_doubted = together && !self.others;
                for (change, _) in &self.pending {
                    let fate = world.model.fate(*change);
                    *fate = match *fate {
                        Fate::Doubt if kind == ErrorKind::Gone && all_doubted => {
                            Fate::GoneAfterDoubt
                        }
                        Fate::Doubt | Fate::GoneAfterDoubt => *fate,
                        _ => Fate::NotWritten(kind),
                    };
                }
            });
        }
        // What session-core gave up, or will never store.
        if !self.session.changed() || error.message().ends_with("are given up") {
            self.pending.clear();
        }
    }

    fn succeeded(&mut self) {
        let now = self.sim.now();
        let began = self.began.take().unwrap_or(now);
        for key in std::mem::take(&mut self.ending) {
            self.sim.with(|world| world.model.destroyed(&key, now));
        }
        let key = self.cookie().map(|value| key_of(&value.into_string()));
        let known = key.is_none_or(|key| self.key == Some(key));
        if let (Some(key), false) = (key, known) {
            self.issued(key, began);
        }
        let Some(holder) = key.or(self.key) else {
            self.doubt();
            self.pending.clear();
            return;
        };
        self.key = Some(holder);
        let updates: Vec<u32> = self.session.get(UPDATES).ok().flatten().unwrap_or_default();
        for (change, sent) in std::mem::take(&mut self.pending) {
            let there = updates.contains(&change) || self.session.contains(&name_of(change));
            if sent == 0 {
                self.pending.push((change, sent));
                continue;
            }
            self.sim.with(|world| {
                let fate = *world.model.fate(change);
                let known = !matches!(fate, Fate::Doubt | Fate::GoneAfterDoubt);
                if known || there {
                    world.model.acknowledge(change, &holder);
                }
            });
        }
        if key.is_some() {
            self.lives_on(&holder, began);
        }
        self.signs_in = false;
        self.others = false;
    }

    /// The id of the session reaches a client, also one that a dropped save has given it.
    pub(crate) fn hand_out(&mut self) {
        let key = self.cookie().map(|value| key_of(&value.into_string()));
        if let Some(key) = key.filter(|key| self.key != Some(*key)) {
            let began = self.began.unwrap_or(self.created);
            self.issued(key, began);
            self.key = Some(key);
        }
    }

    /// The session has an id that this client did not know.
    fn issued(&mut self, key: Key, began: u64) {
        let origin: Option<u32> = self.session.get(ORIGIN).ok().flatten();
        let life = if self.idle { Setup::IDLE } else { Setup::LIFETIME };
        let created = if self.late || self.signs_in { began } else { self.created };
        self.sim.with(|world| {
            let is_new = world.model.lineage(&key).is_none();
            world.issue(key, origin);
            let lineage = world.model.lineage(&key).expect("it was issued");
            if is_new {
                lineage.own_life = self.own_life.is_some();
                lineage.alive_until = (created + Setup::LIFETIME).min(began + life);
                let own = self.own_life.unwrap_or(u64::MAX);
                lineage.alive_until = lineage.alive_until.min(began.saturating_add(own));
                lineage.ends = created + Setup::LIFETIME;
            }
        });
        self.late = false;
    }

    /// A save of a live session was acknowledged: what is certain of its life.
    fn lives_on(&self, key: &Key, began: u64) {
        self.sim.with(|world| {
            let Some(lineage) = world.model.lineage(key).filter(|lineage| !lineage.own_life) else {
                return;
            };
            let slack = Setup::DEADLINE * (1 + lineage.rotations);
            if self.signs_in {
                lineage.ends = began + Setup::LIFETIME;
            }
            let life = match (self.signs_in, self.idle) {
                (true, false) => Setup::LIFETIME,
                (true, true) => Setup::IDLE,
                // It is renewed unless little of the idle timeout has passed.
                (false, true) => Setup::IDLE / 5 * 4,
                (false, false) => return,
            };
            let until = (began + life).min(lineage.ends.saturating_sub(2 * Setup::MAX_SKEW));
            lineage.alive_until = lineage.alive_until.max(until.saturating_sub(slack));
        });
    }

    /// `SessionStore::update` returned this.
    pub(crate) fn settled(&self, change: u32, result: Vec<u32>) {
        self.sim.with(|world| {
            if result.last() != Some(&change) {
                world.model.violation("a settled update returned the result of another one");
            }
            if let Some(lineage) = self.key.as_ref().and_then(|key| world.model.lineage(key)) {
                lineage.settled.push(result);
            }
        });
    }
}

/// Puts a change at the end of the list.
pub(crate) fn apply(change: u32) -> impl Fn(Option<Vec<u32>>) -> Vec<u32> + Send + Sync + 'static {
    move |list| {
        let mut list = list.unwrap_or_default();
        list.push(change);
        list
    }
}
