//! What one schedule is like: everything follows from its seed.

use std::time::Duration;

use fastrand::Rng;
use session_core::Config;

/// The wall clock at the beginning of every schedule, in milliseconds since 1970.
pub(crate) const EPOCH: u64 = 1_800_000_000_000;

/// A time span in which something holds, in virtual milliseconds: from the first to before the second.
pub(crate) type Window = (u64, u64);

/// How often each kind of failure happens, of a thousand requests.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Rates {
    pub(crate) lose_request: u32,
    pub(crate) late_request: u32,
    pub(crate) lose_answer: u32,
    pub(crate) twice: u32,
    pub(crate) refuse: u32,
    pub(crate) other: u32,
    pub(crate) slow: u32,
    /// Of a thousand operations: the future is dropped.
    pub(crate) drop: u32,
}

/// One application server.
#[derive(Debug, Clone)]
pub(crate) struct ServerSetup {
    /// How far its wall clock is off, in milliseconds.
    pub(crate) skew: i64,
    /// When it crashes and starts again.
    pub(crate) crashes: Vec<u64>,
}

#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) servers: Vec<ServerSetup>,
    pub(crate) batches: bool,
    pub(crate) rates: Rates,
    /// How long a request usually is on its way, at most.
    pub(crate) delay: u64,
    /// The store answers nothing.
    pub(crate) stopped: Vec<Window>,
    /// The store refuses to store anything.
    pub(crate) full: Vec<Window>,
    pub(crate) browsers: usize,
    pub(crate) tabs: usize,
    pub(crate) requests: usize,
    /// How long a client pauses between two steps, at most.
    pub(crate) pause: u64,
    pub(crate) idle: bool,
}

impl Setup {
    pub(crate) const DEADLINE: u64 = 400;
    pub(crate) const TOMBSTONE: u64 = 1_000;
    pub(crate) const LIFETIME: u64 = 20_000;
    pub(crate) const IDLE: u64 = 6_000;
    pub(crate) const MAX_SKEW: u64 = 2_000;
    pub(crate) const MAX_BYTES: usize = 4_096;
    /// No schedule does anything new after that.
    pub(crate) const HORIZON: u64 = 20_000;

    pub(crate) fn new(random: &mut Rng) -> Self {
        let intensity = [0, 10, 40, 120, 250][random.usize(..5)];
        let rate = |random: &mut Rng| if random.bool() { random.u32(..=intensity) } else { 0 };
        let rates = Rates {
            lose_request: rate(random),
            late_request: rate(random),
            lose_answer: rate(random),
            twice: rate(random),
            refuse: rate(random),
            other: rate(random),
            slow: rate(random),
            drop: rate(random),
        };
        let delay = [0, 1, 5, 30][random.usize(..4)];
        let pause = [0, 3, 20, 200][random.usize(..4)];
        let span = 50 + 8 * (pause + delay);
        let window = |random: &mut Rng, length: u64| {
            let from = random.u64(..span);
            (from, from + length)
        };
        let mut stopped = Vec::new();
        if random.u32(..5) == 0 {
            let length = random.u64(Self::DEADLINE / 2..3 * Self::DEADLINE);
            stopped.push(window(random, length));
        }
        let mut full = Vec::new();
        if random.u32(..6) == 0 {
            let length = random.u64(5..2 * Self::DEADLINE);
            full.push(window(random, length));
        }
        let largest = [0, 50, i64::try_from(Self::MAX_SKEW).unwrap_or(0)][random.usize(..3)];
        let servers = (0..random.usize(1..=3))
            .map(|_| ServerSetup {
                skew: random.i64(-largest..=largest),
                crashes: (0..random.usize(..4).saturating_sub(2))
                    .map(|_| random.u64(1..=span))
                    .collect(),
            })
            .collect();
        Self {
            servers,
            batches: random.bool(),
            rates,
            delay,
            stopped,
            full,
            browsers: 1 + usize::from(random.u32(..4) == 0),
            tabs: random.usize(1..=4),
            requests: random.usize(1..=4),
            pause,
            idle: random.bool(),
        }
    }

    /// Nothing fails and everything is fast: then no operation fails, waits, or leaves anything behind.
    pub(crate) fn is_calm(&self) -> bool {
        let Rates { lose_request, late_request, lose_answer, twice, refuse, other, slow, drop } =
            self.rates;
        let rates = [lose_request, late_request, lose_answer, twice, refuse, other, slow, drop];
        let crashes = self.servers.iter().any(|server| !server.crashes.is_empty());
        let outages = !self.stopped.is_empty() || !self.full.is_empty();
        rates == [0; 8] && !crashes && !outages && self.delay <= 1
    }

    pub(crate) fn config(&self) -> Config {
        let millis = Duration::from_millis;
        Config::default()
            .deadline(millis(Self::DEADLINE))
            .tombstone_ttl(millis(Self::TOMBSTONE))
            .lifetime(millis(Self::LIFETIME))
            .idle_timeout(self.idle.then_some(millis(Self::IDLE)))
            .max_record_size(Self::MAX_BYTES)
            .random_source(|bytes| {
                fastrand::fill(bytes);
                Ok(())
            })
    }
}
