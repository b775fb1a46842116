//! How much memory a session takes beside its payload:
//! `cargo run --release -p session-memory --example overhead [-- 1000000]`.
#![allow(clippy::print_stdout)]

mod measure;

fn main() {
    let count = std::env::args()
        .nth(1)
        .map_or(Ok(1_000_000), |text| text.parse())
        .expect("the argument is a number of sessions");
    match measure::bytes_per_session(count) {
        Some(bytes) => println!("{count} sessions: {bytes} bytes each beside the payload"),
        None => println!("this system does not tell how large a process is"),
    }
}
