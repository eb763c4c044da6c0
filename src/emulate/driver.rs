//! The engine thread: runs the [`Clockwork`] against the real clock.
//!
//! A thread of its own, not a task: an async runtime's timers tick in milliseconds, a thread that waits on
//! a channel with a deadline wakes within tens of microseconds.

use super::clockwork::{Clockwork, Sink};
use super::fault::Fault;
use super::reply::Reply;
use super::stats::Stats;
use super::stream::WireLateness;
use crate::cost::StepShape;
use crate::sim::scheduler::{Refusal, SimRequest, TokenEvent};
use crate::units::Nanos;
use std::collections::HashMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, TryRecvError, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// What the HTTP side tells the engine.
pub enum Command {
    Add {
        arrival: Nanos,
        request: SimRequest,
        reply: Arc<Reply>,
        choice: usize,
    },
    Abort(u64),
    ResetPrefixCache(Sender<bool>),
    /// Everything in flight ends; the thread returns.
    Stop,
}

/// Where warnings of the engine go (the log).
pub type Warn = Arc<dyn Fn(&str) + Send + Sync>;

/// Handle to a running engine thread.
pub struct Engine {
    commands: Sender<Command>,
    stats: Arc<Mutex<Stats>>,
    origin: Instant,
    thread: Mutex<Option<JoinHandle<()>>>,
    died: Arc<tokio::sync::Notify>,
    wire: Arc<WireLateness>,
}

impl Engine {
    /// Starts the thread. `fault` is what shall go wrong while it runs.
    pub fn start(clockwork: Clockwork, fault: Fault, warn: Warn) -> std::io::Result<Engine> {
        let (commands, inbox) = channel();
        let stats = Arc::new(Mutex::new(Stats::default()));
        let origin = Instant::now();
        let died = Arc::new(tokio::sync::Notify::new());
        let wire = Arc::new(WireLateness::default());
        let mut core = Core {
            clockwork,
            book: Book {
                entries: HashMap::new(),
                woken: Vec::new(),
                stats: stats.clone(),
                clock: origin,
                lead: Lead {
                    wire: wire.clone(),
                    per_row: 0.0,
                    emissions: 0,
                    rows: 0,
                    squares: 0,
                    before: (0, 0),
                },
            },
            inbox,
            fault,
            admitted: 0,
            stalled: false,
            warn,
            warned_at: Nanos::ZERO,
            died: died.clone(),
        };
        let thread =
            std::thread::Builder::new().name("engine".into()).spawn(move || core.run_to_the_end())?;
        Ok(Engine { commands, stats, origin, thread: Mutex::new(Some(thread)), died, wire })
    }

    /// Nanoseconds since the engine's start.
    pub fn now(&self) -> Nanos {
        self.origin.elapsed().into()
    }

    /// Hands a command over; false when the engine is gone.
    pub fn send(&self, command: Command) -> bool {
        self.commands.send(command).is_ok()
    }

    /// Where the writers of streams book how late their tokens left.
    pub fn wire(&self) -> &Arc<WireLateness> {
        &self.wire
    }

    pub fn stats(&self) -> Stats {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Completes when a fault has killed the engine.
    pub async fn death(&self) {
        self.died.notified().await;
    }

    /// Stops the thread and waits for it.
    pub fn stop(&self) {
        let _ = self.commands.send(Command::Stop);
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(t) = thread {
            let _ = t.join();
        }
    }
}

impl Drop for Engine {
    fn drop(&mut self) {
        self.stop();
    }
}

/// A request in the engine.
struct Entry {
    reply: Arc<Reply>,
    choice: usize,
    arrival: Nanos,
    input_tokens: u32,
    by_length: bool,
    admitted: Nanos,
    first: Nanos,
    last: Nanos,
}

/// Books tokens: counters for the readers, figures for the metrics.
struct Book {
    entries: HashMap<u64, Entry>,
    woken: Vec<Arc<Reply>>,
    stats: Arc<Mutex<Stats>>,
    clock: Instant,
    lead: Lead,
}

/// Learns how much earlier than due the writing has to begin so that tokens are on time on average.
struct Lead {
    wire: Arc<WireLateness>,
    per_row: f64,
    /// Sums over the emissions since the last correction.
    emissions: u32,
    rows: u64,
    squares: u64,
    /// Lateness and writes at the last correction.
    before: (i64, u64),
}

impl Lead {
    const EVERY: u32 = 16;
    const MOST: f64 = 15_000.0;
    /// One stall of the machine must not teach much.
    const STEP: f64 = 2_000.0;

