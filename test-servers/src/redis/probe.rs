//! The part of the Redis protocol that is needed to check whether a server is ready.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(2);

/// Succeeds if the server is ready. A server that is loading its data answers with an error.
pub(crate) fn ping(port: u16, password: Option<&str>) -> io::Result<()> {
    let reply = ask(port, password, "PING")?;
    if reply == "PONG" { Ok(()) } else { Err(io::Error::other(reply)) }
}

/// Sends one command, whose arguments must not contain blanks. Returns the text of a simple or bulk
/// reply, and the first line of any other reply.
pub(crate) fn ask(port: u16, password: Option<&str>, command: &str) -> io::Result<String> {
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut stream = TcpStream::connect_timeout(&address, LIMIT)?;
    stream.set_read_timeout(Some(LIMIT))?;
    let mut reader = BufReader::new(stream.try_clone()?);
    if let Some(password) = password {
        stream.write_all(format!("AUTH {password}\r\n").as_bytes())?;
        read_reply(&mut reader)?;
    }
    stream.write_all(format!("{command}\r\n").as_bytes())?;
    read_reply(&mut reader)
}

fn read_reply(reader: &mut impl BufRead) -> io::Result<String> {
    let mut line = String::new();
    reader.read_line(&mut line)?;
    let line = line.trim_end();
    if let Some(text) = line.strip_prefix('+') {
        return Ok(text.to_owned());
    }
    let Some(length) = line.strip_prefix('$') else {
        return Ok(line.to_owned());
    };
    let length = length.parse().map_err(io::Error::other)?;
    let mut text = String::new();
    reader.take(length).read_to_string(&mut text)?;
    Ok(text)
}
