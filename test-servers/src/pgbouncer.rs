//! PgBouncer, in front of a PostgreSQL instance.

use std::io;
use std::os::unix::fs::chown;

use crate::process::{Launch, Process, Ready, ServerDirectory};
use crate::{Missing, Options, Server, binaries, port, postgres};

const HOW_TO_GET_IT: &str = "install PgBouncer (Debian: apt-get install pgbouncer)";

/// Starts a private instance that leads to this server, with every user and database of it and no passwords.
/// [`Options::set`] takes every setting of the section `[pgbouncer]`, for example `pool_mode`.
///
/// # Errors
/// [`Missing`] if PgBouncer is not installed or does not start.
pub fn start_new(server: &Server, options: &Options) -> Result<Server, Missing> {
    launch(server, options)
        .map_err(|error| Missing::new(format!("no PgBouncer: {error}"), HOW_TO_GET_IT))
}

fn launch(server: &Server, options: &Options) -> io::Result<Server> {
    let program = binaries::find("pgbouncer")
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "pgbouncer is not installed"))?;
    let account = binaries::account_for("postgres");
    let directory = ServerDirectory::new(account)?;
    let port = port::free()?;
    let (host, server_port) = server.address().split_once(':').unwrap_or(("127.0.0.1", "5432"));
    let users = directory.path().join("users");
    let mut settings = format!(
        "[databases]\n* = host={host} port={server_port}\n[pgbouncer]\nlisten_addr = 127.0.0.1\n\
         listen_port = {port}\nunix_socket_dir =\nauth_type = trust\nauth_file = {}\n\
         ignore_startup_parameters = extra_float_digits\n",
        users.display()
    );
    for (name, value) in &options.settings {
        settings.push_str(&format!("{name} = {value}\n"));
    }
    let file = directory.path().join("pgbouncer.ini");
    std::fs::write(&file, settings)?;
    std::fs::write(&users, "\"postgres\" \"\"\n\"app\" \"\"\n")?;
    if let Some(account) = account {
        for file in [&file, &users] {
            chown(file, Some(account.uid), Some(account.gid))?;
        }
    }
    let launch = Launch {
        program,
        arguments: vec![file.display().to_string()],
        account,
        ready: Ready { probe: postgres::accepts_sessions, port, password: None },
    };
    let process = Process::launch(launch, directory)?;
    Ok(Server::local(format!("postgres://postgres@127.0.0.1:{port}/postgres"), process))
}
