//! The application servers.

use std::sync::{Mutex, PoisonError};

use session_core::{BatchLimits, Config, SessionStore};

use crate::backend::SimBackend;
use crate::setup::{ServerSetup, Setup};
use crate::sim::Sim;

/// An application server: a process that has a store of its own over the common backend, and loses
/// what it has in memory when it crashes.
pub(crate) struct Server {
    sim: Sim,
    setup: ServerSetup,
    config: Config,
    batches: Option<BatchLimits>,
    current: Mutex<(usize, SessionStore)>,
}

impl Server {
    pub(crate) fn new(sim: &Sim, setup: &Setup, server: ServerSetup) -> Self {
        let limits = BatchLimits { alone: 1, in_flight: 2, items: 3, bytes: 4 * Setup::MAX_BYTES };
        let (config, batches) = (setup.config(), setup.batches.then_some(limits));
        let store = start(sim, &config, batches);
        let current = Mutex::new((0, store));
        Self { sim: sim.clone(), setup: server, config, batches, current }
    }

    pub(crate) fn skew(&self) -> i64 {
        self.setup.skew
    }

    /// The store of the process that runs now, and how often the server has crashed before.
    pub(crate) fn store(&self) -> (usize, SessionStore) {
        let now = self.sim.now();
        let crashed = self.setup.crashes.iter().filter(|at| **at <= now).count();
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if current.0 != crashed {
            *current = (crashed, start(&self.sim, &self.config, self.batches));
        }
        current.clone()
    }

    /// When it crashes next; `u64::MAX`: never.
    pub(crate) fn next_crash(&self) -> u64 {
        let now = self.sim.now();
        self.setup.crashes.iter().copied().filter(|at| *at > now).min().unwrap_or(u64::MAX)
    }
}

fn start(sim: &Sim, config: &Config, batches: Option<BatchLimits>) -> SessionStore {
    let store = SessionStore::new(SimBackend { sim: sim.clone(), batches });
    store.with_config(config.clone()).expect("the settings are in their ranges")
}
