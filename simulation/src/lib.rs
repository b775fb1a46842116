//! Runs session-core over a simulated store: one thread, virtual time, a seed for each schedule. See the
//! README for what is simulated and what is checked.

mod backend;
mod checks;
mod client;
mod content;
mod handle;
mod model;
mod network;
mod server;
mod setup;
mod sim;
mod world;

use std::ops::AddAssign;
use std::sync::{Arc, Mutex};

use fastrand::Rng;
use tokio::runtime::Builder;

use crate::client::{Browser, Client};
use crate::model::{Fate, Model};
use crate::network::Network;
use crate::server::Server;
use crate::setup::Setup;
use crate::sim::Sim;
use crate::world::World;

/// What became of one schedule.
#[derive(Debug)]
pub struct Report {
    /// What does not hold, the first one first.
    pub violations: Vec<String>,
    /// Every step, if asked for.
    pub trace: Vec<String>,
    /// What it consisted of.
    pub counts: Counts,
}

/// What schedules consisted of.
#[derive(Debug, Default, Clone, Copy)]
pub struct Counts {
    /// Operations of clients.
    pub operations: u64,
    /// Sessions that clients have had.
    pub sessions: u64,
    /// Sessions whose destruction was acknowledged.
    pub destroyed: u64,
    /// New ids that were given to a session.
    pub rotations: u64,
    /// Changes that were acknowledged.
    pub acknowledged: u64,
    /// Changes whose outcome their client does not know.
    pub in_doubt: u64,
    /// Changes whose client was told that nothing was written.
    pub not_written: u64,
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.operations += other.operations;
        self.sessions += other.sessions;
        self.destroyed += other.destroyed;
        self.rotations += other.rotations;
        self.acknowledged += other.acknowledged;
        self.in_doubt += other.in_doubt;
        self.not_written += other.not_written;
    }
}

/// Runs the schedule of this seed.
#[must_use]
pub fn run(seed: u64, trace: bool) -> Report {
    let mut random = Rng::with_seed(seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) ^ 0x5EED);
    fastrand::seed(random.u64(..));
    session_core::simulation::seed_revisions(Some(random.u64(..)));
    let runtime = Builder::new_current_thread().enable_time().start_paused(true).build();
    let runtime = runtime.expect("a runtime without I/O needs nothing of the system");
    let report = runtime.block_on(schedule(random, trace));
    session_core::simulation::seed_revisions(None);
    session_core::simulation::set_wall_clock(None);
    report
}

async fn schedule(mut random: Rng, trace: bool) -> Report {
    let setup = Setup::new(&mut random);
    let network = Network::new(random.fork(), setup.clone());
    let sim = Sim::new(World::new(network, &setup, trace));
    sim.with(|world| world.log(|| format!("{setup:?}")));
    let servers = setup.servers.iter().cloned();
    let servers = Arc::new(servers.map(|one| Server::new(&sim, &setup, one)).collect::<Vec<_>>());
    let mut tabs = Vec::new();
    for _ in 0..setup.browsers {
        let browser = Arc::new(Mutex::new(Browser::default()));
        for _ in 0..setup.tabs {
            let client = Client {
                sim: sim.clone(),
                setup: setup.clone(),
                servers: Arc::clone(&servers),
                browser: Arc::clone(&browser),
                random: random.fork(),
            };
            tabs.push(tokio::spawn(client.run()));
        }
    }
    for tab in tabs {
        if let Err(error) = tab.await {
            sim.with(|world| world.model.violation(format!("a client panicked: {error}")));
        }
    }
    sim.with(|world| {
        world.end();
        let counts = counts(&world.model, world.operations());
        let violations = std::mem::take(&mut world.model.violations);
        Report { violations, trace: world.take_trace(), counts }
    })
}

fn counts(model: &Model, operations: u64) -> Counts {
    let fates = |wanted: fn(&Fate) -> bool| model.fates.iter().filter(|fate| wanted(fate)).count();
    let dead = model.lineages.iter().filter(|lineage| lineage.dead).count();
    Counts {
        operations,
        sessions: model.lineages.len() as u64,
        destroyed: dead as u64,
        rotations: model.lineages.iter().map(|lineage| lineage.rotations).sum(),
        acknowledged: fates(|fate| matches!(fate, Fate::Acknowledged(_))) as u64,
        in_doubt: fates(|fate| matches!(fate, Fate::Doubt | Fate::GoneAfterDoubt)) as u64,
        not_written: fates(|fate| matches!(fate, Fate::NotWritten(_))) as u64,
    }
}
