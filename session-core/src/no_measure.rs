//! In place of `measure.rs` without the feature `metrics`: nothing is measured.

use std::marker::PhantomData;

#[derive(Default)]
pub(crate) struct Metrics {}

impl Metrics {
    pub(crate) fn begin(&self, _store: &'static str, _operation: &'static str) -> Measurement<'_> {
        Measurement(PhantomData)
    }

    pub(crate) fn merged(&self) {}
}

pub(crate) struct Measurement<'a>(PhantomData<&'a Metrics>);

impl Measurement<'_> {
    pub(crate) fn is_heard(&self) -> bool {
        false
    }

    pub(crate) fn ends(&self, _outcome: &'static str) {}

    pub(crate) fn collected(&self, _records: u64) {}
}

#[derive(Default)]
pub(crate) struct BatchSizes {}

impl BatchSizes {
    pub(crate) fn sent(&self, _store: &'static str, _operation: &'static str, _items: usize) {}
}
