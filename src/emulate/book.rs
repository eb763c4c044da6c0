//! The engine thread's book: who waits for which tokens, what the metrics shall say, how early to begin writing.

use super::clockwork::Sink;
use super::reply::Reply;
use super::stats::Stats;
use super::stream::WireLateness;
use crate::sim::scheduler::{Gauges, Refusal, SimRequest, TokenEvent};
use crate::sim::step::StepShape;
use crate::units::Nanos;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

/// A request in the engine.
struct Entry {
    /// The rank that runs it.
    rank: usize,
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
pub(super) struct Book {
    entries: HashMap<u64, Entry>,
    woken: Vec<Arc<Reply>>,
    stats: Arc<Mutex<Stats>>,
    clock: Instant,
    lead: Lead,
}

impl Book {
    pub(super) fn new(stats: Arc<Mutex<Stats>>, clock: Instant, wire: Arc<WireLateness>) -> Book {
        Book {
            entries: HashMap::new(),
            woken: Vec::new(),
            stats,
            clock,
            lead: Lead { wire, ..Lead::default() },
        }
    }

    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Since the engine's start.
    pub(super) fn now(&self) -> Nanos {
        self.clock.elapsed().into()
    }

    /// A request that goes to `rank`.
    pub(super) fn open(
        &mut self,
        rank: usize,
        arrival: Nanos,
        r: &SimRequest,
        reply: Arc<Reply>,
        choice: usize,
    ) {
        let entry = Entry {
            rank,
            reply,
            choice,
            arrival,
            input_tokens: r.input_tokens,
            by_length: r.output_tokens >= r.max_tokens,
            admitted: arrival,
            first: Nanos::ZERO,
            last: Nanos::ZERO,
        };
        self.entries.insert(r.id, entry);
    }

    /// Nobody waits for this request any more; says which rank had it, if one did.
    pub(super) fn close(&mut self, id: u64) -> Option<usize> {
        let entry = self.entries.remove(&id)?;
        self.stats().success[2] += 1;
        Some(entry.rank)
    }

    /// Ends every request with an error.
    pub(super) fn fail_all(&mut self, why: &str) {
        self.entries.drain().for_each(|(_, e)| e.reply.fail(why));
    }

    pub(super) fn gauges(&self, gauges: Gauges) {
        self.stats().gauges = gauges;
    }

    /// Nanoseconds a row by which writing shall begin before it is due.
    pub(super) fn lead(&mut self) -> u64 {
        self.lead.correct()
    }
}

/// Learns how much earlier than due the writing has to begin so that tokens are on time on average.
#[derive(Debug, Default)]
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
        // Not by `self.stats()`: the entries are changed while the lock is held.
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
            stats.generation_tokens += u64::from(e.tokens);
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
        let mut stats = self.stats();
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
