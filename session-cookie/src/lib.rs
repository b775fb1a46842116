#![doc = include_str!("../README.md")]

#[cfg(feature = "encryption")]
mod encrypted;
mod envelope;
mod key;
mod protection;
mod signed;
mod size;
mod store;
mod weakness;

pub use key::SecretKey;
pub use store::CookieStore;
