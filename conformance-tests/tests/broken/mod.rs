//! Stores with one deliberate defect each, and the cases that must find it.

mod batch;
mod index;
mod life;
mod store;
mod subtle;
mod table;
mod wrapper;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use session_conformance::{Fixture, Harness};
use session_core::{Capabilities, Key, Loaded, Record, Result, Update, async_trait};

use crate::support::reference::{CLAIMS, Entry, Reference};
use batch::WrongBatch;
use index::WrongIndex;
use subtle::Subtle;
pub(crate) use table::{BROKEN, Defect};
use wrapper::WrongWrapper;

/// The reference store with one defect.
#[derive(Debug)]
pub(crate) struct Broken {
    defect: Defect,
    store: Arc<Reference>,
    /// State that only the defects need.
    memory: Arc<Memory>,
    /// State of this handle.
    cache: Mutex<HashMap<Key, Loaded>>,
}

#[derive(Debug, Default)]
struct Memory {
    /// The expiry of each record at its creation.
    first_expiries: Mutex<HashMap<Key, Instant>>,
    destroyed: Mutex<HashSet<Key>>,
    /// The records that updates replaced, the oldest first.
    versions: Mutex<HashMap<Key, Vec<Entry>>>,
    order: Mutex<Vec<Key>>,
    batch: Mutex<Vec<(Key, Record, Update)>>,
}

pub(crate) struct BrokenHarness(pub(crate) Defect);

#[async_trait]
impl Harness for BrokenHarness {
    fn name(&self) -> &str {
        "broken"
    }

    fn capabilities(&self) -> Capabilities {
        let durable =
            [Defect::ForgetsWhenReopened, Defect::IndexForgetsWhenReopened].contains(&self.0);
        Capabilities { durable, ..CLAIMS }
    }

    async fn open(&self) -> Result<Fixture> {
        let defect = self.0;
        let (store, memory) = (Reference::new(), Arc::<Memory>::default());
        let dumped = Arc::clone(&store);
        if WrongWrapper::has(defect) {
            return Ok(Fixture::connecting(move || {
                let wrapper = WrongWrapper::new(defect, Arc::clone(&store));
                async move { Ok(wrapper) }
            }));
        }
        if WrongBatch::has(defect) {
            return Ok(Fixture::new(WrongBatch::new(defect, store)));
        }
        if WrongIndex::has(defect) {
            let shared = index::Shared::default();
            return Ok(Fixture::connecting(move || {
                let store = WrongIndex::new(defect, Arc::clone(&store), &shared);
                async move { Ok(store) }
            }));
        }
        if Subtle::has(defect) {
            let shared = Arc::default();
            return Ok(Fixture::connecting(move || {
                let subtle = Subtle::new(defect, Arc::clone(&store), Arc::clone(&shared));
                async move { Ok(subtle) }
            }));
        }
        let fixture = Fixture::connecting(move || {
            let store = match defect {
                Defect::ForgetsWhenReopened => Reference::new(),
                _ => Arc::clone(&store),
            };
            let memory = Arc::clone(&memory);
            async move { Ok(Broken { defect, store, memory, cache: Mutex::default() }) }
        });
        Ok(fixture.dumping(move || {
            let dump = dumped.dump();
            async move { Ok(dump) }
        }))
    }
}
