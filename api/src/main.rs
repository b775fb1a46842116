//! Compares the public interface of each crate, with all features, with the file `api/CRATE.txt`.
//!
//!     cargo run -p public-interface              # fails and shows what differs
//!     cargo run -p public-interface -- --write   # writes the files anew
//!
//! The files make a change of the interface visible in a review. The list comes from rustdoc's JSON, whose format
//! changes with the version of Rust; another version than [`RUST`] can't be compared.

use std::error::Error;
use std::io::{Write as _, stdout};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

/// The version whose rustdoc the crate `public-api` reads.
const RUST: &str = "1.95";
const CRATES: [&str; 11] = [
    "session-actix",
    "session-conformance",
    "session-cookie",
    "session-core",
    "session-file",
    "session-http",
    "session-memory",
    "session-redis",
    "session-sql",
    "session-tower",
    "session-tower-sessions",
];

fn main() -> Result<ExitCode, Box<dyn Error>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("api is in the repository")?;
    let rustc = Command::new("rustc").arg("--version").output()?;
    let rustc = String::from_utf8(rustc.stdout)?;
    if !rustc.starts_with(&format!("rustc {RUST}.")) {
        say(&format!("NOT CHECKED: the public interface needs Rust {RUST}, this is {rustc}"))?;
        return Ok(ExitCode::SUCCESS);
    }
    let write = std::env::args().any(|argument| argument == "--write");
    let json = rustdoc(root)?;
    let mut differs = false;
    for name in CRATES {
        let interface = interface(&json.join(format!("{}.json", name.replace('-', "_"))))?;
        let file = root.join("api").join(format!("{name}.txt"));
        if write {
            std::fs::write(file, interface)?;
            continue;
        }
        let written = std::fs::read_to_string(&file)?;
        let difference = difference(&written, &interface);
        if !difference.is_empty() {
            differs = true;
            say(&format!("{name}:\n{difference}"))?;
        }
    }
    if differs {
        say(
            "The public interface changed. If that is meant: cargo run -p public-interface -- --write",
        )?;
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

/// One line for each public item.
fn interface(json: &Path) -> Result<String, Box<dyn Error>> {
    let api = public_api::Builder::from_rustdoc_json(json)
        .omit_blanket_impls(true)
        .omit_auto_trait_impls(true)
        .omit_auto_derived_impls(true)
        .build()?;
    Ok(api.to_string())
}

/// Writes the JSON of all crates, and returns where.
fn rustdoc(root: &Path) -> Result<PathBuf, Box<dyn Error>> {
    let target =
        std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root.join("target"), PathBuf::from);
    let status = Command::new("cargo")
        .args(["doc", "--quiet", "--lib", "--all-features", "--no-deps"])
        .args(CRATES.iter().flat_map(|name| ["--package", name]))
        .env("RUSTDOC", root.join("api/rustdoc-json.sh"))
        .env_remove("RUSTDOCFLAGS")
        .current_dir(root)
        .status()?;
    match status.success() {
        true => Ok(target.join("doc")),
        false => Err("rustdoc failed".into()),
    }
}

/// The lines that only one of the two has.
fn difference(before: &str, after: &str) -> String {
    let only = |sign, one: &str, other: &str| -> String {
        let other: Vec<_> = other.lines().collect();
        let lines = one.lines().filter(|line| !other.contains(line));
        lines.map(|line| format!("{sign} {line}\n")).collect()
    };
    only('-', before, after) + &only('+', after, before)
}

fn say(text: &str) -> std::io::Result<()> {
    writeln!(stdout(), "{}", text.trim_end())
}
