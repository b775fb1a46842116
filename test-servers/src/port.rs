//! Free ports.

use std::collections::HashSet;
use std::net::TcpListener;
use std::sync::Mutex;

/// Below the kernel's range for outgoing connections (from 32768), so that no connection takes the
/// port later. The bus of a Redis Cluster listens on the port plus 10,000, which is below that
/// range, too.
const RANGE: std::ops::Range<u16> = 11_000..22_000;
pub(crate) const CLUSTER_BUS_OFFSET: u16 = 10_000;

/// Returns a port of 127.0.0.1 that is free now, together with its cluster bus port, and that was
/// not returned before in this process. Another process may still take it, so the caller has to try
/// again with another port.
pub(crate) fn free() -> std::io::Result<u16> {
    static GIVEN: Mutex<Option<HashSet<u16>>> = Mutex::new(None);
    let mut given = GIVEN.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    let given = given.get_or_insert_default();
    for _ in 0..1000 {
        let port = fastrand::u16(RANGE);
        if !given.contains(&port) && is_free(port) && is_free(port + CLUSTER_BUS_OFFSET) {
            given.insert(port);
            return Ok(port);
        }
    }
    Err(std::io::Error::new(std::io::ErrorKind::AddrInUse, "no free port between 11000 and 22000"))
}

fn is_free(port: u16) -> bool {
    TcpListener::bind(("127.0.0.1", port)).is_ok()
}
