//! Code that the test binaries of this crate share.

pub(crate) mod reference;
#[cfg_attr(not(test), expect(dead_code))]
pub(crate) mod valid;
