//! MariaDB, also for tests of MySQL support.

use std::fs;
use std::io::{self, Read};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;

use crate::binaries::Account;
use crate::process::{Launch, Process, Ready, ServerDirectory};
use crate::{Missing, Options, Server, binaries, port};

const ENVIRONMENT: &str = "SESSION_TEST_MYSQL_URL";
const HOW_TO_GET_IT: &str =
    "set SESSION_TEST_MYSQL_URL or install MariaDB (Debian: apt-get install mariadb-server)";

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
/// Starts MariaDB in a container (`mariadb:10.11`), with the settings of [`start_new`]. A missing
/// image is pulled. Without a registry, `scripts/build-test-images.sh` builds an image of the same
/// name from Debian packages.
///
/// # Errors
/// [`Missing`] if no engine answers, or if the image is not available or does not start.
pub fn start_container() -> Result<Server, Missing> {
    use testcontainers::core::ImageExt;

    let image = testcontainers::GenericImage::new("mariadb", "10.11")
        .with_env_var("MARIADB_ALLOW_EMPTY_ROOT_PASSWORD", "1")
        .with_env_var("MARIADB_DATABASE", "sessions")
        .with_cmd(["--max-connections=500", "--innodb-flush-log-at-trx-commit=2"]);
    Server::in_container(image, 3306, greets, |port| {
        format!("mysql://root@127.0.0.1:{port}/sessions")
    })
}

/// Starts a private instance from local binaries: user `root` without a password, database
/// `sessions`, 500 connections. [`Options::set`] takes every option of `mariadbd`.
///
/// # Errors
/// [`Missing`] if MariaDB is not installed or does not start.
#[expect(clippy::needless_pass_by_value, reason = "options are built for one call")]
pub fn start_new(options: Options) -> Result<Server, Missing> {
    launch(&options).map_err(|error| Missing::new(format!("no MariaDB: {error}"), HOW_TO_GET_IT))
}

fn launch(options: &Options) -> io::Result<Server> {
    let missing = |what| io::Error::new(io::ErrorKind::NotFound, what);
    let program = binaries::find("mariadbd").ok_or_else(|| missing("mariadbd is not installed"))?;
    let install = binaries::find("mariadb-install-db")
        .ok_or_else(|| missing("mariadb-install-db is not installed"))?;
    let account = binaries::account_for("mysql");
    let directory = ServerDirectory::new(account)?;
    let data = directory.path().join("data");
    initialise(&install, &data, directory.path(), account)?;
    let init = directory.path().join("init.sql");
    fs::write(&init, "CREATE DATABASE IF NOT EXISTS sessions;\n")?;
    let port = port::free()?;
    let mut settings = vec![
        ("datadir".to_owned(), data.display().to_string()),
        ("tmpdir".to_owned(), directory.path().display().to_string()),
        ("init-file".to_owned(), init.display().to_string()),
        ("socket".to_owned(), directory.path().join("socket").display().to_string()),
        ("bind-address".to_owned(), "127.0.0.1".to_owned()),
        ("port".to_owned(), port.to_string()),
        ("max-connections".to_owned(), "500".to_owned()),
    ];
    if !options.durable {
        // 2: a commit reaches the operating system, so it survives a kill of the process.
        settings.push(("innodb-flush-log-at-trx-commit".to_owned(), "2".to_owned()));
        settings.push(("innodb-doublewrite".to_owned(), "0".to_owned()));
    }
    settings.extend(options.settings.iter().cloned());
    // Ignore the configuration of the machine.
    let mut arguments = vec!["--no-defaults".to_owned()];
    arguments.extend(settings.into_iter().map(|(name, value)| format!("--{name}={value}")));
    let launch = Launch {
        program,
        arguments,
        account,
        ready: Ready { probe: greets, port, password: None },
    };
    let process = Process::launch(launch, directory)?;
    Ok(Server::local(format!("mysql://root@127.0.0.1:{port}/sessions"), process))
}

fn initialise(
    install: &Path,
    data: &Path,
    temporary: &Path,
    account: Option<Account>,
) -> io::Result<()> {
    let mut command = Command::new(install);
    command
        .args(["--no-defaults", "--skip-test-db"])
        .arg("--auth-root-authentication-method=normal")
        .arg(format!("--datadir={}", data.display()))
        // The names of its temporary tables contain its process id. Containers that share /tmp may
        // have processes with the same id.
        .arg(format!("--tmpdir={}", temporary.display()))
        .current_dir(data.parent().unwrap_or(data));
    if let Some(account) = account {
        command.uid(account.uid).gid(account.gid);
    }
    let output = command.output()?;
    if output.status.success() {
        return Ok(());
    }
    Err(io::Error::other(format!(
        "mariadb-install-db failed: {}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )))
}

/// Checks the greeting of the server: after a four-byte header it contains the protocol number 10.
/// An error, such as too many connections, has another number there.
pub(crate) fn greets(port: u16, _password: Option<&str>) -> io::Result<()> {
    const LIMIT: Duration = Duration::from_secs(2);
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut greeting = [0; 5];
    stream.read_exact(&mut greeting)?;
    match greeting {
        [_, _, _, _, 10] => Ok(()),
        _ => Err(io::Error::other("MariaDB refuses connections")),
    }
}
