//! A few seconds on every store, as CI runs it. The program runs longer: see the README.

use std::process::Command;

fn run(arguments: &[&str]) {
    let outcome = Command::new(env!("CARGO_BIN_EXE_histories")).args(arguments).output();
    let outcome = outcome.expect("the program was built");
    let said = String::from_utf8_lossy(&outcome.stdout);
    assert!(outcome.status.success(), "{said}{}", String::from_utf8_lossy(&outcome.stderr));
    for line in said.lines().filter(|line| line.contains("skipped")) {
        // Visible in the output of the tests.
        eprintln!("{line}");
    }
}

/// One after another, because each needs the machine for itself.
#[test]
fn every_store_keeps_its_promises_while_its_server_fails_and_under_load() {
    run(&["--seconds", "8"]);
    run(&["--load", "2000"]);
}
