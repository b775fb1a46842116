#!/bin/sh
# Counts the instructions of one operation of session-core and session-cookie with callgrind. The counts do
# not depend on the load of the machine. Needs valgrind (Debian: apt-get install valgrind).
set -eu
cd "$(dirname "$0")/.."
cargo build --quiet --release -p benchmarks --bin instructions
program="${CARGO_TARGET_DIR:-target}/release/instructions"
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT

# The instructions of a run with this number of operations.
count() {
    valgrind --tool=callgrind --callgrind-out-file=/dev/null "$program" "$1" "$2" 2>"$counts" ||
        { cat "$counts" >&2; exit 1; }
    sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$counts"
}

echo "| operation | instructions |"
echo "|---|---|"
for name in key decode decode_get encode rebase create seal open; do
    few=$(count "$name" 1000)
    many=$(count "$name" 3000)
    echo "| $name | $(((many - few) / 2000)) |"
done
