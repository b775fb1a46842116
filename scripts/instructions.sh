#!/bin/sh
# Instructions that session-core and session-cookie take for one operation, counted by callgrind: the
# same on a busy machine. Needs valgrind (Debian: apt-get install valgrind).
set -eu
cd "$(dirname "$0")/.."
cargo build --quiet --release -p benchmarks --bin instructions
program="${CARGO_TARGET_DIR:-target}/release/instructions"
counts=$(mktemp)
trap 'rm -f "$counts"' EXIT

# The instructions of a run of so many operations.
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
