//! Applications on the real tower-sessions and axum-login, over the stores of this family.
#![allow(clippy::unwrap_used)]
mod app;
mod browser;
mod caching;
mod flows;
mod login;
mod outages;
mod saves;
mod stores;
mod watched;
