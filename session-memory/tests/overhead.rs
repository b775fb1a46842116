//! The memory of a session beside its payload, measured by the growth of the process. The test has
//! its own process, so that nothing else grows.

#![cfg(target_os = "linux")] // without `unsafe`, only Linux reports the size of a process

#[path = "overhead/measure.rs"]
mod measure;

/// The number of sessions at which the tables of the 256 shards are emptiest: they have just
/// doubled.
const WORST_COUNT: usize = 262_144 / 8 * 7 * 106 / 100;

#[test]
fn a_session_costs_at_most_256_bytes_beside_its_payload() {
    let overhead =
        measure::bytes_per_session(WORST_COUNT).expect("Linux reports the size of the process");
    println!("{overhead} bytes");
    assert!((100..=256).contains(&overhead), "{overhead} bytes");
}
