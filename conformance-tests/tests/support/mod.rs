//! Code that the test binaries of this crate share.

mod batch;
pub(crate) mod reference;
