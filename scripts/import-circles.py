#!/usr/bin/env python3
"""Fails if two files of a crate import each other.

A file imports another one where it names it in a path: `use super::state::State` imports `state.rs`, and
`use super::Session` imports the file of the parent module, if `Session` is defined there. Declaring a
module (`mod state;`) is not an import; re-exporting from it (`pub use state::State`) is not one either,
because nothing in the file depends on it, but using the item there is.
"""

import re
import sys
from pathlib import Path

ITEM = re.compile(
    r"^\s*(?:pub(?:\([^)]*\))?\s+)?(?:const\s+|async\s+|unsafe\s+)*"
    r"(?:struct|enum|trait|fn|const|static|type|union|macro_rules!)\s+(\w+)", re.M)
USE = re.compile(r"^\s*(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);", re.M)
PATH = re.compile(r"\b((?:crate|super|self)(?:::\w+)+)")


def strip(text):
    """Without comments, strings and test modules."""
    text = re.sub(r"//[^\n]*", "", text)
    text = re.sub(r'"(?:\\.|[^"\\])*"', '""', text)
    return re.sub(r"#\[cfg\(test\)\]\s*mod \w+ \{.*?\n\}", "", text, flags=re.S)


def expand(tree):
    """The paths of a use tree."""
    tree = tree.strip()
    match = re.match(r"^((?:\w+::)*)\{(.*)\}$", tree, re.S)
    if not match:
        return [re.sub(r"\s+as\s+\w+$", "", tree)]
    prefix, inner, depth, part, paths = match[1], match[2], 0, "", []
    for char in inner + ",":
        if char == "," and depth == 0:
            if part.strip():
                paths += [prefix + path for path in expand(part)]
            part = ""
            continue
        depth += {"{": 1, "}": -1}.get(char, 0)
        part += char
    return paths


def modules(src):
    files = {}
    for file in sorted(src.rglob("*.rs")):
        parts = file.relative_to(src).with_suffix("").parts
        if "tests" in parts or parts[0] in ("bin", "main"):
            continue
        name = () if parts in (("lib",), ("main",)) else parts[:-1] if parts[-1] == "mod" else parts
        files[name] = file
    return files


def resolve(path, module, files, items, exports, seen=()):
    """The file in which the item of a path is defined, following re-exports."""
    parts = path.split("::")
    here = list(module)
    while parts and parts[0] in ("crate", "super", "self"):
        here = [] if parts[0] == "crate" else here[:-1] if parts[0] == "super" else here
        parts = parts[1:]
    while parts and tuple(here + [parts[0]]) in files:
        here, parts = here + [parts[0]], parts[1:]
    place = tuple(here)
    if not parts:
        return place
    item = parts[0]
    if item not in items.get(place, ()) and item in exports.get(place, {}) and (place, item) not in seen:
        return resolve(exports[place][item], place, files, items, exports, (*seen, (place, item)))
    return place


def circles(src):
    files = modules(src)
    texts = {name: strip(file.read_text()) for name, file in files.items()}
    items = {name: set(ITEM.findall(text)) for name, text in texts.items()}
    exports, uses = {}, {}
    for name, text in texts.items():
        exports[name], uses[name] = {}, []
        for public, tree in USE.findall(text):
            for path in expand(tree):
                item = path.split("::")[-1]
                first = path.split("::")[0]
                local = tuple([*name, first]) in files or first in ("crate", "super", "self")
                if not local:
                    continue
                path = path if first in ("crate", "super", "self") else f"self::{path}"
                exports[name].setdefault(item, path)
                rest = text.replace(tree, "", 1)
                if not public or re.search(rf"\b{re.escape(item)}\b", rest):
                    uses[name].append(path)
        body = USE.sub("", text)
        uses[name] += PATH.findall(body)
        for first in {child[-1] for child in files if child[:-1] == name and child}:
            uses[name] += [f"self::{path}" for path in re.findall(rf"\b({first}(?:::\w+)+)", body)]
    edges = {
        name: {resolve(path, name, files, items, exports) for path in uses[name]} - {name}
        for name in files
    }
    return sorted(
        (str(files[a]), str(files[b])) for a in edges for b in edges[a] if a < b and a in edges.get(b, ())
    )


def main():
    found = []
    for manifest in sorted(Path(".").glob("*/Cargo.toml")):
        found += circles(manifest.parent / "src")
    for a, b in found:
        print(f"{a} and {b} import each other")
    return bool(found)


sys.exit(main())
