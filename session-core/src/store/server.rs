//! Sessions on a server: the cookie contains the session id.

use std::sync::Arc;

use super::calls::Calls;
use super::context::Context;
use crate::Backend;
use crate::batcher::Batcher;

#[derive(Clone)]
pub(super) struct Server {
    pub(super) backend: Arc<dyn Backend>,
    batcher: Option<Arc<Batcher>>,
}

impl Server {
    pub(super) fn new(backend: Arc<dyn Backend>) -> Self {
        let batcher = Batcher::new(&backend).map(Arc::new);
        Self { backend, batcher }
    }

    pub(super) fn calls(&self, context: &Context) -> Calls<'_> {
        Calls::new(&*self.backend, self.batcher.as_deref(), context.config.deadline)
    }
}
