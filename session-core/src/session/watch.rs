//! An update whose caller needs the value that was written.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;

/// The results of one update, as JSON.
#[derive(Default)]
pub(crate) struct Watch(Mutex<Results>);

#[derive(Default)]
struct Results {
    /// The result of the last run.
    last: Bytes,
    /// The result that a write contained which was carried out.
    written: Option<Bytes>,
}

/// The results that a write contains.
#[derive(Clone, Default)]
pub(crate) struct Watched(Vec<(Arc<Watch>, Bytes)>);

impl Watch {
    pub(super) fn ran(&self, result: Bytes) {
        self.results().last = result;
    }

    /// The value that was written; `None` if the update was not written, as far as is known.
    pub(crate) fn written(&self) -> Option<Bytes> {
        self.results().written.clone()
    }

    /// No code panics while it holds the lock.
    fn results(&self) -> MutexGuard<'_, Results> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Watched {
    /// Records that the write was carried out.
    pub(super) fn set_written(&self) {
        for (watch, result) in &self.0 {
            watch.results().written = Some(result.clone());
        }
    }
}

impl FromIterator<Arc<Watch>> for Watched {
    fn from_iter<I: IntoIterator<Item = Arc<Watch>>>(watches: I) -> Self {
        let with_result = |watch: Arc<Watch>| {
            let last = watch.results().last.clone();
            (watch, last)
        };
        Self(watches.into_iter().map(with_result).collect())
    }
}
