//! TCP sockets whose reads say when the bytes arrived at this machine.
//!
//! The kernel stamps each packet when it comes in (`SO_TIMESTAMPNS`), whatever the reading thread is doing then, so
//! that a busy client does not read its own lateness into the server's times. Where a socket gives no stamp, the time
//! after the read is taken.

use super::tls::Tls;
use hdrhistogram::Histogram;
use nix::errno::Errno;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, recv, recvmsg, setsockopt, sockopt::ReceiveTimestampns,
};
use std::cell::RefCell;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::AsRawFd;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes taken from the kernel at once.
const READ: usize = 64 * 1024;
/// The offset between wall clock and monotonic clock is taken again after this: the wall clock may be set or slewed.
const RESYNC: Duration = Duration::from_millis(100);

/// A connected socket on the event loop of the thread that made it.
#[derive(Debug)]
pub(super) struct Socket {
    stream: Arc<TcpStream>,
    /// Of an `https` address.
    tls: Option<Tls>,
}

/// One read: what came, and when it had come.
#[derive(Debug, Clone, Copy)]
pub(super) struct Read<'a> {
    /// Empty at the end of the stream.
    pub(super) bytes: &'a [u8],
    /// Arrival at this machine of the last byte.
    pub(super) at: Instant,
}

impl Socket {
    pub(super) fn new(stream: TcpStream) -> io::Result<Socket> {
        stream.set_nodelay(true)?;
        // A system without such stamps is measured by the clock after each read.
        let _ = setsockopt(&stream, ReceiveTimestampns, &true);
        Ok(Socket { stream: Arc::new(stream), tls: None })
    }

    /// The same for a server that speaks TLS, after its handshake.
    pub(super) async fn with_tls(stream: TcpStream, host: &str) -> io::Result<Socket> {
        let plain = Socket::new(stream)?;
        let tls = Tls::new(host)?;
        loop {
            let hello = tls.encrypt(&[], &[])?;
            plain.write_raw(&hello, &[]).await?;
            if !tls.is_handshaking() {
                return Ok(Socket { tls: Some(tls), ..plain });
            }
            let answer = plain.read_raw(|r| {
                if r.bytes.is_empty() {
                    return Err(io::ErrorKind::UnexpectedEof.into());
                }
                tls.decrypt(r.bytes, &mut Vec::new())
            });
            answer.await??;
        }
    }

    /// The socket itself, for a thread that writes without an event loop.
    pub(super) fn stream(&self) -> Arc<TcpStream> {
        self.stream.clone()
    }

