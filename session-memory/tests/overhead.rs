//! The memory of a session beside its payload, measured by the growth of the process. The test has a
//! process of its own, so that nothing else grows.

#![cfg(target_os = "linux")] // Only Linux says how large a process is, without `unsafe`.

#[path = "overhead/measure.rs"]
mod measure;

/// As many sessions as leave each of the 256 shards' tables emptiest: it has just doubled.
const WORST_COUNT: usize = 262_144 / 8 * 7 * 106 / 100;

#[test]
fn a_session_costs_at_most_256_bytes_beside_its_payload() {
    let overhead = measure::bytes_per_session(WORST_COUNT).expect("Linux says how large we are");
    println!("{overhead} bytes");
    assert!((100..=256).contains(&overhead), "{overhead} bytes");
}
