//! Code that the test binaries of this crate share.

mod batch;
mod index;
pub(crate) mod reference;
