//! What happens to the requests of the application servers on their way to the store and back.

use fastrand::Rng;

use crate::setup::{Setup, Window};

/// What becomes of one request. All times are virtual milliseconds.
#[derive(Debug)]
pub(crate) struct Trip {
    /// When the store carries it out: never, once or twice.
    pub(crate) arrivals: Vec<u64>,
    pub(crate) outcome: Outcome,
}

/// What the sender learns.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Outcome {
    /// The store's answer to this copy of the request.
    Answer { at: u64, of: usize },
    /// The connection breaks: nothing is known.
    Broken { at: u64 },
    /// An error that the store's driver does not know.
    Other { at: u64 },
    /// A refusal: nothing was carried out.
    Refused { at: u64 },
    /// Nothing, ever.
    Never,
}

/// The kinds of requests that the network treats differently.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Create,
    /// An update of a session, not a tombstone.
    Update,
    Other,
}

#[derive(Debug)]
pub(crate) struct Network {
    random: Rng,
    setup: Setup,
}

impl Network {
    pub(crate) fn new(random: Rng, setup: Setup) -> Self {
        Self { random, setup }
    }

    /// The order of requests that arrive in the same millisecond.
    pub(crate) fn tie(&mut self) -> u32 {
        self.random.u32(..)
    }

    /// Whether one item of a batch is refused although the others are not.
    pub(crate) fn spoils_item(&mut self) -> bool {
        self.happens(self.setup.rates.refuse / 2)
    }

    pub(crate) fn is_full(&self, now: u64) -> bool {
        self.setup.full.iter().any(|window| holds(*window, now))
    }

    fn happens(&mut self, per_mille: u32) -> bool {
        per_mille > 0 && self.random.u32(..1000) < per_mille
    }

    fn delay(&mut self) -> u64 {
        if self.happens(self.setup.rates.slow) {
            return self.random.u64(..Setup::DEADLINE);
        }
        self.random.u64(..=self.setup.delay)
    }

    /// Much later than the sender waits for an answer.
    fn long_delay(&mut self) -> u64 {
        self.random.u64(1..4 * Setup::DEADLINE)
    }

    fn failure(&mut self, at: u64) -> Outcome {
        match self.random.u32(..4) {
            0 => Outcome::Never,
            1 if self.setup.rates.other > 0 => Outcome::Other { at },
            _ => Outcome::Broken { at },
        }
    }

    /// A request that leaves now.
    ///
    /// Where a request is sent twice, two things can't be told from something else, whatever the sender
    /// does, so they do not happen. A late copy of a create is a new record for a store that knows
    /// nothing of the first any more: both copies arrive together. The answer to the second copy of an
    /// update is that of a request that was overtaken: the sender gets the first one. (A tombstone is
    /// never replaced, so for it either answer will do.)
    pub(crate) fn send(&mut self, now: u64, kind: Kind) -> Trip {
        let rates = self.setup.rates;
        let there = now + self.delay();
        let back = there + self.delay();
        let mut trip = if self.happens(rates.refuse) {
            Trip { arrivals: vec![], outcome: Outcome::Refused { at: back } }
        } else if self.happens(rates.lose_request) {
            Trip { arrivals: vec![], outcome: self.failure(back) }
        } else if self.happens(rates.late_request) {
            let late = now + self.long_delay();
            Trip { arrivals: vec![late], outcome: self.failure(back) }
        } else if self.happens(rates.lose_answer) {
            Trip { arrivals: vec![there], outcome: self.failure(back) }
        } else if self.happens(rates.other) {
            Trip { arrivals: vec![there], outcome: Outcome::Other { at: back } }
        } else if self.happens(rates.twice) {
            let late = kind != Kind::Create && self.random.bool();
            let second = match kind {
                Kind::Create => there,
                _ if late => there + self.long_delay(),
                _ => self.random.u64(there..=back),
            };
            let of = usize::from(kind != Kind::Update && !late && self.random.bool());
            Trip { arrivals: vec![there, second], outcome: Outcome::Answer { at: back, of } }
        } else {
            Trip { arrivals: vec![there], outcome: Outcome::Answer { at: back, of: 0 } }
        };
        self.stop(&mut trip);
        trip
    }

    /// While the store is stopped, it neither carries out nor answers any operation.
    fn stop(&mut self, trip: &mut Trip) {
        for window in self.setup.stopped.clone() {
            for at in &mut trip.arrivals {
                if holds(window, *at) {
                    *at = window.1;
                }
            }
            if let Outcome::Answer { at, .. } = &mut trip.outcome
                && holds(window, *at)
            {
                *at = window.1 + self.random.u64(..=self.setup.delay);
            }
        }
    }
}

fn holds(window: Window, at: u64) -> bool {
    window.0 <= at && at < window.1
}
