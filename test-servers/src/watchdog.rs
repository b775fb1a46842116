//! What cleans up when this process can't.

use std::ffi::OsStr;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};

/// A shell that waits for the end of its input. The kernel closes our end of the pipe however we
/// die, and statics are never dropped: this is what cleans up after both.
#[derive(Debug)]
pub(crate) struct Watchdog {
    shell: Child,
    pipe: Option<ChildStdin>,
}

/// Reads process numbers, one a line; at the end kills the last one and removes the directory. A
/// server may still write into it while it dies, hence the second try.
const OVER_PROCESS: &str = r#"
while read -r line; do server=$line; done
if [ -n "$server" ]; then
    kill -9 "$server" $(cat "/proc/$server/task/$server/children")
fi
rm -rf "$1" || { sleep 1; rm -rf "$1"; }
"#;

/// Removes a container, where the command line client is installed.
#[cfg(feature = "containers")]
const OVER_CONTAINER: &str = r#"
while read -r line; do :; done
docker rm --force --volumes "$1"
"#;

impl Watchdog {
    /// Watches over the process of [`watch`](Self::watch) and a directory.
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
            // Ctrl-C in the terminal is for the tests, not for what cleans up after them.
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
