//! Code that the test binaries of this crate share.

pub(crate) mod reference;
