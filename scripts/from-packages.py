#!/usr/bin/env python3
"""Uses the packages of the crates as a stranger would, offline and with an empty directory as cargo's home.

    scripts/from-packages.py

Runs the commands on the front page and asks its first application, builds each crate from its package, and runs the
tests of examples/, which start each example and compile the code in docs/. The registry is a directory with the
packages and all that they need.
"""
import http.client
import json
import os
import pathlib
import re
import shutil
import socket
import subprocess
import tempfile
import time

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent


def run(*command, at, **environment):
    subprocess.run(command, cwd=at, env=os.environ | environment, check=True)


def published():
    """The names of the crates that are published."""
    command = ["cargo", "metadata", "--format-version", "1", "--no-deps"]
    metadata = json.loads(subprocess.check_output(command, cwd=REPOSITORY))
    return [package["name"] for package in metadata["packages"] if package["publish"] != []]


def pack(crates, work):
    """Makes the packages, and returns the directory of each."""
    selected = [f"--package={name}" for name in crates]
    flags = ["--no-verify", "--allow-dirty", "--quiet"]
    run("cargo", "package", *flags, *selected, at=REPOSITORY, CARGO_TARGET_DIR=str(work / "packing"))
    packages = work / "packages"
    packages.mkdir()
    for package in (work / "packing/package").glob("*.crate"):
        shutil.unpack_archive(package, packages, "gztar")
    return {name: next(packages.glob(f"{name}-[0-9]*")) for name in crates}


def project(crates, work):
    """Makes a workspace outside the repository: the examples, the documents that they test, and a crate that depends on every package."""
    project = work / "project"
    for name in ("examples", "test-servers", "docs"):
        shutil.copytree(REPOSITORY / name, project / name)
    for name in ("Cargo.lock", "README.md"):
        shutil.copy(REPOSITORY / name, project)
    text = (REPOSITORY / "Cargo.toml").read_text()
    members = '\nmembers = ["all", "examples", "test-servers"]'
    text = re.sub(r"\nmembers = \[.*?\]", members, text, flags=re.S)
    text = re.sub(r"\n(default-members|exclude) = \[.*?\]", "", text, flags=re.S)
    text = re.sub(r', path = "session-[^"]*"', "", text)
    (project / "Cargo.toml").write_text(text)
    # axum and tokio as the front page adds them, so that the registry has what they need.
    needed = ['axum = "0.8"', 'tokio = { version = "1", features = ["macros", "net", "rt-multi-thread"] }']
    needed += [f'{name} = "{directory.name.removeprefix(name + "-")}"' for name, directory in crates.items()]
    manifest = ["[package]", 'name = "all"', 'edition = "2024"', "[dependencies]", *needed]
    (project / "all/src").mkdir(parents=True)
    (project / "all/src/lib.rs").touch()
    (project / "all/Cargo.toml").write_text("\n".join(manifest))
    return project


def registry(crates, project, work):
    """Makes the registry, and the home of cargo that knows no other."""
    patch = work / "patch.toml"
    lines = [f'{name} = {{ path = "{directory}" }}' for name, directory in crates.items()]
    patch.write_text("\n".join(["[patch.crates-io]", *lines]))
    registry = work / "registry"
    command = ["cargo", "vendor", "--quiet", "--versioned-dirs", "--config", str(patch), str(registry)]
    subprocess.run(command, cwd=project, check=True, stdout=subprocess.DEVNULL)
    for directory in crates.values():
        shutil.copytree(directory, registry / directory.name)
        (registry / directory.name / ".cargo-checksum.json").write_text('{"files":{}}')
    home = work / "home"
    home.mkdir()
    source = ['[source.crates-io]', 'replace-with = "packages"', "[source.packages]", f'directory = "{registry}"']
    (home / "config.toml").write_text("\n".join([*source, "[profile.dev]", "debug = 0"]))
    os.environ |= {"CARGO_HOME": str(home), "CARGO_NET_OFFLINE": "true", "CARGO_TARGET_DIR": str(work / "target")}


def front_page(work):
    """Follows the front page, and returns the directory of the application."""
    page = (REPOSITORY / "README.md").read_text()
    commands, application = re.search(
        r"## An application\n+```sh\n(.*?)```\n+```rust[^\n]*\n(.*?)```", page, re.S
    ).groups()
    name = re.search(r"cargo new (\S+)", commands).group(1)
    run("bash", "-euc", commands, at=work)
    (work / name / "src/main.rs").write_text(application)
    run("cargo", "build", "--quiet", at=work / name)
    # The page's port may be taken on this machine.
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    (work / name / "src/main.rs").write_text(application.replace(":3000", f":{port}"))
    run("cargo", "build", "--quiet", at=work / name)
    process = subprocess.Popen([work / "target/debug" / name])
    try:
        visit(port)
    finally:
        process.kill()
        process.wait()


def visit(port):
    """Two visits, a sign-in, a visit, a sign-out, and a visit with the old cookie."""
    cookie = None

    def ask(method, path):
        nonlocal cookie
        connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
        connection.request(method, path, headers={"Cookie": cookie} if cookie else {})
        response = connection.getresponse()
        text = response.read().decode()
        assert response.status == 200, f"{method} {path}: {response.status} {text}"
        if set_cookie := response.getheader("set-cookie"):
            assert set_cookie.startswith("__Host-id=") and "; Secure" in set_cookie, "the cookie is not safe"
            cookie = set_cookie.split(";")[0]
        return text

    def expect(found, expected):
        assert found == expected, f"expected {expected!r}, found {found!r}"

    for _ in range(200):
        with socket.socket() as listening:
            if listening.connect_ex(("127.0.0.1", port)) == 0:
                break
        time.sleep(0.05)
    expect(ask("GET", "/"), "Hello, stranger. This is visit number 1.\n")
    expect(ask("GET", "/"), "Hello, stranger. This is visit number 2.\n")
    before = cookie
    ask("POST", "/sign-in")
    assert cookie != before, "a sign-in gives a new id"
    expect(ask("GET", "/"), "Hello, ann. This is visit number 3.\n")
    signed_in = cookie
    ask("POST", "/sign-out")
    cookie = signed_in
    expect(ask("GET", "/"), "Hello, stranger. This is visit number 1.\n")


def main():
    with tempfile.TemporaryDirectory() as directory:
        work = pathlib.Path(directory)
        crates = pack(published(), work)
        place = project(crates, work)
        registry(crates, place, work)
        front_page(work)
        print("the front page works as printed", flush=True)
        run("cargo", "build", "--quiet", "--package", "all", at=place)
        print("each crate builds from its package", flush=True)
        run("cargo", "test", "--package", "examples", at=place)


if __name__ == "__main__":
    main()
