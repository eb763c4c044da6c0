//! From the requests of one load, measured or simulated, to its point on the ladder: one estimator for both, so
//! that what is predicted and what is measured are the same quantity.

use super::point::{Axis, LoadPoint};
use crate::scenario::Key;
use crate::stats::quantile_sorted;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Slices of time that the bootstrap draws from; a slice keeps together what happened together.
const SLICES: usize = 12;
/// Fewest completed requests in the steady part that deserve the name.
const FEWEST: usize = 8;

/// One request; times in seconds since the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Seen {
    /// When it was due: in a closed loop the moment at which its place was free.
    pub(super) due: f64,
    pub(super) sent: f64,
    pub(super) first: f64,
    pub(super) end: f64,
    /// From sending to being scheduled.
    pub(super) wait: f64,
    pub(super) tokens: u32,
    pub(super) lost: bool,
}

/// Bounds of the service level: result key and milliseconds.
pub(super) type Bounds<'a> = &'a [(Key, f64)];

/// The requests of one load, cut to its steady part.
pub(super) struct Sample<'a> {
    load: f64,
    axis: Axis,
    slo: Bounds<'a>,
    /// Completed in the steady part, by their end, and the part's length in seconds.
    steady: Vec<Seen>,
    span: f64,
    all: usize,
    lost: usize,
    /// Share of the time in flight that went to requests that completed.
    useful: f64,
}

