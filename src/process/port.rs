//! Loopback ports: choosing a free one and proving that one is free.

use crate::error::{Error, Result};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::time::Duration;

/// A loopback port that nothing listens on, chosen by the kernel.
pub fn free_port() -> Result<u16> {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|l| l.local_addr())
        .map(|a| a.port())
        .map_err(|e| Error::failed("no free port on the loopback address").source(e))
}

/// Nothing accepts connections on this loopback port and it can be bound.
///
/// Both are asked: an engine that binds with `SO_REUSEPORT` shares a port without any error (vLLM up to
/// 0.24 does), so being able to connect is the proof of a second server, and a bind that fails is the proof
/// of one that has not yet begun to listen.
pub fn port_free(port: u16) -> bool {
    let addr = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    if TcpStream::connect_timeout(&addr, Duration::from_millis(200)).is_ok() {
        return false;
    }
    // The standard listener sets SO_REUSEADDR, so lingering TIME_WAIT sockets do not count as taken.
    TcpListener::bind(addr).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_held_port_is_not_free() {
        let held = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = held.local_addr().unwrap().port();
        assert!(!port_free(port));
        drop(held);
        assert!(port_free(port));
        assert!(free_port().unwrap() > 0);
    }
}
