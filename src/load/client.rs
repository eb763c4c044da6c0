//! One request over HTTP/1.1, timed.
//!
//! The exchange is done here rather than by a general HTTP client, because the time stamps must be those of the
//! socket: sent when the first byte is handed to the kernel on an open connection, arrived when the kernel got it.

use super::http::Response;
use super::options::{Progress, RunOptions, Target};
use super::outcome::{ErrorKind, Row};
use super::socket::Socket;
use super::stream::StreamState;
use crate::error::{Error, Result};
use crate::units::Nanos;
use bytes::Bytes;
use std::fmt::Write as _;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use url::Url;

/// A client with its own connections, for one thread.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    inner: Arc<Inner>,
}

#[derive(Debug)]
struct Inner {
    host: String,
    port: u16,
    tls: bool,
    connect_timeout: Duration,
    /// Head of a POST up to the number of bytes of its body.
    post: String,
    /// The request that opens a connection.
    health: String,
    idle: Mutex<Vec<Socket>>,
}

/// Bytes kept of an answer that is no stream.
const REFUSAL: usize = 1600;
/// Bytes read of one before the connection is given up.
const LONGEST_REFUSAL: usize = 4 << 20;

/// The clients of one thread, one for each server of the target.
#[derive(Debug, Clone)]
pub(super) struct Senders {
    first: Sender,
    others: Vec<Sender>,
}

impl Senders {
    pub(super) fn new(target: &Target, options: &RunOptions) -> Result<Senders> {
        let others = target.others.iter().map(|url| Sender::new(url, target, options));
        Ok(Senders {
            first: Sender::new(&target.base_url, target, options)?,
            others: others.collect::<Result<_>>()?,
        })
    }

    /// The client of the server whose turn it is with the n-th request.
    pub(super) fn nth(&self, n: usize) -> &Sender {
        let at = n % (1 + self.others.len());
        at.checked_sub(1).and_then(|k| self.others.get(k)).unwrap_or(&self.first)
    }
}

impl Sender {
    fn new(base_url: &str, target: &Target, options: &RunOptions) -> Result<Sender> {
        let base = base_url.trim_end_matches('/');
        let wrong = |why: String| {
            Error::usage(format!("`{base_url}` is not the address of a server: {why}"))
                .hint("such as http://127.0.0.1:8000")
        };
        let base = super::base_url(base)?;
        let url = Url::parse(&base).map_err(|e| wrong(e.to_string()))?;
        let host = url.host_str().unwrap_or_default();
        let mut fields = format!("host: {host}");
        if let Some(port) = url.port() {
            let _ = write!(fields, ":{port}");
        }
        fields.push_str(concat!("\r\nuser-agent: dyno/", env!("CARGO_PKG_VERSION"), "\r\naccept: */*\r\n"));
        if let Some(key) = target.api_key.as_ref().map(super::Secret::reveal) {
            if key.bytes().any(|b| b.is_ascii_control()) {
                return Err(Error::usage("the API key holds characters that no header can carry"));
            }
            let _ = write!(fields, "authorization: Bearer {key}\r\n");
        }
        let path = url.path().trim_end_matches('/');
        Ok(Sender {
            inner: Arc::new(Inner {
                host: host.trim_matches(['[', ']']).to_owned(),
                port: url.port_or_known_default().unwrap_or(80),
                tls: url.scheme() == "https",
                connect_timeout: options.connect_timeout,
                post: format!(
                    "POST {path}{} HTTP/1.1\r\n{fields}content-type: application/json\r\ncontent-length: ",
                    target.endpoint.path()
                ),
                health: format!("GET {path}/health HTTP/1.1\r\n{fields}\r\n"),
                idle: Mutex::default(),
            }),
        })
    }

    /// Opens a connection and leaves it in the pool; whatever is answered will do.
    pub(super) async fn preconnect(&self) {
        let Ok(socket) = self.connect().await else { return };
        let mut response = Response::new();
        if socket.write(self.inner.health.as_bytes(), &[]).await.is_err() {
            return;
        }
        let mut left = LONGEST_REFUSAL;
        while !response.done() && left > 0 {
            let read = socket
                .read(|r| {
                    left = left.saturating_sub(r.bytes.len());
                    !r.bytes.is_empty() && response.push(r.bytes, |_, _| {}).is_ok()
                })
                .await;
            if !matches!(read, Ok(true)) {
                return;
            }
        }
        self.keep(socket, &response);
    }

