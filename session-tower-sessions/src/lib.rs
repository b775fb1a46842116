#![cfg_attr(docsrs, feature(doc_cfg))]
#![doc = include_str!("../README.md")]

mod payload;
mod store;
mod versions;

pub use session_core;
pub use store::{OnMissing, TowerStore};
