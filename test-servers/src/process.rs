//! A server process that can be killed, restarted and paused, and that never outlives this process.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal};

use crate::binaries::Account;
use crate::watchdog::Watchdog;

/// How long a server may take to answer after its start, on a busy machine.
const STARTUP_LIMIT: Duration = Duration::from_secs(30);

/// The command, and how to check that the server is ready.
#[derive(Debug, Clone)]
pub(crate) struct Launch {
    pub(crate) program: PathBuf,
    pub(crate) arguments: Vec<String>,
    /// The account to run as; `None` for that of this process.
    pub(crate) account: Option<Account>,
    pub(crate) ready: Ready,
}

/// Checks whether the server is ready.
pub(crate) type Probe = fn(port: u16, password: Option<&str>) -> io::Result<()>;

#[derive(Clone)]
pub(crate) struct Ready {
    pub(crate) probe: Probe,
    pub(crate) port: u16,
    pub(crate) password: Option<String>,
}

impl std::fmt::Debug for Ready {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Ready").field("port", &self.port).finish()
    }
}

impl Ready {
    /// Waits until the probe succeeds. `alive` checks that the started server is still running:
    /// otherwise an answer would be from another server on the same port.
    pub(crate) fn wait(&self, mut alive: impl FnMut() -> io::Result<()>) -> io::Result<()> {
        let started = Instant::now();
        let mut was_silent = false;
        loop {
            let Err(error) = (self.probe)(self.port, self.password.as_deref()) else {
                if !was_silent {
                    // Too early: the server may be about to end because its port is taken, and
                    // another one answers.
                    std::thread::sleep(Duration::from_millis(500));
                }
                return alive();
            };
            was_silent = true;
            alive()?;
            if started.elapsed() > STARTUP_LIMIT {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    format!("port {} does not answer: {error}", self.port),
                ));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// A process, its directory, and the watchdog that removes both.
#[derive(Debug)]
pub(crate) struct Process {
    launch: Launch,
    directory: PathBuf,
    running: Mutex<Running>,
}

#[derive(Debug)]
struct Running {
    server: Option<Child>,
    watchdog: Watchdog,
}

impl Process {
    /// Starts a server in a directory, which it owns from now on, and waits until it answers.
    pub(crate) fn launch(launch: Launch, directory: ServerDirectory) -> io::Result<Self> {
        let ServerDirectory { path, watchdog } = directory;
        let process = Self {
            launch,
            directory: path,
            running: Mutex::new(Running { server: None, watchdog }),
        };
        process.start()?;
        process.wait_until_ready()?;
        Ok(process)
    }

    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Starts the process. If the previous one is still running, it is ended first.
    pub(crate) fn start(&self) -> io::Result<()> {
        let mut running = self.lock();
        running.end()?;
        let log = File::options().create(true).append(true).open(self.log_path())?;
        let mut command = Command::new(&self.launch.program);
        command
            .args(&self.launch.arguments)
            .current_dir(&self.directory)
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            // Ctrl-C in the terminal must only end the tests; the watchdog then ends the server.
            .process_group(0);
        if let Some(account) = self.launch.account {
            command.uid(account.uid).gid(account.gid);
        }
        let server = command.spawn()?;
        let told = running.watchdog.watch(server.id());
        running.server = Some(server);
        told
    }

    pub(crate) fn wait_until_ready(&self) -> io::Result<()> {
        self.launch
            .ready
            .wait(|| {
                let mut running = self.lock();
                match running.server.as_mut().map(Child::try_wait).transpose()? {
                    Some(None) => Ok(()),
                    _ => Err(io::Error::other("the server ended while it started")),
                }
            })
            .map_err(|error| {
                let log = fs::read_to_string(self.log_path()).unwrap_or_default();
                let lines: Vec<&str> = log.lines().collect();
                let end = lines[lines.len().saturating_sub(20)..].join("\n");
                io::Error::new(error.kind(), format!("{error}; the end of its log:\n{end}"))
            })
    }

    pub(crate) fn kill(&self) -> io::Result<()> {
        self.lock().end()
    }

    pub(crate) fn pause(&self) -> io::Result<()> {
        self.lock().signal(Signal::STOP)
    }

    pub(crate) fn resume(&self) -> io::Result<()> {
        self.lock().signal(Signal::CONT)
    }

    fn log_path(&self) -> PathBuf {
        self.directory.join("log")
    }

    fn lock(&self) -> MutexGuard<'_, Running> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let running = self.running.get_mut().unwrap_or_else(PoisonError::into_inner);
        // If this fails, the watchdog, which is dropped next, ends the process.
        let _ = running.end();
    }
}

impl Running {
    fn end(&mut self) -> io::Result<()> {
        let signalled = self.signal(Signal::KILL);
        let Some(mut server) = self.server.take() else {
            return Ok(());
        };
        signalled?;
        server.wait()?;
        // From here on another process may get its id.
        self.watchdog.watch_nothing()
    }

    /// Signals the server and its children: if only the postmaster stopped or died, its backends
    /// would continue for some time, or forever.
    fn signal(&mut self, signal: Signal) -> io::Result<()> {
        let Some(server) = &self.server else {
            return Err(io::Error::new(io::ErrorKind::NotFound, "the server is not running"));
        };
        let server = Pid::from_child(server);
        let children = children_of(server);
        rustix::process::kill_process(server, signal)?;
        for child in children {
            // It may have ended by itself.
            let _ = rustix::process::kill_process(child, signal);
        }
        Ok(())
    }
}

/// The direct children, if `/proc` lists them.
fn children_of(process: Pid) -> Vec<Pid> {
    let number = process.as_raw_nonzero();
    fs::read_to_string(format!("/proc/{number}/task/{number}/children"))
        .unwrap_or_default()
        .split_whitespace()
        .filter_map(|child| Pid::from_raw(child.parse().ok()?))
        .collect()
}

/// A temporary directory for a server. It is removed when this is dropped or this process ends.
#[derive(Debug)]
pub(crate) struct ServerDirectory {
    path: PathBuf,
    watchdog: Watchdog,
}

impl ServerDirectory {
    /// Creates a directory that belongs to `account`.
    pub(crate) fn new(account: Option<Account>) -> io::Result<Self> {
        let path = tempfile::Builder::new().prefix("session-test-").tempdir()?.keep();
        let watchdog = Watchdog::over_process(&path)?;
        let directory = Self { path, watchdog };
        if let Some(account) = account {
            std::os::unix::fs::chown(directory.path(), Some(account.uid), Some(account.gid))?;
        }
        Ok(directory)
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }
}
