//! Redis: a single node, and several nodes in [`cluster`] and [`sentinel`].

pub mod cluster;
pub(crate) mod probe;
pub mod sentinel;

use std::io;
use std::sync::OnceLock;

use crate::process::{Launch, Process, Ready, ServerDirectory};
use crate::{Missing, Options, Server, binaries, port};

const ENVIRONMENT: &str = "SESSION_TEST_REDIS_URL";
const HOW_TO_GET_IT: &str =
    "set SESSION_TEST_REDIS_URL or install redis-server (Debian: apt-get install redis-server)";

/// The instance that all tests of this process share. Each test has to use its own prefix.
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
/// Starts Redis in a container (`redis:7`), without persistence. A missing image is pulled. Without
/// a registry, `scripts/build-test-images.sh` builds an image of the same name from Debian
/// packages.
///
/// # Errors
/// [`Missing`] if no engine answers, or if the image is not available or does not start.
pub fn start_container() -> Result<Server, Missing> {
    use testcontainers::core::ImageExt;

    let command = ["redis-server", "--save", "", "--protected-mode", "no"];
    let image = testcontainers::GenericImage::new("redis", "7").with_cmd(command);
    Server::in_container(image, 6379, probe::ping, |port| format!("redis://127.0.0.1:{port}/"))
}

/// Starts a private instance from local binaries. [`Options::set`] takes every setting of
/// `redis.conf`, for example `requirepass`, `replicaof` and `maxmemory`.
///
/// # Errors
/// [`Missing`] if `redis-server` is not installed or does not start.
#[expect(clippy::needless_pass_by_value, reason = "options are built for one call")]
pub fn start_new(options: Options) -> Result<Server, Missing> {
    let start = || {
        let port = port::free()?;
        let process = launch(port, &options)?;
        let password = options
            .setting("requirepass")
            .map(|password| format!(":{password}@"))
            .unwrap_or_default();
        let url = format!("redis://{password}127.0.0.1:{port}/");
        Ok(Server::local(url, process))
    };
    with_retries(start)
}

/// Runs `start` until it succeeds, at most three times: the port may be taken between the check and
/// the start of the server.
pub(super) fn with_retries<T>(start: impl Fn() -> io::Result<T>) -> Result<T, Missing> {
    let mut result = start();
    for _ in 0..2 {
        match &result {
            Err(error) if error.kind() != io::ErrorKind::NotFound => result = start(),
            _ => break,
        }
    }
    result.map_err(|error| Missing::new(format!("no Redis: {error}"), HOW_TO_GET_IT))
}

/// Starts one node on this port.
fn launch(port: u16, options: &Options) -> io::Result<Process> {
    let program = binaries::find("redis-server")
        .ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, "redis-server is not installed"))?;
    let mut arguments = vec![
        "--port".to_owned(),
        port.to_string(),
        "--bind".to_owned(),
        "127.0.0.1".to_owned(),
        "--save".to_owned(),
        String::new(),
    ];
    if options.durable {
        arguments.extend(["--appendonly".to_owned(), "yes".to_owned()]);
    }
    // With the default `everysec`, Redis acknowledges a write before it has handed it to the operating system, if the
    // disk is busy. A kill then loses it.
    arguments.extend(["--appendfsync".to_owned(), "always".to_owned()]);
    for (name, value) in &options.settings {
        arguments.push(format!("--{name}"));
        // A value with several words becomes several arguments, as in the configuration file.
        arguments.extend(value.split(' ').map(str::to_owned));
    }
    let launch = Launch {
        program,
        arguments,
        account: None,
        ready: Ready {
            probe: probe::ping,
            port,
            password: options.setting("requirepass").map(str::to_owned),
        },
    };
    Process::launch(launch, ServerDirectory::new(None)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_server_on_the_port_is_not_accepted() {
        if binaries::find("redis-server").is_none() {
            return;
        }
        let port = port::free().unwrap();
        let _first = launch(port, &Options::default()).unwrap();
        let error = launch(port, &Options::default()).unwrap_err();
        assert!(error.to_string().contains("ended while it started"), "{error}");
    }
}
