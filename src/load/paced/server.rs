//! The HTTP side of the known-timing server.
//!
//! It speaks to its sockets itself: the arrival of a request is the kernel's stamp, and a token's bytes go straight
//! from the pacing thread to the kernel.

use super::answer::{Answer, Asked, Early, frame};
use super::pacer::{Job, Pacer};
use super::{Pace, PacedStats};
use crate::error::{Error, Result};
use crate::load::http::{Body, header};
use crate::load::socket::Socket;
use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::net::{TcpListener, TcpSocket};
use tokio::sync::oneshot;

/// A known-timing server on threads of this process; dropping it stops it.
pub struct PacedServer {
    pub address: SocketAddr,
    pacer: Arc<Pacer>,
    stop: Option<oneshot::Sender<()>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

struct Serving {
    pace: Arc<Pace>,
    pacer: Arc<Pacer>,
    count: AtomicU64,
}

impl PacedServer {
    /// Binds to the loopback address (port 0 takes a free one) and serves until dropped.
    pub fn start(port: u16, pace: Pace, threads: usize) -> Result<PacedServer> {
        let place = SocketAddr::from(([127, 0, 0, 1], port));
        let fail = |e: io::Error| Error::failed("the server cannot listen").at(place).source(e);
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .enable_all()
            .build()
            .map_err(fail)?;
        let listener = {
            let _inside = runtime.enter();
            listen(place).map_err(fail)?
        };
        let address = listener.local_addr().map_err(fail)?;
        let pacer = Arc::new(Pacer::default());
        let serving =
            Arc::new(Serving { pace: Arc::new(pace), pacer: pacer.clone(), count: AtomicU64::new(0) });
        let (stop, stopped) = oneshot::channel();
        let pacing = pacer.clone();
        let threads = vec![
            std::thread::spawn(move || pacing.run()),
            std::thread::spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = accept(listener, serving) => {}
                        _ = stopped => {}
                    }
                });
                runtime.shutdown_background();
            }),
        ];
        Ok(PacedServer { address, pacer, stop: Some(stop), threads })
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn stats(&self) -> PacedStats {
        self.pacer.stats()
    }
}

impl Drop for PacedServer {
    fn drop(&mut self) {
        self.pacer.stop();
        drop(self.stop.take());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// Thousands of connections may be opened at once.
fn listen(place: SocketAddr) -> io::Result<TcpListener> {
    let socket = TcpSocket::new_v4()?;
    socket.set_reuseaddr(true)?;
    socket.bind(place)?;
    socket.listen(16_384)
}

async fn accept(listener: TcpListener, serving: Arc<Serving>) {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => {
                if let Ok(socket) = Socket::new(stream) {
                    tokio::spawn(converse(socket, serving.clone()));
                }
            }
            // No file left: connections may close meanwhile.
            Err(_) => tokio::time::sleep(std::time::Duration::from_millis(10)).await,
        }
    }
}

/// One request as it came.
struct Request {
    get: bool,
    path: String,
    body: Vec<u8>,
    /// When its last byte had arrived.
    at: Instant,
}

/// Answers the requests of one connection, one after the other.
async fn converse(socket: Socket, serving: Arc<Serving>) {
    let mut pending = Vec::new();
    while let Ok(Some(request)) = receive(&socket, &mut pending).await {
        if !answer(&socket, &serving, &request).await.unwrap_or(false) {
            break;
        }
    }
}

/// The next request; None at the end of the connection or where it makes no sense. `pending` holds what came after it.
async fn receive(socket: &Socket, pending: &mut Vec<u8>) -> io::Result<Option<Request>> {
    let mut at = Instant::now();
    let mut request: Option<(Request, Body)> = None;
    loop {
        if request.is_none() {
            match head(pending) {
                Err(()) => return Ok(None),
                Ok(None) => {}
                Ok(Some((length, get, path, body))) => {
                    pending.drain(..length);
                    request = Some((Request { get, path, body: Vec::new(), at }, body));
                }
            }
        }
        if let Some((mut r, mut body)) = request.take() {
            let Ok(rest) = body.push(pending, |piece| r.body.extend_from_slice(piece)).map(<[u8]>::len)
            else {
                return Ok(None);
            };
            pending.drain(..pending.len() - rest);
            if body.done() {
                return Ok(Some(Request { at, ..r }));
            }
            request = Some((r, body));
        }
        let more = socket.read(|r| {
            pending.extend_from_slice(r.bytes);
            at = r.at;
            !r.bytes.is_empty()
        });
        if !more.await? {
            return Ok(None);
        }
    }
}