    fn sent(&mut self, rows: u64) {
        self.emissions += 1;
        self.rows += rows;
        self.squares += rows * rows;
    }

    /// The lead in nanoseconds a row, corrected by half of the error seen since the last time.
    fn correct(&mut self) -> u64 {
        if self.emissions >= Lead::EVERY {
            let now = self.wire.read();
            let (late, writes) = (now.0 - self.before.0, now.1 - self.before.1);
            if writes > 0 && self.squares > 0 {
                // The mean write of a step of n rows is n/2 rows late, and of a large step there are more.
                let rows = self.squares as f64 / self.rows as f64;
                let error = late as f64 / writes as f64 / rows;
                self.per_row =
                    (self.per_row + (0.5 * error).clamp(-Lead::STEP, Lead::STEP)).clamp(0.0, Lead::MOST);
            }
            (self.emissions, self.rows, self.squares, self.before) = (0, 0, 0, now);
        }
        self.per_row as u64
    }
}

impl Sink for Book {
    fn tokens(&mut self, begin: Nanos, at: Nanos, events: &[TokenEvent]) {
        self.lead.sent(events.len() as u64);
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        let late = Nanos::from(self.clock.elapsed()).saturating_sub(begin).secs();
        stats.late_s += late;
        stats.late_max_s = stats.late_max_s.max(late);
        stats.emissions += 1;
        for e in events {
            let Some(entry) = self.entries.get_mut(&e.id) else { continue };
            entry.reply.advance(entry.choice, e.index, e.finished, at.0);
            if e.index == 1 {
                entry.first = at;
                stats.ttft.observe(at.saturating_sub(entry.arrival).secs());
                stats.prompt_tokens += u64::from(entry.input_tokens);
            } else {
                stats.itl.observe(at.saturating_sub(entry.last).secs());
            }
            entry.last = at;
            stats.generation_tokens += 1;
            if e.finished {
                finish(&mut stats, entry, e.index);
                if let Some(entry) = self.entries.remove(&e.id) {
                    self.woken.push(entry.reply);
                }
            } else {
                self.woken.push(entry.reply.clone());
            }
        }
        drop(stats);
        // Woken only after the whole step is booked, so that no reader competes with it for the lock.
        self.woken.drain(..).for_each(|r| r.wake());
    }

    fn refused(&mut self, id: u64, why: Refusal) {
        if let Some(entry) = self.entries.remove(&id) {
            entry.reply.fail(refusal_text(&why));
        }
    }

    fn admitted(&mut self, at: Nanos, id: u64) {
        if let Some(entry) = self.entries.get_mut(&id) {
            entry.admitted = at;
        }
    }

    fn step(&mut self, _at: Nanos, shape: &StepShape) {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        stats.steps += 1;
        stats.iteration_tokens.observe(f64::from(shape.tokens()));
    }
}

fn finish(stats: &mut Stats, entry: &Entry, tokens: u32) {
    stats.success[usize::from(!entry.by_length)] += 1;
    stats.e2e.observe(entry.last.saturating_sub(entry.arrival).secs());
    stats.queue_time.observe(entry.admitted.saturating_sub(entry.arrival).secs());
    stats.prefill_time.observe(entry.first.saturating_sub(entry.admitted).secs());
    stats.decode_time.observe(entry.last.saturating_sub(entry.first).secs());
    stats.inference_time.observe(entry.last.saturating_sub(entry.admitted).secs());
    stats.prompt_len.observe(f64::from(entry.input_tokens));
    stats.generation_len.observe(f64::from(tokens));
    if tokens > 1 {
        stats.tpot.observe(entry.last.saturating_sub(entry.first).secs() / f64::from(tokens - 1));
    }
}

fn refusal_text(why: &Refusal) -> String {
    match why {
        Refusal::TooLong { tokens, limit } => {
            format!("The request has {tokens} tokens; this model's maximum context length is {limit} tokens.")
        }
        Refusal::NeverFits { blocks, total } => {
            format!("The request needs {blocks} KV cache blocks; the whole cache has {total}.")
        }
    }
}

/// Behind real time by this much: the machine cannot keep up, and the log says so.
const BEHIND: Nanos = Nanos(100_000_000);
const WARN_EVERY: Nanos = Nanos(10_000_000_000);

struct Core {
    clockwork: Clockwork,
    book: Book,
    inbox: Receiver<Command>,
    fault: Fault,
    admitted: u64,
    stalled: bool,
    warn: Warn,
    warned_at: Nanos,
    died: Arc<tokio::sync::Notify>,
}

impl Core {
    /// Runs, and leaves nobody waiting whatever happens: a bug in here must look like a dead engine core, not
    /// like one that hangs.
    fn run_to_the_end(&mut self) {
        let why = catch_unwind(AssertUnwindSafe(|| self.run())).unwrap_or_else(|_| {
            self.died.notify_one();
            "EngineCore encountered an issue: a bug of the embedded engine".to_owned()
        });
        self.book.entries.drain().for_each(|(_, e)| e.reply.fail(why.clone()));
    }