    /// Waits for bytes and hands them to `use_bytes`, whose answer is given back.
    pub(super) async fn read<T>(&self, mut use_bytes: impl FnMut(Read<'_>) -> T) -> io::Result<T> {
        let Some(tls) = &self.tls else { return self.read_raw(use_bytes).await };
        loop {
            // A read may hold no whole record yet, or only words of the protocol.
            let step = self.read_raw(|r| {
                PLAIN.with_borrow_mut(|plain| {
                    plain.clear();
                    let closed = tls.decrypt(r.bytes, plain)? || r.bytes.is_empty();
                    let told = closed || !plain.is_empty();
                    Ok::<_, io::Error>(told.then(|| use_bytes(Read { bytes: plain, at: r.at })))
                })
            });
            if let Some(done) = step.await?? {
                return Ok(done);
            }
        }
    }

    async fn read_raw<T>(&self, mut use_bytes: impl FnMut(Read<'_>) -> T) -> io::Result<T> {
        loop {
            std::future::poll_fn(|cx| self.stream.poll_read_ready(cx)).await?;
            let mut done = None;
            let emptied = self.stream.try_io(Interest::READABLE, || {
                READER.with_borrow_mut(|reader| {
                    let (n, at) = reader.receive(&self.stream)?;
                    done = Some(use_bytes(Read { bytes: &reader.buffer[..n], at }));
                    // A short read has emptied the socket: tokio is told to wait for the next bytes, without another
                    // system call to find out. The end of the stream stays ready.
                    if n > 0 && n < READ { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
                })
            });
            match (done, emptied) {
                (Some(done), _) => return Ok(done),
                (None, Err(e))
                    if matches!(e.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted) => {}
                (None, Err(e)) => return Err(e),
                (None, Ok(())) => {}
            }
        }
    }

    /// Whether an idle connection has been closed, or has bytes that nobody asked for.
    pub(super) fn stale(&self) -> bool {
        let mut byte = [0];
        let mut waiting =
            || recv(self.stream.as_raw_fd(), &mut byte, MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT);
        let Some(tls) = &self.tls else { return waiting() != Err(Errno::EAGAIN) };
        loop {
            match waiting() {
                Err(Errno::EAGAIN) => return false,
                Err(_) | Ok(0) => return true,
                // Tickets for a later session come unasked and mean nothing here.
                Ok(_) => {
                    let words = READER.with_borrow_mut(|reader| {
                        let (n, _) = reader.receive(&self.stream)?;
                        let mut plain = Vec::new();
                        let closed = tls.decrypt(&reader.buffer[..n], &mut plain)?;
                        Ok::<_, io::Error>(closed || !plain.is_empty())
                    });
                    if words.unwrap_or(true) {
                        return true;
                    }
                }
            }
        }
    }

    /// Writes both parts; says when the first byte was handed to the kernel.
    pub(super) async fn write(&self, head: &[u8], body: &[u8]) -> io::Result<Instant> {
        match &self.tls {
            None => self.write_raw(head, body).await,
            Some(tls) => self.write_raw(&tls.encrypt(head, body)?, &[]).await,
        }
    }

    async fn write_raw(&self, head: &[u8], body: &[u8]) -> io::Result<Instant> {
        let mut first = Instant::now();
        let mut done = 0;
        while done < head.len() + body.len() {
            let parts = [
                IoSlice::new(&head[done.min(head.len())..]),
                IoSlice::new(&body[done.saturating_sub(head.len())..]),
            ];
            match self.stream.try_write_vectored(&parts) {
                Ok(0) => return Err(io::ErrorKind::WriteZero.into()),
                Ok(n) => done += n,
                Err(e) if e.kind() == io::ErrorKind::WouldBlock => {
                    self.stream.writable().await?;
                    if done == 0 {
                        first = Instant::now();
                    }
                }
                Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
                Err(e) => return Err(e),
            }
        }
        Ok(first)
    }
}

thread_local! {
    /// One buffer a thread: a connection that waits holds no memory for bytes.
    static READER: RefCell<Reader> = RefCell::new(Reader::new());
    /// What the last read of a TLS connection held.
    static PLAIN: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// How long bytes lay in the socket before this thread read them, microseconds, since the last call; one entry for
/// each read that had a stamp.
pub(super) fn take_read_delays() -> Histogram<u32> {
    READER.with_borrow_mut(|r| std::mem::replace(&mut r.delays, no_delays()))
}

/// Up to a minute, to three digits.
pub(super) fn no_delays() -> Histogram<u32> {
    Histogram::new_with_bounds(1, 60_000_000, 3).expect("the bounds are right")
}

struct Reader {
    buffer: Vec<u8>,
    control: Vec<u8>,
    clock: StampClock,
    delays: Histogram<u32>,
}

impl Reader {
    fn new() -> Reader {
        Reader {
            buffer: vec![0; READ],
            control: nix::cmsg_space!(nix::sys::time::TimeSpec),
            clock: StampClock::now(),
            delays: no_delays(),
        }
    }

    fn receive(&mut self, stream: &TcpStream) -> io::Result<(usize, Instant)> {
        let mut parts = [IoSliceMut::new(&mut self.buffer)];
        let got = recvmsg::<()>(stream.as_raw_fd(), &mut parts, Some(&mut self.control), MsgFlags::empty())?;
        let now = Instant::now();
        let stamp = got.cmsgs()?.find_map(|c| match c {
            ControlMessageOwned::ScmTimestampns(t) => Some(Duration::from(t)),
            _ => None,
        });
        let n = got.bytes;
        let at = stamp.map_or(now, |s| self.clock.instant(s, now));
        if stamp.is_some() {
            self.delays.saturating_record((now - at).as_micros() as u64);
        }
        Ok((n, at))
    }
}

/// Turns the kernel's wall-clock stamps into instants.
#[derive(Debug)]
struct StampClock {
    at: Instant,
    wall: Duration,
}

impl StampClock {
    fn now() -> StampClock {
        // The tightest of three: the thread may be interrupted between the two clocks.
        let pair = || {
            let before = Instant::now();
            let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            let width = before.elapsed();
            (width, StampClock { at: before + width / 2, wall })
        };
        let [a, b, c] = [pair(), pair(), pair()];
        [b, c].into_iter().fold(a, |best, p| if p.0 < best.0 { p } else { best }).1
    }

    /// Never later than `now`.
    fn instant(&mut self, stamp: Duration, now: Instant) -> Instant {
        if now.saturating_duration_since(self.at) > RESYNC {
            *self = StampClock::now();
        }
        let at = match stamp.checked_sub(self.wall) {
            Some(after) => self.at.checked_add(after),
            None => self.at.checked_sub(self.wall.saturating_sub(stamp)),
        };
        at.map_or(now, |at| at.min(now))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::TcpListener;

    #[test]
    fn bytes_are_stamped_when_they_arrive_not_when_they_are_read() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut from = std::net::TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let stream = listener.accept().unwrap().0;
        stream.set_nonblocking(true).unwrap();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let socket = Socket::new(TcpStream::from_std(stream).unwrap()).unwrap();
            let read = async || socket.read(|r| (r.bytes.to_vec(), r.at)).await.unwrap();
            for _ in 0..3 {
                let before = Instant::now();
                from.write_all(b"abc").unwrap();
                let after = Instant::now();
                // The reader is away for a while.
                std::thread::sleep(Duration::from_millis(120));
                let (bytes, at) = read().await;
                assert_eq!(bytes, b"abc");
                let slack = Duration::from_millis(1);
                assert!(
                    at + slack >= before && at <= after + slack,
                    "{:?} {:?}",
                    before.elapsed(),
                    at.elapsed()
                );
            }
            assert!(!socket.stale());
            drop(from);
            assert_eq!(read().await.0, b"");
            assert!(socket.stale());
        });
        let delays = take_read_delays();
        assert!(delays.len() >= 3 && delays.value_at_quantile(0.5) > 100_000, "{}", delays.max());
    }
}
