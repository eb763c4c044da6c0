//! The account of what the known-timing server really sent, and when.

use hdrhistogram::Histogram;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Everything since the start or the last reset.
#[derive(Debug)]
pub(super) struct Sent {
    tokens: u64,
    writes: u64,
    /// Times that a socket took less than it was given: the client reads too slowly.
    pub(super) full: u64,
    late: Spread,
    first: Spread,
    gap: Spread,
}

/// A distribution of durations: exact mean, other figures to four digits.
#[derive(Debug)]
struct Spread {
    micros: Histogram<u32>,
    sum: Duration,
}

impl Spread {
    fn new() -> Spread {
        Spread {
            micros: Histogram::new_with_bounds(1, 600_000_000, 4).expect("the bounds are right"),
            sum: Duration::ZERO,
        }
    }
    fn add(&mut self, d: Duration) {
        self.micros.saturating_record(d.as_micros() as u64);
        self.sum += d;
    }
    fn times(&self) -> Times {
        let ms = |us: u64| us as f64 / 1e3;
        Times {
            mean_ms: self.sum.as_secs_f64() * 1e3 / (self.micros.len() as f64).max(1.0),
            p99_ms: ms(self.micros.value_at_quantile(0.99)),
            max_ms: ms(self.micros.max()),
        }
    }
}

/// A distribution in three figures, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Times {
    pub mean_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

impl Times {
    fn to_json(self) -> Value {
        let r = |v: f64| (v * 1e4).round() / 1e4;
        json!({"mean_ms": r(self.mean_ms), "p99_ms": r(self.p99_ms), "max_ms": r(self.max_ms)})
    }
}

/// What the server did so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PacedStats {
    pub requests: u64,
    pub tokens: u64,
    pub writes: u64,
    pub full_sockets: u64,
    /// How late the writes were against their deadlines.
    pub late: Times,
    /// Arrival of a request to the write of its first token, as it was.
    pub ttft: Times,
    /// Between the writes of one answer, as they were.
    pub gap: Times,
}

impl PacedStats {
    pub(super) fn to_json(self) -> Value {
        json!({"requests": self.requests, "tokens": self.tokens, "writes": self.writes,
               "full_sockets": self.full_sockets, "late": self.late.to_json(),
               "ttft_as_sent": self.ttft.to_json(), "gap_as_sent": self.gap.to_json()})
    }
}

impl Sent {
    /// A write at `now` that was `due`, after the one `before` it of the same answer or, for the `first`, after the
    /// arrival of the request.
    pub(super) fn write(&mut self, now: Instant, due: Instant, before: Instant, first: bool, tokens: u32) {
        self.writes += 1;
        self.tokens += u64::from(tokens);
        self.late.add(now.saturating_duration_since(due));
        let to = if first { &mut self.first } else { &mut self.gap };
        to.add(now.saturating_duration_since(before));
    }

    pub(super) fn stats(&self, requests: u64) -> PacedStats {
        PacedStats {
            requests,
            tokens: self.tokens,
            writes: self.writes,
            full_sockets: self.full,
            late: self.late.times(),
            ttft: self.first.times(),
            gap: self.gap.times(),
        }
    }
}

impl Default for Sent {
    fn default() -> Sent {
        Sent { tokens: 0, writes: 0, full: 0, late: Spread::new(), first: Spread::new(), gap: Spread::new() }
    }
}
