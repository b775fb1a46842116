#!/bin/sh
# Applies each broken change to a copy of the last commit and runs the simulation there until it fails.
#
#   simulation/broken/run.sh [pattern of patch names]
#
# SCHEDULES (default 100000): how many schedules each change gets. FLAGS (default --release): for cargo.
# TARGET (default target/broken): where cargo builds. Never the usual place: cargo takes the two copies of
# the workspace for one.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
root=$(cd "$here/../.." && pwd)
copy=$(mktemp -d)
trap 'rm -rf "$copy"' EXIT
export CARGO_TARGET_DIR="${TARGET:-$root/target/broken}"
# Each change is built once and run for seconds.
export CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 CARGO_PROFILE_RELEASE_INCREMENTAL=true
git -C "$root" archive HEAD | tar -x -C "$copy"
cd "$copy"
git init -q .
missed=0
for patch in "$here"/${1:-}*.patch; do
    git apply "$patch"
    name=$(basename "$patch" .patch)
    cargo build -q -p simulation ${FLAGS---release}
    result=$(cargo run -q -p simulation ${FLAGS---release} -- --schedules "${SCHEDULES:-100000}" 2>&1) || true
    case $result in
        *--trace*) echo "$name: $(echo "$result" | tail -n 1)" ;;
        *) echo "$name: missed"; missed=$((missed + 1)) ;;
    esac
    git apply -R "$patch"
done
echo "$missed missed"
[ $missed = 0 ]