    /// Why it ended.
    fn run(&mut self) -> String {
        loop {
            match self.take_commands() {
                Ok(true) => {}
                Ok(false) => break "the server is shutting down".to_owned(),
                Err(death) => {
                    (self.warn)(&death);
                    self.died.notify_one();
                    break death;
                }
            }
            let now = self.now();
            if !self.stalled {
                self.warn_when_behind(now);
                let lead = self.book.lead.correct();
                self.clockwork.set_lead(lead);
                self.clockwork.advance(now, &mut self.book);
            }
            self.book.stats.lock().unwrap_or_else(PoisonError::into_inner).gauges = self.clockwork.gauges();
            if !self.wait() {
                break "the server is shutting down".to_owned();
            }
        }
    }

    fn now(&self) -> Nanos {
        self.book.clock.elapsed().into()
    }

    /// Waits for the next event or command; false when the thread shall end.
    fn wait(&mut self) -> bool {
        let next = if self.stalled { None } else { self.clockwork.next_event() };
        let command = match next {
            None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => match at.saturating_sub(self.now()) {
                Nanos::ZERO => return true,
                left => self.inbox.recv_timeout(Duration::from(left)),
            },
        };
        match command {
            Ok(Command::Stop) | Err(RecvTimeoutError::Disconnected) => false,
            Ok(command) => {
                self.take(command);
                true
            }
            Err(RecvTimeoutError::Timeout) => true,
        }
    }

    /// Takes what has come in: `Ok(false)` to end, `Err` when the injected fault strikes.
    fn take_commands(&mut self) -> Result<bool, String> {
        loop {
            if let Some(death) = self.fault.death(self.admitted) {
                return Err(death);
            }
            match self.inbox.try_recv() {
                Ok(Command::Stop) | Err(TryRecvError::Disconnected) => return Ok(false),
                Ok(command) => self.take(command),
                Err(TryRecvError::Empty) => return Ok(true),
            }
        }
    }

    fn take(&mut self, command: Command) {
        match command {
            Command::Add { arrival, request, reply, choice } => {
                let entry = Entry {
                    reply,
                    choice,
                    arrival,
                    input_tokens: request.input_tokens,
                    by_length: request.output_tokens >= request.max_tokens,
                    admitted: arrival,
                    first: Nanos::ZERO,
                    last: Nanos::ZERO,
                };
                self.book.entries.insert(request.id, entry);
                self.clockwork.submit(arrival, request);
                self.admitted += 1;
                self.stalled |= self.fault.stalls(self.admitted);
            }
            Command::Abort(id) => {
                self.clockwork.abort(id);
                if self.book.entries.remove(&id).is_some() {
                    self.book.stats.lock().unwrap_or_else(PoisonError::into_inner).success[2] += 1;
                }
            }
            Command::ResetPrefixCache(answer) => {
                let _ = answer.send(self.clockwork.reset_prefix_cache());
            }
            Command::Stop => {}
        }
    }

    fn warn_when_behind(&mut self, now: Nanos) {
        let behind = self.clockwork.next_event().map_or(Nanos::ZERO, |at| now.saturating_sub(at));
        let recently = self.warned_at != Nanos::ZERO && now.saturating_sub(self.warned_at) < WARN_EVERY;
        if behind > BEHIND && !recently {
            self.warned_at = now;
            (self.warn)(&format!(
                "the emulated engine is {:.0} ms behind real time: this machine cannot keep up with the load, and \
                 what a client measures now is this machine",
                behind.millis()
            ));
        }
    }
}
