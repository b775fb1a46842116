#!/usr/bin/env python3
"""Checks that each relative link in the documents leads to a file, and that each test or case that they name exists."""
import pathlib
import re
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent
files = subprocess.run(["git", "ls-files", "--cached", "--others", "--exclude-standard"], cwd=root,
                       capture_output=True, text=True, check=True).stdout.split()
documents = [root / name for name in files if name.endswith(".md")]
sources = "\n".join((root / name).read_text() for name in files if name.endswith(".rs"))
tests = set(re.findall(r"\bfn (\w+)", sources))
problems = []
for document in documents:
    text = re.sub(r"```.*?```", "", document.read_text(), flags=re.S)
    for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        # Links to items of the crate's documentation are rustdoc's business.
        if "::" in link or re.match(r"[a-z]+:", link) or not re.search(r"[/.]", link):
            continue
        if not (document.parent / link).exists():
            problems.append(f"{document.relative_to(root)}: no file {link}")
    # Long names in these pages are tests or literals of the sources (names of metrics), and group::name is a case.
    if document.parent.name == "docs":
        for name in re.findall(r"`(?:[a-z_]+::)?([a-z0-9]+(?:_[a-z0-9]+){3,})`", text):
            if name not in tests and f'"{name}"' not in sources:
                problems.append(f"{document.relative_to(root)}: no test {name}")
        for group, name in re.findall(r"`([a-z_]+)::([a-z_0-9]+)`", text):
            if name not in tests and group not in ("session_core", "session_cookie"):
                problems.append(f"{document.relative_to(root)}: no case {group}::{name}")
print("\n".join(problems))
sys.exit(bool(problems))
