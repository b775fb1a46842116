//! Sessions in the cookie itself, signed or encrypted.
