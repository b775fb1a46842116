//! Sessions in files.
