//! Removes expired sessions in the background of requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use session_core::{Error, Result, SessionStore};

use crate::failure::log;

/// How long after a collection the next one may start. Otherwise a thousand requests a second would keep a store
/// collecting all the time.
const REST: Duration = Duration::from_secs(1);

/// Starts `gc` at random requests, in the background, one at a time.
#[derive(Debug, Clone)]
pub(crate) struct Gc {
    probability: f64,
    running: Arc<AtomicBool>,
}

impl Gc {
    pub(crate) fn new(probability: f64) -> Result<Self> {
        if !(0.0..=1.0).contains(&probability) {
            return Err(Error::invalid_config(
                "the probability of a garbage collection must be a number from 0 (never) to 1",
            ));
        }
        Ok(Self { probability, running: Arc::default() })
    }

    fn is_chosen(&self) -> bool {
        fastrand::f64() < self.probability
    }

    pub(crate) fn maybe_start(&self, store: &SessionStore) {
        if !self.is_chosen() || store.guarantees().expires_natively {
            return;
        }
        if self.running.swap(true, Ordering::AcqRel) {
            return;
        }
        let running = Running(Arc::clone(&self.running));
        let store = store.clone();
        tokio::spawn(async move {
            let _running = running;
            // A task of its own, for panics.
            match tokio::spawn(async move { store.gc().await }).await {
                Ok(Ok(removed)) => tracing::debug!(removed, "removed expired sessions"),
                Ok(Err(error)) => log("expired sessions were not removed", &error),
                Err(error) if error.is_panic() => {
                    tracing::error!(
                        "the removal of expired sessions panicked; a later request tries again"
                    );
                }
                Err(_) => {}
            }
            tokio::time::sleep(REST).await;
        });
    }
}

impl Default for Gc {
    fn default() -> Self {
        Self { probability: 0.02, running: Arc::default() }
    }
}

/// Allows the next collection to start when it is dropped, also after a panic.
struct Running(Arc<AtomicBool>);

impl Drop for Running {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_probability_is_between_0_and_1() {
        for bad in [-0.1, 1.1, f64::NAN, f64::INFINITY] {
            assert!(Gc::new(bad).is_err(), "{bad}");
        }
        assert!(Gc::new(0.0).is_ok() && Gc::new(1.0).is_ok());
    }

    #[test]
    fn about_2_percent_of_the_requests_are_chosen() {
        let gc = Gc::default();
        let chosen = (0..20_000).filter(|_| gc.is_chosen()).count();
        // 400 ± 20; a run outside of ± 5 standard deviations is one in a million.
        assert!((300..=500).contains(&chosen), "{chosen}");
    }
}
