#!/usr/bin/env bash
# Packages every crate that is not `publish = false`, in dependency order, and builds each from its package,
# as `cargo publish` would. Nothing is uploaded.
#
#   scripts/publish-check.sh
set -euo pipefail
cd "$(dirname "$0")/.."

# What crates.io and docs.rs need, and cargo only warns of.
python3 - <<'PYTHON'
import json, pathlib, re, subprocess, sys

metadata = json.loads(subprocess.check_output(["cargo", "metadata", "--format-version", "1", "--no-deps"]))
faults = []
for package in metadata["packages"]:
    if package["publish"] == []:
        continue
    name, folder = package["name"], pathlib.Path(package["manifest_path"]).parent
    for member in ("description", "license", "readme", "rust_version"):
        if not package[member]:
            faults.append(f"{name}: {member} is missing")
    for member in ("keywords", "categories"):
        if not 1 <= len(package[member]) <= 5:
            faults.append(f"{name}: needs one to five {member}")
    if not ((package["metadata"] or {}).get("docs") or {}).get("rs", {}).get("all-features"):
        faults.append(f"{name}: [package.metadata.docs.rs] all-features is missing")
    for text in ("LICENSE-MIT", "LICENSE-APACHE", "README.md"):
        if not (folder / text).is_file():
            faults.append(f"{name}: {text} is missing")
    if (folder / "README.md").is_file():
        for link in re.findall(r"\]\(([^)#]+)", (folder / "README.md").read_text()):
            if not re.match(r"https?://|\w+(::\w+)+$", link):
                faults.append(f"{name}: the README links to {link}, which is not in the package")
sys.exit("\n".join(faults) or None)
PYTHON

# In a new directory each time: cargo takes what it unpacked and built of a version for unchanged, and a second run
# would build against the crates of the first one.
target=$(mktemp -d)
trap 'rm -rf "$target"' EXIT
CARGO_TARGET_DIR=$target cargo publish --workspace --dry-run --allow-dirty --quiet "$@"