/// Length of a whole head, whether it is a GET, its path, and the body that follows.
fn head(bytes: &[u8]) -> std::result::Result<Option<(usize, bool, String, Body)>, ()> {
    let mut headers = [httparse::EMPTY_HEADER; 96];
    let mut head = httparse::Request::new(&mut headers);
    match head.parse(bytes) {
        Ok(httparse::Status::Complete(length)) => {
            let body = Body::of(head.headers, Body::Length(0)).map_err(drop)?;
            // A client that waits to be asked for its body is not measured here.
            if header(head.headers, "expect").is_some() {
                return Err(());
            }
            let path = head.path.unwrap_or_default();
            let path = path.split('?').next().unwrap_or_default().to_owned();
            Ok(Some((length, head.method == Some("GET"), path, body)))
        }
        Ok(httparse::Status::Partial) => Ok(None),
        Err(_) => Err(()),
    }
}

/// Answers one request; false when the connection is over.
async fn answer(socket: &Socket, serving: &Serving, request: &Request) -> io::Result<bool> {
    match (request.get, request.path.as_str()) {
        (true, "/health") => whole(socket, 200, "text/plain", "").await,
        (true, "/v1/models") => {
            let body =
                r#"{"object":"list","data":[{"id":"paced","object":"model","max_model_len":1048576}]}"#;
            whole(socket, 200, JSON, body).await
        }
        (true, "/stats") => whole(socket, 200, JSON, &serving.pacer.stats().to_json().to_string()).await,
        (false, "/reset") => {
            serving.pacer.reset();
            whole(socket, 200, JSON, "{}").await
        }
        (false, "/v1/completions") => generate(socket, serving, request, false).await,
        (false, "/v1/chat/completions") => generate(socket, serving, request, true).await,
        _ => whole(socket, 404, JSON, r#"{"error":{"message":"no such route"}}"#).await,
    }
}

const JSON: &str = "application/json";
const EVENTS: &str = "text/event-stream; charset=utf-8";

/// An answer in one piece.
async fn whole(socket: &Socket, status: u16, kind: &str, body: &str) -> io::Result<bool> {
    let head =
        format!("HTTP/1.1 {status} x\r\ncontent-type: {kind}\r\ncontent-length: {}\r\n\r\n", body.len());
    socket.write(head.as_bytes(), body.as_bytes()).await?;
    Ok(true)
}

async fn generate(socket: &Socket, serving: &Serving, request: &Request, chat: bool) -> io::Result<bool> {
    let index = serving.count.fetch_add(1, Ordering::Relaxed);
    serving.pacer.requests.fetch_add(1, Ordering::Relaxed);
    let pace = serving.pace.clone();
    if Pace::belongs(pace.hang_share, index) {
        // Until the client has enough of it.
        while socket.read(|r| !r.bytes.is_empty()).await? {}
        return Ok(false);
    }
    if Pace::belongs(pace.error_share, index) {
        return whole(socket, pace.error_status, JSON, r#"{"error":{"message":"refused on purpose"}}"#).await;
    }
    if Pace::belongs(pace.garbage_share, index) {
        return whole(socket, 200, EVENTS, "data: {\"choices\": oops\n\n<html>\n\n").await;
    }
    let Some(asked) = Asked::read(chat, &request.body) else {
        return whole(socket, 400, JSON, r#"{"error":{"message":"not JSON"}}"#).await;
    };
    let early = if Pace::belongs(pace.truncate_share, index) {
        Early::Cut
    } else if Pace::belongs(pace.in_band_error_share, index) {
        Early::InBandError
    } else {
        Early::No
    };
    // Half of the cut streams end properly but early, the other half break off.
    let breaks = early == Early::Cut && index % 4 >= 2;
    let answer = Answer::new(index, asked, pace, early, breaks);
    let mut opening = Vec::new();
    if let Some(text) = answer.opening() {
        frame(&text, &mut opening);
    }
    let mut head = String::with_capacity(128);
    let _ = write!(head, "HTTP/1.1 200 OK\r\ncontent-type: {EVENTS}\r\ntransfer-encoding: chunked\r\n\r\n");
    socket.write(head.as_bytes(), &opening).await?;
    serving.pacer.add(Job { started: request.at, answer, to: socket.stream(), breaks });
    Ok(true)
}
