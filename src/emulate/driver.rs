//! The engine thread: runs the [`Clockwork`] against the real clock.
//!
//! A thread of its own, not a task: an async runtime's timers tick in milliseconds, a thread that waits on
//! a channel with a deadline wakes within tens of microseconds.

use super::book::Book;
use super::clockwork::Clockwork;
use super::fault::Fault;
use super::reply::Reply;
use super::stats::Stats;
use super::stream::WireLateness;
use crate::sim::scheduler::{Gauges, SimRequest};
use crate::units::Nanos;
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
    /// Starts the thread with one clockwork for each data-parallel rank. `fault` is what shall go wrong while
    /// it runs.
    pub fn start(ranks: Vec<Clockwork>, fault: Fault, warn: Warn) -> std::io::Result<Engine> {
        let (commands, inbox) = channel();
        let stats = Arc::new(Mutex::new(Stats::default()));
        let origin = Instant::now();
        let died = Arc::new(tokio::sync::Notify::new());
        let wire = Arc::new(WireLateness::default());
        let mut core = Core {
            ranks,
            book: Book::new(stats.clone(), origin, wire.clone()),
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

/// Behind real time by this much: the machine cannot keep up, and the log says so.
const BEHIND: Nanos = Nanos(100_000_000);
const WARN_EVERY: Nanos = Nanos(10_000_000_000);

/// Events between two looks at the inbox.
const EVENTS: usize = 256;

struct Core {
    ranks: Vec<Clockwork>,
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
        self.book.fail_all(&why);
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
            if !self.stalled {
                self.advance();
            }
            self.book.gauges(self.ranks.iter().map(Clockwork::gauges).fold(Gauges::default(), sum));
            if !self.wait() {
                break "the server is shutting down".to_owned();
            }
        }
    }

    fn advance(&mut self) {
        let now = self.book.now();
        self.warn_when_behind(now);
        let lead = self.book.lead();
        for rank in &mut self.ranks {
            rank.set_lead(lead);
            rank.advance(now, EVENTS, &mut self.book);
        }
    }

    fn next_event(&self) -> Option<Nanos> {
        self.ranks.iter().filter_map(Clockwork::next_event).min()
    }

    /// Waits for the next event or command; false when the thread shall end.
    fn wait(&mut self) -> bool {
        let next = if self.stalled { None } else { self.next_event() };
        let command = match next {
            None => self.inbox.recv().map_err(|_| RecvTimeoutError::Disconnected),
            Some(at) => match at.saturating_sub(self.book.now()) {
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
                let rank = least_loaded(&self.ranks);
                self.book.open(rank, arrival, &request, reply, choice);
                self.ranks[rank].submit(arrival, request);
                self.admitted += 1;
                self.stalled |= self.fault.stalls(self.admitted);
            }
            Command::Abort(id) => {
                if let Some(rank) = self.book.close(id) {
                    self.ranks[rank].abort(id);
                }
            }
            Command::ResetPrefixCache(answer) => {
                // Every rank's, even where one refuses.
                let refused =
                    self.ranks.iter_mut().filter_map(|r| (!r.reset_prefix_cache()).then_some(())).count();
                let _ = answer.send(refused == 0);
            }
            Command::Stop => {}
        }
    }

    fn warn_when_behind(&mut self, now: Nanos) {
        let behind = self.next_event().map_or(Nanos::ZERO, |at| now.saturating_sub(at));
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

/// vLLM's internal load balancing: a waiting request weighs as much as four running ones.
fn least_loaded(ranks: &[Clockwork]) -> usize {
    let score = |r: &Clockwork| {
        let g = r.gauges();
        4 * g.waiting + g.running
    };
    (0..ranks.len()).min_by_key(|i| score(&ranks[*i])).unwrap_or(0)
}

fn sum(a: Gauges, b: Gauges) -> Gauges {
    Gauges {
        running: a.running + b.running,
        waiting: a.waiting + b.waiting,
        kv_blocks_used: a.kv_blocks_used + b.kv_blocks_used,
        kv_blocks_total: a.kv_blocks_total + b.kv_blocks_total,
        kv_blocks_peak: a.kv_blocks_peak + b.kv_blocks_peak,
        preemptions: a.preemptions + b.preemptions,
        prefix_queries: a.prefix_queries + b.prefix_queries,
        prefix_hits: a.prefix_hits + b.prefix_hits,
    }
}

#[cfg(test)]
mod tests {
    use super::super::clockwork::tests::{Everyone, Linear};
    use super::super::noise::Noise;
    use super::*;

    fn engine(ranks: usize, step: u64, fault: Fault) -> (Engine, Arc<Mutex<Vec<String>>>) {
        let clockwork = || {
            let times = Linear { host: 0, base: step, per_token: 0, front: 0, out: 0 };
            Clockwork::new(Box::<Everyone>::default(), Arc::new(times), false, Noise::off())
        };
        let said = Arc::new(Mutex::new(Vec::new()));
        let to = said.clone();
        let warn: Warn = Arc::new(move |text| to.lock().unwrap().push(text.to_owned()));
        (Engine::start((0..ranks).map(|_| clockwork()).collect(), fault, warn).unwrap(), said)
    }

    fn add(engine: &Engine, id: u64, output: u32) -> Arc<Reply> {
        let reply = Arc::new(Reply::new(1));
        let request = SimRequest {
            id,
            input_tokens: 4,
            output_tokens: output,
            max_tokens: output,
            ..SimRequest::default()
        };
        assert!(engine.send(Command::Add {
            arrival: engine.now(),
            request,
            reply: reply.clone(),
            choice: 0
        }));
        reply
    }

    fn done(reply: &Reply) -> Result<(), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        runtime.block_on(async { tokio::time::timeout(Duration::from_secs(20), reply.done()).await }).unwrap()
    }

    #[test]
    fn tokens_take_their_time_and_are_all_counted() {
        let (e, _) = engine(1, 2_000_000, Fault::None);
        let started = Instant::now();
        let replies: Vec<_> = (0..3).map(|id| add(&e, id, 10)).collect();
        assert!(replies.iter().all(|r| done(r).is_ok()));
        assert!(started.elapsed() >= Duration::from_millis(20));
        let s = e.stats();
        assert_eq!((s.generation_tokens, s.prompt_tokens, s.success), (30, 12, [3, 0, 0]));
        assert_eq!(s.itl.count(), 27);
    }

    #[test]
    fn ranks_share_the_load() {
        // Four requests of 25 steps on a rank that takes 4 ms a step, whatever is in it: the ranks run side by
        // side, and each has its part.
        let (e, _) = engine(2, 4_000_000, Fault::None);
        let replies: Vec<_> = (0..4).map(|id| add(&e, id, 25)).collect();
        assert!(replies.iter().all(|r| done(r).is_ok()));
        let s = e.stats();
        assert_eq!(s.generation_tokens, 100);
        assert!(s.iteration_tokens.count() >= 50, "{} steps on two ranks", s.iteration_tokens.count());
    }

    #[test]
    fn an_engine_that_cannot_keep_up_says_so_and_still_listens() {
        // A step of one nanosecond: no machine runs that in real time.
        let (e, said) = engine(1, 1, Fault::None);
        add(&e, 1, u32::MAX);
        let until = Instant::now() + Duration::from_secs(20);
        while said.lock().unwrap().is_empty() && Instant::now() < until {
            std::thread::sleep(Duration::from_millis(5));
        }
        assert!(said.lock().unwrap().iter().any(|t| t.contains("behind real time")));
        e.stop();
        assert!(Instant::now() < until);
    }

    #[test]
    fn a_stop_and_a_death_leave_nobody_waiting() {
        let (e, _) = engine(1, 50_000_000, Fault::None);
        let reply = add(&e, 1, 1000);
        e.stop();
        assert!(done(&reply).unwrap_err().contains("shutting down"));
        assert!(!e.send(Command::Abort(1)));

        let (e, said) = engine(1, 1_000_000, Fault::DieAfter(2));
        let replies = [add(&e, 1, 1000), add(&e, 2, 1000)];
        assert!(replies.iter().all(|r| done(r).unwrap_err().contains("EngineDeadError")));
        assert!(said.lock().unwrap()[0].contains("EngineDeadError"));
    }
}

#[cfg(test)]
mod replicas;
