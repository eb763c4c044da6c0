//! One thread that sends every write when it is due.
//!
//! An event loop's timers are a millisecond coarse; a thread that sleeps on a condition variable until the
//! earliest deadline is some 50 microseconds late.

use super::answer::Answer;
use bytes::Bytes;
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::UnboundedSender;

/// One piece of a body; an error breaks the connection off.
pub(super) type Piece = Result<Bytes, std::io::Error>;

/// An answer under way.
pub(super) struct Job {
    pub(super) started: Instant,
    pub(super) answer: Answer,
    pub(super) to: UnboundedSender<Piece>,
    /// The stream is cut by breaking the connection off rather than by a proper end of the body.
    pub(super) breaks: bool,
}

struct Entry {
    due: Instant,
    seq: u64,
    job: Job,
    /// Only the breaking off is left to do.
    broken: bool,
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

/// What was really sent, and how late.
#[derive(Debug, Default)]
pub(super) struct Sent {
    pub(super) requests: AtomicU64,
    pub(super) tokens: AtomicU64,
    pub(super) writes: AtomicU64,
    pub(super) late_sum_ns: AtomicU64,
    pub(super) late_max_ns: AtomicU64,
}

#[derive(Default)]
pub(super) struct Pacer {
    queue: Mutex<BinaryHeap<Reverse<Entry>>>,
    wake: Condvar,
    over: AtomicBool,
    seq: AtomicU64,
    pub(super) sent: Sent,
}

impl Pacer {
    fn lock(&self) -> MutexGuard<'_, BinaryHeap<Reverse<Entry>>> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn add(&self, job: Job) {
        let seq = self.seq.fetch_add(1, Ordering::Relaxed);
        let entry = Entry { due: job.started + job.answer.due(), seq, job, broken: false };
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
            let again: Vec<Entry> = due.drain(..).filter_map(|e| self.send(e)).collect();
            self.lock().extend(again.into_iter().map(Reverse));
        }
    }

    /// Sends what is due of one answer; gives it back unless it was the last.
    fn send(&self, mut entry: Entry) -> Option<Entry> {
        if entry.broken {
            let _ = entry.job.to.send(Err(std::io::Error::other("cut on purpose")));
            return None;
        }
        let late = entry.due.elapsed().as_nanos() as u64;
        let (text, tokens, last) = entry.job.answer.step();
        let gone = entry.job.to.send(Ok(Bytes::from(text))).is_err();
        self.sent.tokens.fetch_add(u64::from(tokens), Ordering::Relaxed);
        self.sent.writes.fetch_add(1, Ordering::Relaxed);
        self.sent.late_sum_ns.fetch_add(late, Ordering::Relaxed);
        self.sent.late_max_ns.fetch_max(late, Ordering::Relaxed);
        if last || gone {
            // Broken off a little later: what was written last must have left before.
            entry.broken = entry.job.breaks;
            entry.due = Instant::now() + Duration::from_millis(20);
            return (entry.broken && !gone).then_some(entry);
        }
        entry.due = entry.job.started + entry.job.answer.due();
        Some(entry)
    }
}