impl<'a> Sample<'a> {
    pub(super) fn new(load: f64, axis: Axis, slo: Bounds<'a>, mut all: Vec<Seen>) -> Sample<'a> {
        all.sort_by(|a, b| a.sent.total_cmp(&b.sent));
        let lost = all.iter().filter(|r| r.lost).count();
        let (from, to) = window(&all, load, axis);
        let inside = |from: f64, to: f64| -> Vec<Seen> {
            let mut kept: Vec<Seen> =
                all.iter().filter(|r| !r.lost && r.end > from && r.end <= to).copied().collect();
            kept.sort_by(|a, b| a.end.total_cmp(&b.end));
            kept
        };
        let whole = all.iter().map(|r| r.end).fold(0.0, f64::max);
        let (mut steady, mut span) = (inside(from, to), to - from);
        if steady.len() < FEWEST || span <= 0.0 {
            (steady, span) = (inside(f64::NEG_INFINITY, f64::INFINITY), whole);
        }
        let held = |lost: bool| -> f64 {
            all.iter().filter(|r| r.lost == lost).map(|r| (r.end - r.due).max(0.0)).sum()
        };
        let useful = if lost == 0 { 1.0 } else { held(false) / (held(false) + held(true)).max(1e-9) };
        Sample { load, axis, slo, steady, span, all: all.len(), lost, useful }
    }

    /// The point itself.
    pub(super) fn point(&self) -> LoadPoint {
        let loss = self.lost as f64 / self.all.max(1) as f64;
        self.of(&self.steady.iter().collect::<Vec<_>>(), self.span, loss)
    }

    /// A latency figure of the steady part, ms; `None` for keys that are no latency of a request.
    pub(super) fn figure(&self, key: Key) -> Option<f64> {
        figure(key, &self.steady.iter().collect::<Vec<_>>())
    }

    /// Bootstrap draws of it: slices of time drawn with replacement.
    pub(super) fn draws(&self, n: usize) -> Vec<LoadPoint> {
        let mut rng = ChaCha8Rng::seed_from_u64(self.load.to_bits());
        let slices = SLICES.min(self.steady.len().max(1));
        let per = self.steady.len().div_ceil(slices).max(1);
        let chunks: Vec<(&[Seen], f64)> = self.spans(per).collect();
        let loss = self.lost as f64 / self.all.max(1) as f64;
        (0..n)
            .map(|_| {
                let mut drawn: Vec<&Seen> = Vec::with_capacity(self.steady.len());
                let mut span = 0.0;
                for _ in 0..chunks.len() {
                    let (requests, took) = chunks[rng.random_range(0..chunks.len())];
                    drawn.extend(requests);
                    span += took;
                }
                let lost = (0..self.all).filter(|_| rng.random::<f64>() < loss).count();
                self.of(&drawn, span, lost as f64 / self.all.max(1) as f64)
            })
            .collect()
    }

    /// Slices of `per` requests by their end, each with its part of the span.
    fn spans(&self, per: usize) -> impl Iterator<Item = (&[Seen], f64)> {
        let ends = |c: &[Seen]| c.last().map_or(0.0, |r| r.end);
        let last = ends(&self.steady);
        let mut before = last - self.span;
        self.steady.chunks(per).map(move |c| {
            let took = ends(c) - before;
            before = ends(c);
            (c, took.max(0.0))
        })
    }

    fn of(&self, kept: &[&Seen], span: f64, loss: f64) -> LoadPoint {
        let n = kept.len() as f64;
        if kept.is_empty() {
            return LoadPoint { load: self.load, loss, ..LoadPoint::default() };
        }
        let mean = |f: fn(&Seen) -> f64| kept.iter().map(|r| f(r)).sum::<f64>() / n;
        let throughput = match self.axis {
            // Little's law over the places of the closed loop: where a run holds only a few waves of requests,
            // counting ends between two moments is wrong by up to a wave.
            Axis::Concurrency => {
                self.useful * self.load.min(self.all as f64) / mean(|r| r.end - r.due).max(1e-9)
            }
            Axis::Rate => n / span.max(1e-9),
        };
        let gaps: f64 = kept.iter().map(|r| f64::from(r.tokens.saturating_sub(1))).sum();
        let decoding: f64 = kept.iter().filter(|r| r.tokens > 1).map(|r| r.end - r.first).sum();
        LoadPoint {
            load: self.load,
            throughput,
            e2e_s: mean(|r| r.end - r.sent),
            queue_s: mean(|r| r.wait),
            step_s: if gaps > 0.0 { decoding / gaps } else { mean(|r| r.first - r.sent - r.wait).max(0.0) },
            slo: self.slo.iter().filter_map(|&(k, ms)| Some(figure(k, kept)? / ms)).fold(0.0, f64::max),
            loss,
        }
    }
}

/// The steady part. Closed loop: from when the first wave, which came all at once, has ended, to the last sending,
/// after which the load falls. Open loop: without the first fifth of the arrivals' time.
fn window(all: &[Seen], load: f64, axis: Axis) -> (f64, f64) {
    let last = all.last().map_or(0.0, |r| r.sent);
    match axis {
        Axis::Concurrency => {
            let first = &all[..all.len().min(load.round() as usize)];
            (first.iter().map(|r| r.end).fold(0.0, f64::max), last)
        }
        Axis::Rate => (all.first().map_or(0.0, |r| r.sent + 0.2 * (last - r.sent)), last),
    }
}

/// A latency figure of requests, ms; `None` for keys that are no latency of a request.
fn figure(key: Key, kept: &[&Seen]) -> Option<f64> {
    let of: fn(&Seen) -> Option<f64> = match key {
        Key::MeanTtftMs | Key::MedianTtftMs | Key::P90TtftMs | Key::P95TtftMs | Key::P99TtftMs => {
            |r| Some(r.first - r.sent)
        }
        Key::MeanTpotMs | Key::MedianTpotMs | Key::P90TpotMs | Key::P95TpotMs | Key::P99TpotMs => {
            |r| (r.tokens > 1).then(|| (r.end - r.first) / f64::from(r.tokens - 1))
        }
        Key::MeanE2elMs | Key::MedianE2elMs | Key::P90E2elMs | Key::P95E2elMs | Key::P99E2elMs => {
            |r| Some(r.end - r.sent)
        }
        _ => return None,
    };
    let mut values: Vec<f64> = kept.iter().filter_map(|r| of(r)).map(|s| s * 1e3).collect();
    if values.is_empty() {
        return None;
    }
    values.sort_by(f64::total_cmp);
    let name = key.name();
    Some(match name.split('_').next() {
        Some("median") => quantile_sorted(&values, 0.5),
        Some("p90") => quantile_sorted(&values, 0.9),
        Some("p95") => quantile_sorted(&values, 0.95),
        Some("p99") => quantile_sorted(&values, 0.99),
        _ => crate::stats::mean(&values),
    })
}

/// Whether a service level's key can be judged from requests; gaps between tokens cannot.
pub fn judges(key: Key) -> bool {
    figure(key, &[&Seen { tokens: 2, end: 1.0, ..Seen::default() }]).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Four waves of `n` requests, each `e2e` long and sent when its predecessor ended.
    fn waves(n: usize, e2e: f64) -> Vec<Seen> {
        (0..4 * n)
            .map(|i| {
                let due = (i / n) as f64 * e2e;
                Seen {
                    due,
                    sent: due,
                    first: due + 0.2 * e2e,
                    end: due + e2e,
                    wait: 0.1 * e2e,
                    tokens: 9,
                    lost: false,
                }
            })
            .collect()
    }

    #[test]
    fn waves_do_not_bias_the_throughput_of_a_closed_loop() {
        let s = Sample::new(16.0, Axis::Concurrency, &[(Key::P99TtftMs, 100.0)], waves(16, 0.5));
        let p = s.point();
        assert!((p.throughput - 32.0).abs() < 1e-9, "{p:?}");
        assert!((p.e2e_s - 0.5).abs() < 1e-9 && (p.queue_s - 0.05).abs() < 1e-9);
        assert!((p.step_s - 0.05).abs() < 1e-9 && (p.slo - 1.0).abs() < 1e-9);
        assert!(s.draws(20).iter().all(|d| (d.throughput - 32.0).abs() < 1e-9));
    }

    #[test]
    fn the_first_wave_and_the_drain_are_left_out() {
        let mut all = waves(16, 0.5);
        // The burst took three times as long; what came after the last sending was quick.
        for r in &mut all[..16] {
            r.wait = 1.0;
        }
        for r in &mut all[48..] {
            r.end = r.due + 0.1;
        }
        let p = Sample::new(16.0, Axis::Concurrency, &[], all).point();
        assert!((p.queue_s - 0.05).abs() < 1e-9 && (p.e2e_s - 0.5).abs() < 1e-9, "{p:?}");
    }

    #[test]
    fn lost_requests_count_as_loss_alone() {
        let mut all = waves(16, 0.5);
        for r in all.iter_mut().step_by(4) {
            r.lost = true;
        }
        let s = Sample::new(16.0, Axis::Concurrency, &[], all);
        assert!((s.point().loss - 0.25).abs() < 1e-9);
        assert!(s.draws(50).iter().any(|d| (d.loss - 0.25).abs() > 0.01));
    }

    #[test]
    fn an_open_loop_counts_its_ends() {
        let all = (0..400)
            .map(|i| {
                let due = f64::from(i) * 0.05;
                Seen { due, sent: due, first: due + 0.01, end: due + 0.1, wait: 0.0, tokens: 4, lost: false }
            })
            .collect();
        let p = Sample::new(20.0, Axis::Rate, &[], all).point();
        assert!((p.throughput - 20.0).abs() < 0.2, "{p:?}");
    }

    #[test]
    fn gaps_between_tokens_are_not_judged() {
        assert!(judges(Key::P99TtftMs) && judges(Key::MeanE2elMs) && judges(Key::P90TpotMs));
        assert!(!judges(Key::P99ItlMs) && !judges(Key::RequestThroughput));
    }
}
