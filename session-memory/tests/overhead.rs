//! What a session costs beside its payload, measured as the process grows. It has a process of its
//! own so that nothing else grows.

#![cfg(target_os = "linux")] // Only Linux says how large a process is, without `unsafe`.

#[path = "../examples/overhead/measure.rs"]
mod measure;

/// As many sessions as leave each shard's table emptiest: it has just doubled.
fn worst_count() -> usize {
    let shards =
        (std::thread::available_parallelism().map_or(1, usize::from) * 4).next_power_of_two();
    let table = 262_144_usize.max(shards * 1024);
    table / 8 * 7 * 104 / 100
}

#[test]
fn a_session_costs_at_most_256_bytes_beside_its_payload() {
    let overhead = measure::bytes_per_session(worst_count()).expect("Linux says how large we are");
    println!("{overhead} bytes");
    assert!((100..=256).contains(&overhead), "{overhead} bytes");
}
