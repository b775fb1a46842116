//! pgpool, in front of PostgreSQL and a read replica.

use std::io;
use std::os::unix::fs::chown;

use crate::process::{Launch, Process, Ready, ServerDirectory};
use crate::{Missing, Server, binaries, port, postgres};

const HOW_TO_GET_IT: &str = "install pgpool (Debian: apt-get install pgpool2)";

/// Starts a private instance that leads to this server what writes, and to its replica every statement that pgpool
/// takes for one that only reads.
///
/// # Errors
/// [`Missing`] if pgpool is not installed or does not start.
pub fn start_new(primary: &Server, replica: &Server) -> Result<Server, Missing> {
    launch(primary, replica)
        .map_err(|error| Missing::new(format!("no pgpool: {error}"), HOW_TO_GET_IT))
}

fn launch(primary: &Server, replica: &Server) -> io::Result<Server> {
    let program = binaries::find("pgpool")
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "pgpool is not installed"))?;
    let account = binaries::account_for("postgres");
    let directory = ServerDirectory::new(account)?;
    let (port, control) = (port::free()?, port::free()?);
    let path = directory.path().display();
    let mut settings = format!(
        "listen_addresses = '127.0.0.1'\nport = {port}\nunix_socket_directories = '{path}'\n\
         pcp_listen_addresses = '127.0.0.1'\npcp_port = {control}\npcp_socket_dir = '{path}'\n\
         pid_file_name = '{path}/pid'\nlogdir = '{path}'\n\
         backend_clustering_mode = 'streaming_replication'\nload_balance_mode = on\n\
         sr_check_user = 'postgres'\nsr_check_period = 1\nnum_init_children = 32\n"
    );
    // The primary has no share of what only reads.
    for (number, (server, weight)) in [(primary, 0), (replica, 1)].into_iter().enumerate() {
        let (host, port) = server.address().split_once(':').unwrap_or(("127.0.0.1", "5432"));
        settings.push_str(&format!(
            "backend_hostname{number} = '{host}'\nbackend_port{number} = {port}\n\
             backend_weight{number} = {weight}\n"
        ));
    }
    let files =
        ["pgpool.conf", "pcp.conf", "pool_hba.conf"].map(|name| directory.path().join(name));
    for (file, text) in files.iter().zip([&*settings, "", "host all all 127.0.0.1/32 trust\n"]) {
        std::fs::write(file, text)?;
        if let Some(account) = account {
            chown(file, Some(account.uid), Some(account.gid))?;
        }
    }
    let [settings, control, access] = files.map(|file| file.display().to_string());
    let arguments = ["-n", "-f", &settings, "-F", &control, "-a", &access];
    let launch = Launch {
        program,
        arguments: arguments.map(str::to_owned).to_vec(),
        account,
        ready: Ready { probe: postgres::accepts_sessions, port, password: None },
    };
    let process = Process::launch(launch, directory)?;
    Ok(Server::local(format!("postgres://postgres@127.0.0.1:{port}/postgres"), process))
}
