//! One TLS connection over a socket: ciphertext in and out are the socket's, so that its time stamps stay the kernel's.

use rustls::ClientConnection;
use rustls::pki_types::ServerName;
use std::io::{self, Read as _, Write as _};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// The state of one connection. The lock is never held while the socket is waited for.
#[derive(Debug)]
pub(super) struct Tls {
    state: Mutex<ClientConnection>,
}

impl Tls {
    /// Of a connection to the host of an address. Errors: a host that is no name, no certificates on this machine.
    pub(super) fn new(host: &str) -> io::Result<Tls> {
        let client = crate::host::tls_client().map_err(io::Error::other)?;
        if let Some(why) = client.untrusting {
            return Err(io::Error::other(why));
        }
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let mut state = ClientConnection::new(client.config, name).map_err(io::Error::other)?;
        // A request is handed over whole.
        state.set_buffer_limit(None);
        Ok(Tls { state: Mutex::new(state) })
    }

    fn state(&self) -> MutexGuard<'_, ClientConnection> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn is_handshaking(&self) -> bool {
        self.state().is_handshaking()
    }

    /// What came from the socket, decrypted into `plain`; true once the other side has closed in order.
    pub(super) fn decrypt(&self, mut bytes: &[u8], plain: &mut Vec<u8>) -> io::Result<bool> {
        let mut state = self.state();
        let mut closed = false;
        while !bytes.is_empty() {
            state.read_tls(&mut bytes)?;
            let io = state.process_new_packets().map_err(io::Error::other)?;
            let before = plain.len();
            plain.resize(before + io.plaintext_bytes_to_read(), 0);
            if before < plain.len() {
                state.reader().read_exact(&mut plain[before..])?;
            }
            closed |= io.peer_has_closed();
            if closed {
                break;
            }
        }
        Ok(closed)
    }

    /// The ciphertext of both parts, with whatever the protocol itself has to say.
    pub(super) fn encrypt(&self, head: &[u8], body: &[u8]) -> io::Result<Vec<u8>> {
        let mut state = self.state();
        state.writer().write_all(head)?;
        state.writer().write_all(body)?;
        let mut out = Vec::with_capacity(head.len() + body.len() + 256);
        while state.wants_write() {
            state.write_tls(&mut out)?;
        }
        Ok(out)
    }
}
