//! Sessions in the memory of one process.
