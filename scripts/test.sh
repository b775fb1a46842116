#!/usr/bin/env bash
# All checks and tests of this project.
#
#   scripts/test.sh          installs missing programs on Debian (as root), then runs all checks and tests
#   scripts/test.sh fast     the same without the tests on servers, documentation and the browser
#
# The tests start private servers (Redis, PostgreSQL, MariaDB) and a browser, on free ports in temporary
# directories, and end them.
set -euo pipefail
cd "$(dirname "$0")/.."

step() { printf '\n== %s  (after %d min)\n' "$*" $((SECONDS / 60)); }

# -- programs that the tests need ------------------------------------------------------------------

# program:Debian package. Some server programs of Debian are not on the PATH.
needed=(
    cc:gcc
    python3:python3
    redis-server:redis-server
    mariadbd:mariadb-server
    postgres:postgresql
    pgbouncer:pgbouncer
    pgpool:pgpool2
    chromium:chromium
    chromedriver:chromium-driver
)

found() {
    PATH="$PATH:/usr/sbin:/usr/local/sbin" command -v "$1" >/dev/null && return
    compgen -G "/usr/lib/postgresql/*/bin/$1" >/dev/null
}

provide() {
    local missing=() packages=() entry
    for entry in "${needed[@]}"; do
        found "${entry%%:*}" || { missing+=("${entry%%:*}"); packages+=("${entry##*:}"); }
    done
    [ ${#missing[@]} -eq 0 ] && return
    if command -v apt-get >/dev/null && [ "$(id -u)" = 0 ]; then
        step "installing ${packages[*]}"
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends \
            "${packages[@]}" >/dev/null
        return
    fi
    printf 'Missing: %s\n' "${missing[*]}" >&2
    printf 'On Debian or Ubuntu:  sudo apt-get install %s\n' "${packages[*]}" >&2
    printf 'Elsewhere: install the packages with these programs, or set SESSION_TEST_REDIS_URL,\n' >&2
    printf 'SESSION_TEST_POSTGRES_URL and SESSION_TEST_MYSQL_URL to the URLs of your servers.\n' >&2
    exit 1
}

command -v cargo >/dev/null || {
    echo 'Missing: cargo. Install Rust 1.95 or newer from https://rustup.rs' >&2
    exit 1
}
[ "${1:-}" = fast ] || provide

# -- the checks ------------------------------------------------------------------------------------

step 'format'
cargo fmt --all --check

step 'no two files import each other'
python3 scripts/import-circles.py

step 'the links of the documents, and the tests that they name'
python3 scripts/check-docs.py

step 'the broken changes of the simulation apply'
for patch in simulation/broken/*.patch; do git apply --check "$patch"; done

step 'clippy, all features'
cargo clippy --workspace --all-targets --all-features --quiet -- -D warnings

step 'each feature alone'
for manifest in session-*/Cargo.toml test-servers/Cargo.toml conformance-tests/Cargo.toml; do
    crate=$(dirname "$manifest")
    features=$(awk '/^\[/ { on = /^\[features\]/; next } on && /^[a-z]/ { print $1 }' "$manifest")
    for feature in none $features; do
        case $crate:$feature in
            *:default | session-tower-sessions:none) continue ;;
            *:none) selected='' ;;
            # This crate is for at least one version of tower-sessions.
            session-tower-sessions:metrics) selected=metrics,v0_15 ;;
            *) selected=$feature ;;
        esac
        cargo clippy --quiet -p "$crate" --no-default-features --features "$selected" -- -D warnings
    done
done

if [ "${1:-}" = fast ]; then
    step 'tests without servers'
    cargo test -p session-core -p session-memory -p session-file -p session-cookie -p session-http \
        -p session-tower -p session-actix
    exit
fi

step 'documentation'
RUSTDOCFLAGS='-D warnings' cargo doc --workspace --all-features --no-deps --quiet

step 'the public interface is the one that is written down in api/'
cargo run --quiet -p public-interface

step 'an example shows each public item'
scripts/check-examples.py

step 'packages as they would be published'
scripts/publish-check.sh --no-verify

step 'the front page and the examples on these packages'
scripts/from-packages.py

# From here on a missing server is a failure and its cases are not skipped.
export CONFORMANCE_STRICT=1

# Servers in containers are tested if a Docker engine answers. If it has no access to a registry, replacement
# images are built from the installed packages.
images() { docker image inspect redis:7 postgres:15 mariadb:10.11 >/dev/null 2>&1; }
if command -v docker >/dev/null && docker info >/dev/null 2>&1; then
    images || { step 'images for the container tests'; scripts/build-test-images.sh; } ||
        echo 'there are no images: the container tests are skipped'
    if images; then export SESSION_TEST_CONTAINERS=1; fi
fi

step 'tests: units, documentation examples, conformance of every backend, self check, browser'
cargo test --workspace --all-features --no-fail-fast

# Redis and Valkey differ, for example in the meaning of WAIT and in the output of INFO.
if command -v valkey-server >/dev/null; then
    step 'session-redis on Valkey'
    valkey=$(mktemp -d)
    trap 'rm -r "$valkey"' EXIT
    ln -s "$(command -v valkey-server)" "$valkey/redis-server"
    PATH="$valkey:$PATH" cargo test -p session-redis --all-features --tests
else
    echo 'valkey-server is missing: session-redis is tested on redis-server only'
fi

step 'a store of a stranger, outside the workspace'
cargo test --manifest-path session-conformance/examples/third-party-store/Cargo.toml

if command -v cargo-mutants >/dev/null; then
    step 'mutants in the lines that changed'
    scripts/mutants.sh changed
else
    echo 'cargo-mutants is missing: the mutants in the changed lines are not tested'
fi

# The advisories are on GitHub, so the workflow of the public host checks them.
if command -v cargo-deny >/dev/null; then
    step 'licences and sources of the dependencies'
    cargo deny --all-features check bans licenses sources
else
    echo 'cargo-deny is missing: licences and sources of the dependencies are not checked'
fi
