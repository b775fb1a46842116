//! Cleans up after this process.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A shell that waits for the end of its input and then cleans up. The kernel closes the pipe when
/// this process ends in any way. It is needed after a crash, and for statics, which are never
/// dropped.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    pipe: Option<ChildStdin>,
}

/// Reads process ids, one in each line. At the end it kills the last one and removes the directory.
/// It tries twice, because a dying server may still write into the directory.
const OVER_PROCESS: &str = r#"
while read -r line; do server=$line; done
if [ -n "$server" ]; then
    kill -9 "$server" $(cat "/proc/$server/task/$server/children")
fi
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
"#;

/// Removes a container, if the command line client is installed.
#[cfg(feature = "containers")]
const OVER_CONTAINER: &str = r#"
while read -r line; do :; done
docker rm --force --volumes "$1"
"#;

impl Watchdog {
    /// Cleans up a directory and the process of [`watch`](Self::watch).
    pub(crate) fn over_process(directory: &Path) -> io::Result<Self> {
        Self::start(OVER_PROCESS, directory.as_os_str())
    }

    #[cfg(feature = "containers")]
    pub(crate) fn over_container(id: &str) -> io::Result<Self> {
        Self::start(OVER_CONTAINER, OsStr::new(id))
    }

    fn start(script: &str, argument: &OsStr) -> io::Result<Self> {
        let mut shell = Command::new("sh")
            .args(["-c", script, "session-test-watchdog"])
            .arg(argument)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            // Ctrl-C in the terminal must only end the tests, not the watchdog.
            .process_group(0)
            .spawn()?;
        let pipe = shell.stdin.take();
        Ok(Self { shell, pipe })
    }

    pub(crate) fn watch(&mut self, server: u32) -> io::Result<()> {
        self.tell(&server.to_string())
    }

    pub(crate) fn watch_nothing(&mut self) -> io::Result<()> {
        self.tell("")
    }

    fn tell(&mut self, line: &str) -> io::Result<()> {
        match &mut self.pipe {
            Some(pipe) => writeln!(pipe, "{line}"),
            None => Ok(()),
        }
    }
}

impl Drop for Watchdog {
    fn drop(&mut self) {
        drop(self.pipe.take());
        let _ = self.shell.wait();
    }
}
