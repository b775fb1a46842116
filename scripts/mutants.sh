#!/usr/bin/env bash
# Mutants: changes of single expressions that some test must notice. docs/mutants.md has the results.
#
#   scripts/mutants.sh session-memory                 all mutants of a crate
#   scripts/mutants.sh session-core --shard 3/20      a twentieth of them
#   scripts/mutants.sh changed [BASE]                 those in the lines that differ from BASE (default:
#                                                     origin/main or, on main, the commit before)
#
# Needs cargo-mutants: cargo install cargo-mutants --locked. `changed` ends after MUTANTS_SECONDS (default: 300);
# mutants that were not tested by then are left for a run without a limit.
set -euo pipefail
cd "$(dirname "$0")/.."

crates=(session-core session-memory session-cookie session-http session-tower)

# A quick run of the suite: most mutants are noticed by the cases for one clause.
export CONFORMANCE_MODEL_MILLIS="${CONFORMANCE_MODEL_MILLIS:-500}"
export CARGO_PROFILE_DEV_DEBUG="${CARGO_PROFILE_DEV_DEBUG:-0}"
# The mutants are built in a copy of the sources; the dependencies are those that are built already.
export CARGO_TARGET_DIR="${CARGO_TARGET_DIR:-$PWD/target}"
out=$CARGO_TARGET_DIR/mutants

# The packages whose tests a mutant of this crate must survive. The suite, on the store in memory, is a test
# of session-core, too.
tests_of() {
    case $1 in
        session-core) echo session-core,session-memory ;;
        session-http) echo session-http,session-tower ;;
        *) echo "$1" ;;
    esac
}

run() {
    local crate=$1
    shift
    mkdir -p "$out/$crate"
    ${limit:+timeout --signal INT "$limit"} cargo mutants --package "$crate" \
        --test-package "$(tests_of "$crate")" --output "$out/$crate" --colors never --no-shuffle "$@"
}

base() {
    if [ -n "${1:-}" ]; then
        git rev-parse --verify "$1"
    elif [ "$(git rev-parse --verify --quiet origin/main)" != "$(git rev-parse HEAD)" ]; then
        git merge-base origin/main HEAD 2>/dev/null || git rev-parse HEAD~1
    else
        git rev-parse HEAD~1
    fi
}

# The mutants in the lines that changed. Fails if a test missed one, but not at the time limit.
changed() {
    local diff=$out/changed.diff end=$((SECONDS + ${MUTANTS_SECONDS:-300})) status=0 code crate
    mkdir -p "$out"
    # Without context lines: only mutants in the lines that changed.
    git diff --unified=0 "$(base "${1:-}")" -- "${crates[@]/%//src}" >"$diff"
    for crate in "${crates[@]}"; do
        grep -q "^+++ b/$crate/" "$diff" || continue
        limit=$((end - SECONDS))
        if [ "$limit" -le 0 ]; then
            echo "the time limit was reached: the mutants of $crate were not tested"
            continue
        fi
        code=0
        run "$crate" --in-diff "$diff" || code=$?
        case $code in
            0) ;;
            124 | 130)
                echo "the time limit was reached: some mutants of $crate were not tested"
                [ ! -s "$out/$crate/mutants.out/missed.txt" ] || status=1
                ;;
            *) status=1 ;;
        esac
    done
    return $status
}

limit=
case ${1:-} in
    changed) changed "${2:-}" ;;
    session-*) run "$@" ;;
    *)
        sed -n '2,12s/^# \{0,1\}//p' "$0"
        exit 1
        ;;
esac
