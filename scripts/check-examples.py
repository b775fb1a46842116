#!/usr/bin/env python3
"""Finds public items that no example shows.

    cargo run -p public-interface && scripts/check-examples.py

An item is shown if its name stands in a code block: in the documentation of any of the crates, in their READMEs, or on
the pages of docs/ whose code the tests compile. Methods and fields are not checked.
"""
import json
import os
import pathlib
import re
import sys

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent
KINDS = {"struct", "enum", "trait", "function", "constant", "type_alias", "macro"}
# Names of what a service returns: nobody writes them.
NOT_WRITTEN = {"ResponseFuture", "SameOriginFuture"}


def blocks(text):
    return "\n".join(re.findall(r"```[^\n]*\n(.*?)```", text or "", re.S))


def public_items(index, number, path=""):
    """Each public item below this one, with its path."""
    item = index.get(str(number))
    if item is None or item["crate_id"] != 0:
        return
    (kind, inner), = item["inner"].items()
    if kind == "use":
        if inner["id"] is not None and not inner["is_glob"]:
            yield from public_items(index, inner["id"], path)
    elif kind == "module":
        below = f"{path}{item['name']}::"
        for number in inner["items"]:
            yield from public_items(index, number, below)
    elif kind in KINDS:
        yield item["name"], path + item["name"]


def main():
    documentation = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", REPOSITORY / "target")) / "doc"
    crates = [json.loads(file.read_text()) for file in sorted(documentation.glob("session_*.json"))]
    if not crates:
        sys.exit("there is no documentation: cargo run -p public-interface writes it")
    texts = [item["docs"] for crate in crates for item in crate["index"].values() if item["crate_id"] == 0]
    pages = ["README.md", "docs/coming-from.md", "docs/write-a-store.md", *REPOSITORY.glob("session-*/README.md")]
    texts += [(REPOSITORY / page).read_text() for page in pages]
    shown = set(re.findall(r"\w+", "\n".join(map(blocks, texts)))) | NOT_WRITTEN
    items = [item for crate in crates for item in public_items(crate["index"], crate["root"])]
    missing = [path for name, path in items if name not in shown]
    for path in missing:
        print(f"no example shows {path}")
    sys.exit(1 if missing else 0)


if __name__ == "__main__":
    main()
