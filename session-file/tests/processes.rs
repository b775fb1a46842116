//! Tests with several processes. The program starts itself again as each of them, so it has its own
//! `main`.

#[path = "processes/disk.rs"]
mod disk;
#[path = "processes/increment.rs"]
mod increment;
#[path = "processes/killed.rs"]
mod killed;
#[path = "processes/killed_lives.rs"]
mod killed_lives;
#[path = "processes/many_files.rs"]
mod many_files;
#[path = "processes/umask.rs"]
mod umask;

use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

use libtest_mimic::{Arguments, Trial};
use session_core::Key;
use session_file::{Durability, FileBackend};

const HOUR: Duration = Duration::from_secs(3600);
/// The environment variables of a child process: its role, and the path of the store.
const ROLE: &str = "SESSION_FILE_TEST_ROLE";
const STORE: &str = "SESSION_FILE_TEST_STORE";

fn main() -> ExitCode {
    match std::env::var(ROLE).as_deref() {
        Ok("increment") => increment::child(),
        Ok("write") => killed::child(),
        Ok("live") => killed_lives::child(),
        Ok("many_files") => many_files::child(),
        Ok("umask") => umask::child(),
        Ok(other) => panic!("{ROLE}={other}: there is no such role"),
        Err(_) => {
            let trials = vec![
                Trial::test("updates_of_two_processes_are_not_lost", increment::test),
                Trial::test("killed_writers_leave_whole_records", killed::test),
                Trial::test("killed_lives_go_on_where_they_were", killed_lives::test),
                Trial::test("too_many_open_files_is_a_refusal", many_files::test),
                Trial::test("rights_do_not_depend_on_the_umask", umask::test),
                disk::full(),
                disk::read_only(),
            ];
            return libtest_mimic::run(&Arguments::from_args(), trials).exit_code();
        }
    }
    ExitCode::SUCCESS
}

/// This program as a child in this role, with the store in this directory.
fn start(role: &str, store: &Path) -> Command {
    let me = std::env::current_exe().expect("a running program has a path");
    let mut command = Command::new(me);
    command.env(ROLE, role).env(STORE, store);
    command
}

/// The store of a child process.
fn store_of_child() -> FileBackend {
    let path = std::env::var_os(STORE).expect("the parent sets the path of the store");
    open(Path::new(&path))
}

fn open(path: &Path) -> FileBackend {
    // The death of a process needs no sync. Without syncs, more writes run when it is killed.
    FileBackend::open_with(path, Durability::None).expect("the store opens")
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime with a timer needs nothing")
}

fn key(number: u8) -> Key {
    Key::from_bytes([number; 32])
}
