//! What the engine thread and the HTTP side share of one request: how far each generation has come.
//!
//! The engine only stores counters and wakes; texts are made by the reader. A reader that comes late finds
//! several tokens and sends them in one write, so a busy machine costs writes, not memory.

use futures_util::task::AtomicWaker;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// Progress of one generation.
#[derive(Debug, Default)]
struct Choice {
    produced: AtomicU32,
    finished: AtomicBool,
}

/// Progress of one request, which may hold several generations.
#[derive(Debug)]
pub struct Reply {
    waker: AtomicWaker,
    choices: Box<[Choice]>,
    /// When the newest tokens were due, nanoseconds since the engine's start.
    due: AtomicU64,
    failure: OnceLock<String>,
}

/// What a reader sees of one generation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    pub produced: u32,
    pub finished: bool,
}

impl Reply {
    pub fn new(choices: usize) -> Reply {
        Reply {
            waker: AtomicWaker::new(),
            choices: (0..choices).map(|_| Choice::default()).collect(),
            due: AtomicU64::new(0),
            failure: OnceLock::new(),
        }
    }

    pub fn len(&self) -> usize {
        self.choices.len()
    }

    pub fn is_empty(&self) -> bool {
        self.choices.is_empty()
    }

    /// Engine side: generation `choice` has now `index` tokens. Does not wake: the engine first stores the
    /// tokens of the whole step.
    pub fn advance(&self, choice: usize, index: u32, finished: bool, due_ns: u64) {
        self.due.store(due_ns, Ordering::Relaxed);
        if let Some(c) = self.choices.get(choice) {
            c.produced.store(index, Ordering::Relaxed);
            c.finished.store(finished, Ordering::Release);
        }
    }

    /// Ends the whole request with an error; the first one stays.
    pub fn fail(&self, why: impl Into<String>) {
        let _ = self.failure.set(why.into());
        self.wake();
    }

    pub fn wake(&self) {
        self.waker.wake();
    }

    /// Reader side: to be woken at the next change. Register first, look afterwards.
    pub fn register(&self, waker: &std::task::Waker) {
        self.waker.register(waker);
    }

    pub fn progress(&self, choice: usize) -> Progress {
        self.choices.get(choice).map_or(Progress { produced: 0, finished: true }, |c| {
            let finished = c.finished.load(Ordering::Acquire);
            Progress { produced: c.produced.load(Ordering::Relaxed), finished }
        })
    }

    pub fn due(&self) -> u64 {
        self.due.load(Ordering::Relaxed)
    }

    pub fn failure(&self) -> Option<&str> {
        self.failure.get().map(String::as_str)
    }

    pub fn finished(&self) -> bool {
        self.choices.iter().all(|c| c.finished.load(Ordering::Acquire))
    }

    /// Waits until every generation has finished, or the request failed.
    pub async fn done(&self) -> Result<(), String> {
        std::future::poll_fn(|cx| {
            self.register(cx.waker());
            if let Some(why) = self.failure() {
                return std::task::Poll::Ready(Err(why.to_owned()));
            }
            if self.finished() { std::task::Poll::Ready(Ok(())) } else { std::task::Poll::Pending }
        })
        .await
    }
}
