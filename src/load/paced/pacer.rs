//! One thread that writes every piece to its socket when it is due, and keeps account of when it did.
//!
//! An event loop's timers are a millisecond coarse; a thread that sleeps on a condition variable until the
//! earliest deadline is some ten microseconds late.

use super::answer::Answer;
use super::sent::{PacedStats, Sent};
use nix::errno::Errno;
use nix::sys::socket::{MsgFlags, Shutdown, send, shutdown};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::num::NonZeroU64;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpStream;

/// An answer under way; its head is already sent.
pub(super) struct Job {
    /// When the request had arrived.
    pub(super) started: Instant,
    pub(super) answer: Answer,
    pub(super) to: Arc<TcpStream>,
    /// The stream is cut by breaking the connection off rather than by a proper end of the body.
    pub(super) breaks: bool,
}

struct Entry {
    due: Instant,
    seq: u64,
    job: Job,
    /// When its last piece was written.
    wrote: Option<Instant>,
    /// Bytes that the socket did not take.
    rest: Vec<u8>,
    /// Nothing is left to do but to send `rest` and, where asked for, to break the connection off.
    last: bool,
}

impl PartialEq for Entry {
    fn eq(&self, o: &Entry) -> bool {
        (self.due, self.seq) == (o.due, o.seq)
    }
}
impl Eq for Entry {}
impl PartialOrd for Entry {
    fn partial_cmp(&self, o: &Entry) -> Option<std::cmp::Ordering> {
        Some(self.cmp(o))
    }
}
impl Ord for Entry {
    fn cmp(&self, o: &Entry) -> std::cmp::Ordering {
        (self.due, self.seq).cmp(&(o.due, o.seq))
    }
}

#[derive(Default)]
pub(super) struct Pacer {
    queue: Mutex<BinaryHeap<Reverse<Entry>>>,
    wake: Condvar,
    over: AtomicBool,
    seq: AtomicU64,
    pub(super) requests: AtomicU64,
    sent: Mutex<Sent>,
}

/// A socket that is full is tried again after this.
const RETRY: Duration = Duration::from_millis(1);
/// A connection is broken off so much later than its last write: that must have left before.
const BREAK: Duration = Duration::from_millis(20);

impl Pacer {
    fn lock(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Entry>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sent(&self) -> MutexGuard<'_, Sent> {
        self.sent.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The account of what was sent.
    pub(super) fn stats(&self) -> PacedStats {
        self.sent().stats(self.requests.load(Ordering::Relaxed))
    }

    /// Begins the account anew.
    pub(super) fn reset(&self) {
        *self.sent() = Sent::default();
        self.requests.store(0, Ordering::Relaxed);
    }

    pub(super) fn add(&self, job: Job) {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed);
        let due = job.started + job.answer.due();
        let entry = Entry { due, seq, job, wrote: None, rest: Vec::new(), last: false };
        let mut queue = self.lock();
        let earliest = queue.peek().is_none_or(|e| entry.due < e.0.due);
        queue.push(Reverse(entry));
        drop(queue);
        if earliest {
            self.wake.notify_one();
        }
    }

    pub(super) fn stop(&self) {
        self.over.store(true, Ordering::SeqCst);
        self.wake.notify_one();
    }

    /// The pacing thread.
    pub(super) fn run(self: Arc<Self>) {
        // The kernel delays wake-ups by 50 microseconds unless told otherwise; without the right to say so it is
        // that much later.
        let _ = rustix::thread::set_current_timer_slack(NonZeroU64::new(1000));
        // Before the clients that share its cores, where the system allows it.
        let _ = rustix::process::nice(-10);
        let mut due: Vec<Entry> = Vec::new();
        while !self.over.load(Ordering::SeqCst) {
            let mut queue = self.lock();
            let now = Instant::now();
            while queue.peek().is_some_and(|e| e.0.due <= now) {
                due.extend(queue.pop().map(|e| e.0));
            }
            if due.is_empty() {
                // Woken at the latest after a while, to see whether it is over.
                let wait = queue.peek().map_or(Duration::from_millis(100), |e| e.0.due - now);
                drop(self.wake.wait_timeout(queue, wait.min(Duration::from_millis(100))));
                continue;
            }
            drop(queue);
            let mut sent = self.sent();
            let again: Vec<Entry> = due.drain(..).filter_map(|e| step(e, &mut sent)).collect();
            drop(sent);
            self.lock().extend(again.into_iter().map(Reverse));
        }
    }
}

/// Sends what is due of one answer; gives it back unless it was the last.
fn step(mut entry: Entry, sent: &mut Sent) -> Option<Entry> {
    if entry.rest.is_empty() && !entry.last {
        let now = Instant::now();
        let tokens = entry.job.answer.step(&mut entry.rest);
        entry.last = entry.job.answer.over();
        sent.write(now, entry.due, entry.wrote.unwrap_or(entry.job.started), entry.wrote.is_none(), tokens);
        entry.wrote = Some(now);
    } else if entry.rest.is_empty() {
        // Broken off: the client sees an end inside the body.
        let _ = shutdown(entry.job.to.as_raw_fd(), Shutdown::Both);
        return None;
    }
    match send(entry.job.to.as_raw_fd(), &entry.rest, MsgFlags::MSG_NOSIGNAL | MsgFlags::MSG_DONTWAIT) {
        Ok(n) => drop(entry.rest.drain(..n)),
        Err(Errno::EAGAIN | Errno::EINTR) => {}
        // The client has gone.
        Err(_) => return None,
    }
    entry.due = if !entry.rest.is_empty() {
        sent.full += 1;
        Instant::now() + RETRY
    } else if !entry.last {
        entry.job.started + entry.job.answer.due()
    } else if entry.job.breaks {
        Instant::now() + BREAK
    } else {
        return None;
    };
    Some(entry)
}
