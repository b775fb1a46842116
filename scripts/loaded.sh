#!/usr/bin/env bash
# Runs a command several times while other processes keep every core busy. It ends at the first failure. It
# shows tests that depend on the speed of the machine.
#
#   scripts/loaded.sh 10 cargo test --workspace --all-features
#   scripts/loaded.sh 10 cargo test -p conformance-tests --test conformance -- memory::
set -euo pipefail
cd "$(dirname "$0")/.."

[ $# -ge 2 ] || { sed -n '2,7s/^# \{0,1\}//p' "$0"; exit 1; }
runs=$1
shift

busy=()
stop() { [ ${#busy[@]} -eq 0 ] || kill "${busy[@]}" 2>/dev/null || true; }
trap stop EXIT
for _ in $(seq "$(nproc)"); do
    while :; do :; done &
    busy+=($!)
done

log=$(mktemp)
for run in $(seq "$runs"); do
    begin=$SECONDS
    if ! "$@" >"$log" 2>&1; then
        cat "$log"
        echo "run $run of $runs failed after $((SECONDS - begin)) s" >&2
        exit 1
    fi
    echo "run $run of $runs passed in $((SECONDS - begin)) s"
done
rm -f "$log"
