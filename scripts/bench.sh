#!/bin/sh
# Measures the stores beside the bare drivers, then other session libraries, and draws the charts of the
# README. This takes about half an hour, during which the machine should be idle. Arguments are passed to
# both programs, for example: scripts/bench.sh --backend redis --seconds 5
set -eu
cd "$(dirname "$0")/.."
results=benchmarks/results
mkdir -p "$results"
cargo build --quiet --release -p benchmarks
cargo build --quiet --release --manifest-path benchmarks/peers/Cargo.toml
programs="${CARGO_TARGET_DIR:-target}/release"
peers="${CARGO_TARGET_DIR:-benchmarks/peers/target}/release/peers"
"$programs/benchmarks" "$@" --json "$results/ours.json"
"$peers" "$@" --json "$results/peers.json"
"$programs/chart" "$results/throughput.svg" "$results/latency.svg" \
    "$results/ours.json" "$results/peers.json"
