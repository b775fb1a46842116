//! What the handlers of one server share.

use std::sync::Arc;

use axum::extract::FromRef;
use metrics_exporter_prometheus::PrometheusHandle;
use session_core::{Backend, SessionStore};

use crate::naive::NaiveStore;
use crate::outage::Outage;

#[derive(Clone)]
pub(crate) struct App {
    pub(crate) store: SessionStore,
    /// The records, as a thief of the store sees them. `None` if the sessions are in the cookies.
    pub(crate) records: Option<Arc<dyn Backend>>,
    pub(crate) outage: Outage,
    pub(crate) naive: NaiveStore,
    /// The URLs of all servers on this store.
    pub(crate) servers: Arc<[String]>,
    /// The place of this one among them.
    pub(crate) place: usize,
    pub(crate) metrics: PrometheusHandle,
}

impl FromRef<App> for SessionStore {
    fn from_ref(app: &App) -> Self {
        app.store.clone()
    }
}
