//! Finds the programs of the servers, and the user that runs them.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The program of this name on `PATH`, in the `sbin` directories that a user's `PATH` often lacks,
/// or, the newest version first, in a directory of Debian's PostgreSQL packages.
pub(crate) fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut postgres: Vec<PathBuf> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| Some(version.ok()?.path().join("bin")))
        .collect();
    postgres.sort_by_key(|bin| std::cmp::Reverse(major_version(bin)));
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .chain(postgres)
        .map(|directory| directory.join(name))
        .find(|candidate| candidate.is_file())
}

fn major_version(bin: &Path) -> u32 {
    bin.parent()
        .and_then(Path::file_name)
        .and_then(|version| version.to_str()?.parse().ok())
        .unwrap_or(0)
}

/// A user and group that a server runs as.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Account {
    pub(crate) uid: u32,
    pub(crate) gid: u32,
}

/// The account for a server that refuses to run as root. `None` if this process is not root;
/// otherwise the server's own user, or `nobody` if there is no such user.
pub(crate) fn account_for(server_user: &str) -> Option<Account> {
    if !rustix::process::geteuid().is_root() {
        return None;
    }
    [server_user, "nobody"]
        .into_iter()
        .find_map(|user| Some(Account { uid: id("-u", user)?, gid: id("-g", user)? }))
}

fn id(what: &str, user: &str) -> Option<u32> {
    let output = Command::new("id").args([what, user]).output().ok()?;
    String::from_utf8(output.stdout).ok()?.trim().parse().ok()
}