    /// Sends the request and reads its stream to the end; returns what broke it off, if anything did. Times
    /// count from `start`. The state of the stream stays with the caller, so that what had arrived survives a
    /// timeout that drops this future.
    pub(super) async fn send(
        &self,
        body: Bytes,
        start: Instant,
        progress: &Progress,
        row: &mut Row,
        stream: &mut StreamState,
    ) -> Option<Cut> {
        row.sent = since(start);
        let head = format!("{}{}\r\n\r\n", self.inner.post, body.len());
        let socket = loop {
            let (socket, reused) = match self.idle() {
                Some(socket) => (socket, true),
                None => match self.connect().await {
                    Ok(socket) => (socket, false),
                    Err(e) => return Some((ErrorKind::Connect, self.no_connection(&e))),
                },
            };
            match socket.write(head.as_bytes(), &body).await {
                Ok(at) => {
                    let at = Nanos::from(at.saturating_duration_since(start));
                    row.connect = at.saturating_sub(row.sent);
                    row.write = since(start).saturating_sub(at);
                    row.sent = at;
                    break socket;
                }
                // The server closed the idle connection just now, and has not taken the request.
                Err(_) if reused => {}
                Err(e) => return Some((ErrorKind::Reset, format!("the request was not taken: {e}"))),
            }
        };
        Progress::add(&progress.sent, 1);
        self.receive(socket, start, progress, row, stream).await.err()
    }

    /// Reads the answer to its end.
    async fn receive(
        &self,
        socket: Socket,
        start: Instant,
        progress: &Progress,
        row: &mut Row,
        stream: &mut StreamState,
    ) -> std::result::Result<(), Cut> {
        let mut response = Response::new();
        let mut refusal = Vec::new();
        let mut refused = 0;
        let mut last = row.sent;
        let outcome = loop {
            let read = socket.read(|r| {
                // Never before what was seen before it: the wall clock behind the stamps may be set.
                last = last.max(Nanos::from(r.at.saturating_duration_since(start)));
                let (mut chunks, begins) = (0, stream.untouched());
                let result = response.push(r.bytes, |status, piece| {
                    if status == 200 {
                        chunks += stream.push(last, piece);
                        return;
                    }
                    refused += piece.len();
                    let room = REFUSAL - refusal.len().min(REFUSAL);
                    refusal.extend_from_slice(&piece[..piece.len().min(room)]);
                });
                let result = result.and_then(|()| match stream.excess() {
                    Some(why) => Err(why.to_owned()),
                    None if refused > LONGEST_REFUSAL => Err("the refusal does not end".to_owned()),
                    None => Ok(()),
                });
                if chunks > 0 {
                    Progress::add(&progress.begun, u64::from(begins));
                    Progress::add(&progress.chunks, chunks);
                }
                result.map(|()| r.bytes.is_empty())
            });
            let read = read.await;
            if row.headers.is_none() && response.status().is_some() {
                row.headers = Some(last);
            }
            match read {
                Ok(Ok(end)) if response.done() || (end && response.done_at_end()) => break Ok(()),
                Ok(Ok(false)) => {}
                Ok(Ok(true)) => break Err(closed(&response)),
                Ok(Err(why)) => break Err((ErrorKind::BadResponse, why)),
                Err(e) => break Err((broken(&e), format!("reading the answer: {e}"))),
            }
        };
        // When its last byte arrived, not when this thread came to look: a closed loop's next request is due then.
        row.ended = last;
        self.keep(socket, &response);
        match response.status() {
            None | Some(200) => outcome,
            Some(status) => {
                Err((ErrorKind::Http(status), String::from_utf8_lossy(&refusal).chars().take(400).collect()))
            }
        }
    }

    fn pool(&self) -> MutexGuard<'_, Vec<Socket>> {
        self.inner.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An open connection that nobody uses.
    fn idle(&self) -> Option<Socket> {
        loop {
            let socket = self.pool().pop()?;
            if !socket.stale() {
                return Some(socket);
            }
        }
    }

    fn keep(&self, socket: Socket, response: &Response) {
        if response.reusable() {
            self.pool().push(socket);
        }
    }

    async fn connect(&self) -> io::Result<Socket> {
        let opening = async {
            let host = self.inner.host.as_str();
            let stream = tokio::net::TcpStream::connect((host, self.inner.port)).await?;
            if self.inner.tls { Socket::with_tls(stream, host).await } else { Socket::new(stream) }
        };
        match tokio::time::timeout(self.inner.connect_timeout, opening).await {
            Ok(socket) => socket,
            Err(_) => Err(io::ErrorKind::TimedOut.into()),
        }
    }

    fn no_connection(&self, e: &io::Error) -> String {
        format!("no connection to {}:{}: {e}", self.inner.host, self.inner.port)
    }
}

/// What ended a stream before its time.
pub(super) type Cut = (ErrorKind, String);

pub(super) fn since(start: Instant) -> Nanos {
    Nanos::from(start.elapsed())
}

/// The connection was closed in order, but too early.
fn closed(response: &Response) -> Cut {
    if response.status().is_none() {
        (ErrorKind::Reset, "the connection was closed before the answer began".into())
    } else {
        (ErrorKind::Truncated, "the connection was closed inside the answer".into())
    }
}

fn broken(e: &io::Error) -> ErrorKind {
    match e.kind() {
        io::ErrorKind::ConnectionReset | io::ErrorKind::ConnectionAborted | io::ErrorKind::BrokenPipe => {
            ErrorKind::Reset
        }
        io::ErrorKind::TimedOut => ErrorKind::Timeout,
        _ => ErrorKind::Truncated,
    }
}
