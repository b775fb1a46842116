//! PostgreSQL.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::binaries::Account;
use crate::process::{Launch, Process, Ready, ServerDirectory};
use crate::{Missing, Options, Server, binaries, port};

const ENVIRONMENT: &str = "SESSION_TEST_POSTGRES_URL";
const HOW_TO_GET_IT: &str =
    "set SESSION_TEST_POSTGRES_URL or install PostgreSQL (Debian: apt-get install postgresql)";

/// The instance that all tests of this process share. Each test has to use its own table.
///
/// # Errors
/// [`Missing`]; every call returns the same result.
pub fn shared() -> Result<&'static Server, &'static Missing> {
    static SHARED: OnceLock<Result<Server, Missing>> = OnceLock::new();
    SHARED.get_or_init(first_available).as_ref()
}

fn first_available() -> Result<Server, Missing> {
    if let Ok(url) = std::env::var(ENVIRONMENT) {
        return Ok(Server::elsewhere(url));
    }
    let local = start_new(Options::default());
    #[cfg(feature = "containers")]
    let local = local.or_else(|missing| start_container().map_err(|other| missing.and(&other)));
    local
}

#[cfg(feature = "containers")]
/// Starts PostgreSQL in a container (`postgres:15`), with the settings of [`start_new`]. A missing
/// image is pulled. Without a registry, `scripts/build-test-images.sh` builds an image of the same
/// name from Debian packages.
///
/// # Errors
/// [`Missing`] if no engine answers, or if the image is not available or does not start.
pub fn start_container() -> Result<Server, Missing> {
    use testcontainers::core::ImageExt;

    let image = testcontainers::GenericImage::new("postgres", "15")
        .with_env_var("POSTGRES_HOST_AUTH_METHOD", "trust")
        .with_cmd(["-c", "fsync=off", "-c", "full_page_writes=off", "-c", "max_connections=200"]);
    Server::in_container(image, 5432, accepts_sessions, |port| {
        format!("postgres://postgres@127.0.0.1:{port}/postgres")
    })
}

/// Starts a private instance from local binaries: superuser `postgres` without a password, database
/// `postgres`, 200 connections. [`Options::set`] takes every setting of `postgresql.conf`.
///
/// # Errors
/// [`Missing`] if PostgreSQL is not installed or does not start.
#[expect(clippy::needless_pass_by_value, reason = "options are built for one call")]
pub fn start_new(options: Options) -> Result<Server, Missing> {
    launch(&options).map_err(|error| Missing::new(format!("no PostgreSQL: {error}"), HOW_TO_GET_IT))
}

/// Starts a read replica of this server, with a copy of its data. [`Options::set`] takes every setting, for example
/// `recovery_min_apply_delay`.
///
/// # Errors
/// [`Missing`] if PostgreSQL is not installed, or if the replica does not start.
pub fn start_replica(of: &Server, options: &Options) -> Result<Server, Missing> {
    let copy = |program: &Path, data: &Path, account| {
        let mut command = command(&program.with_file_name("pg_basebackup"), data, account);
        command.args(["--write-recovery-conf", "--no-sync", "--checkpoint=fast", "-D"]).arg(data);
        command.args(["-d", of.url()]);
        run(command, "pg_basebackup")
    };
    launch_with(options, copy)
        .map_err(|error| Missing::new(format!("no replica: {error}"), HOW_TO_GET_IT))
}

fn launch(options: &Options) -> io::Result<Server> {
    launch_with(options, |program, data, account| {
        let mut command = command(&program.with_file_name("initdb"), data, account);
        command.args(["-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C"]);
        command.args(["--no-sync", "-D"]).arg(data);
        run(command, "initdb")
    })
}

/// `make_data` makes the directory of the data.
fn launch_with(
    options: &Options,
    make_data: impl FnOnce(&Path, &Path, Option<Account>) -> io::Result<()>,
) -> io::Result<Server> {
    // Resolve symbolic links in PATH: the other programs are beside the real file.
    let program = binaries::find("postgres")
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "postgres is not installed"))?
        .canonicalize()?;
    let account = binaries::account_for("postgres");
    let directory = ServerDirectory::new(account)?;
    let data = directory.path().join("data");
    make_data(&program, &data, account)?;
    let port = port::free()?;
    let mut settings = vec![
        ("port".to_owned(), port.to_string()),
        ("listen_addresses".to_owned(), "127.0.0.1".to_owned()),
        ("unix_socket_directories".to_owned(), String::new()),
        ("max_connections".to_owned(), "200".to_owned()),
    ];
    if !options.durable {
        // Commits still reach the operating system, so they survive a kill of the process.
        settings.push(("fsync".to_owned(), "off".to_owned()));
        settings.push(("full_page_writes".to_owned(), "off".to_owned()));
    }
    settings.extend(options.settings.iter().cloned());
    let mut arguments = vec!["-D".to_owned(), data.display().to_string()];
    for (name, value) in settings {
        arguments.extend(["-c".to_owned(), format!("{name}={value}")]);
    }
    let launch = Launch {
        program,
        arguments,
        account,
        ready: Ready { probe: accepts_sessions, port, password: None },
    };
    let process = Process::launch(launch, directory)?;
    Ok(Server::local(format!("postgres://postgres@127.0.0.1:{port}/postgres"), process))
}

/// A program of PostgreSQL that makes this directory.
fn command(program: &Path, data: &Path, account: Option<Account>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(data.parent().unwrap_or(data));
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    command
}

fn run(mut command: Command, name: &str) -> io::Result<()> {
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!("{name} failed: {}", String::from_utf8_lossy(&output.stderr))))
}

/// Checks that the server is neither starting nor stopping: it then answers a start-up message with
/// a request for authentication (`R`), not with an error (`E`).
pub(crate) fn accepts_sessions(port: u16, _password: Option<&str>) -> io::Result<()> {
    const LIMIT: Duration = Duration::from_secs(2);
    const PARAMETERS: &[u8] = b"user\0postgres\0database\0postgres\0\0";
    const PROTOCOL: u32 = 3 << 16;
    let mut message = Vec::new();
    let length = u32::try_from(8 + PARAMETERS.len()).map_err(io::Error::other)?;
    message.extend(length.to_be_bytes());
    message.extend(PROTOCOL.to_be_bytes());
    message.extend(PARAMETERS);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    stream.write_all(&message)?;
    let mut kind = [0];
    stream.read_exact(&mut kind)?;
    match kind {
        [b'R'] => Ok(()),
        _ => Err(io::Error::other("PostgreSQL is still starting")),
    }
}
