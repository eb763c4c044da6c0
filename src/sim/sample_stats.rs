//! Running statistics of one quantity, exact or in flat memory.

use crate::scenario::{Key, Metrics};
use hdrhistogram::Histogram;

/// Values in nanoseconds with their counts.
#[derive(Debug, Clone)]
enum Samples {
    /// Every value, runs of equal ones together.
    Exact(Vec<(u64, u32)>),
    /// Relative resolution 0.1 %, memory independent of the number of values.
    Histogram(Histogram<u64>),
}

#[derive(Debug, Clone)]
pub(super) struct SampleStats {
    samples: Samples,
    count: u64,
    sum: u128,
    squares: f64,
}

/// Keys of one latency: mean, median, std, p90, p95, p99.
pub(super) type LatencyKeys = [Key];

pub(super) const TTFT: &LatencyKeys =
    &[Key::MeanTtftMs, Key::MedianTtftMs, Key::StdTtftMs, Key::P90TtftMs, Key::P95TtftMs, Key::P99TtftMs];
pub(super) const TPOT: &LatencyKeys =
    &[Key::MeanTpotMs, Key::MedianTpotMs, Key::StdTpotMs, Key::P90TpotMs, Key::P95TpotMs, Key::P99TpotMs];
pub(super) const ITL: &LatencyKeys =
    &[Key::MeanItlMs, Key::MedianItlMs, Key::StdItlMs, Key::P90ItlMs, Key::P95ItlMs, Key::P99ItlMs];
pub(super) const E2EL: &LatencyKeys =
    &[Key::MeanE2elMs, Key::MedianE2elMs, Key::StdE2elMs, Key::P90E2elMs, Key::P95E2elMs, Key::P99E2elMs];

impl SampleStats {
    pub(super) fn new(streaming: bool) -> SampleStats {
        let samples = if streaming {
            // Three significant digits are always a valid precision.
            Histogram::new(3).map_or_else(|_| Samples::Exact(Vec::new()), Samples::Histogram)
        } else {
            Samples::Exact(Vec::new())
        };
        SampleStats { samples, count: 0, sum: 0, squares: 0.0 }
    }

    pub(super) fn add(&mut self, value: u64, count: u32) {
        if count == 0 {
            return;
        }
        self.count += u64::from(count);
        self.sum += u128::from(value) * u128::from(count);
        match &mut self.samples {
            Samples::Exact(all) => match all.last_mut() {
                Some(last) if last.0 == value && last.1 < u32::MAX - count => last.1 += count,
                _ => all.push((value, count)),
            },
            Samples::Histogram(h) => {
                self.squares += (value as f64).powi(2) * f64::from(count);
                h.saturating_record_n(value, u64::from(count));
            }
        }
    }

    /// Adds the values of another tally of the same kind.
    pub(super) fn merge(&mut self, other: SampleStats) {
        self.count += other.count;
        self.sum += other.sum;
        self.squares += other.squares;
        match (&mut self.samples, other.samples) {
            (Samples::Exact(all), Samples::Exact(more)) => all.extend(more),
            (Samples::Histogram(h), Samples::Histogram(more)) => {
                // Both have the same resolution and grow as needed.
                let _ = h.add(more);
            }
            // Runs with the same options keep samples of the same kind.
            _ => debug_assert!(false, "tallies of two kinds"),
        }
    }

    fn mean(&self) -> f64 {
        self.sum as f64 / self.count as f64
    }

    fn std(&self) -> f64 {
        let mean = self.mean();
        match &self.samples {
            Samples::Exact(all) => {
                let s: f64 = all.iter().map(|&(v, n)| (v as f64 - mean).powi(2) * f64::from(n)).sum();
                (s / self.count as f64).sqrt()
            }
            Samples::Histogram(_) => (self.squares / self.count as f64 - mean * mean).max(0.0).sqrt(),
        }
    }

    /// Writes the keys in milliseconds; nothing when there are no values.
    pub(super) fn write(mut self, keys: &LatencyKeys, metrics: &mut Metrics) {
        if self.count == 0 {
            return;
        }
        if let Samples::Exact(all) = &mut self.samples {
            all.sort_unstable();
            // One entry a value, so that the sums below do not depend on how the values came in.
            all.dedup_by(|b, a| {
                let same = a.0 == b.0 && a.1.checked_add(b.1).is_some();
                a.1 += if same { b.1 } else { 0 };
                same
            });
        }
        metrics.set(keys[0], self.mean() / 1e6);
        metrics.set(keys[2], self.std() / 1e6);
        for (key, q) in [(keys[1], 0.5), (keys[3], 0.9), (keys[4], 0.95), (keys[5], 0.99)] {
            metrics.set(key, self.quantile(q) / 1e6);
        }
    }

    /// Linear interpolation between the two nearest ranks, as numpy does; samples must be sorted.
    fn quantile(&self, q: f64) -> f64 {
        match &self.samples {
            Samples::Exact(all) => {
                let position = q * (self.count - 1) as f64;
                let below = position.floor();
                let low = value_at(all, below as u64);
                let high = value_at(all, (below as u64 + 1).min(self.count - 1));
                low + (high - low) * (position - below)
            }
            Samples::Histogram(h) => h.value_at_quantile(q) as f64,
        }
    }
}

fn value_at(sorted: &[(u64, u32)], rank: u64) -> f64 {
    let mut seen = 0;
    for &(v, n) in sorted {
        seen += u64::from(n);
        if seen > rank {
            return v as f64;
        }
    }
    f64::NAN
}

/// Tokens and requests by whole second, of which only the peaks are kept: `vllm bench serve` counts a
/// request in every second from its sending to its end.
#[derive(Debug, Clone, Default)]
pub(super) struct Peaks {
    /// Second of `open[0]`.
    base: u64,
    /// (tokens, requests sent, requests ended) of seconds that may still change.
    open: std::collections::VecDeque<(u64, u64, u64)>,
    running: u64,
    pub(super) tokens: u64,
    pub(super) requests: u64,
}

const SECOND: u64 = 1_000_000_000;

impl Peaks {
    fn at(&mut self, time: u64) -> &mut (u64, u64, u64) {
        let i = (time / SECOND).saturating_sub(self.base) as usize;
        while self.open.len() <= i {
            self.open.push_back((0, 0, 0));
        }
        &mut self.open[i]
    }
    pub(super) fn tokens(&mut self, time: u64, n: u32) {
        self.at(time).0 += u64::from(n);
    }
    pub(super) fn sent(&mut self, time: u64) {
        self.at(time).1 += 1;
    }
    pub(super) fn ended(&mut self, time: u64) {
        self.at(time).2 += 1;
    }
    /// Some second before that of `time` is still open.
    pub(super) fn stale(&self, time: u64) -> bool {
        time >= (self.base + 1) * SECOND
    }
    /// Nothing will be noted before `time` any more.
    pub(super) fn close_before(&mut self, time: u64) {
        while self.base < time / SECOND {
            let Some((tokens, sent, ended)) = self.open.pop_front() else {
                self.base = time / SECOND;
                return;
            };
            self.base += 1;
            self.tokens = self.tokens.max(tokens);
            self.running += sent;
            self.requests = self.requests.max(self.running);
            self.running -= ended;
        }
    }
    pub(super) fn close(&mut self) {
        self.close_before((self.base + self.open.len() as u64) * SECOND);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats;

    #[test]
    fn weighted_quantiles_equal_those_of_the_values_written_out() {
        let mut t = SampleStats::new(false);
        let mut plain = Vec::new();
        for (v, n) in [(5_000_000, 3), (1_000_000, 1), (5_000_000, 2), (9_000_000, 4)] {
            t.add(v, n);
            plain.extend(std::iter::repeat_n(v as f64 / 1e6, n as usize));
        }
        plain.sort_by(f64::total_cmp);
        let mut m = Metrics::default();
        t.write(ITL, &mut m);
        assert!((m.get(Key::MeanItlMs).unwrap() - stats::mean(&plain)).abs() < 1e-9);
        assert!((m.get(Key::StdItlMs).unwrap() - stats::std_dev(&plain)).abs() < 1e-9);
        assert!((m.get(Key::MedianItlMs).unwrap() - stats::quantile_sorted(&plain, 0.5)).abs() < 1e-9);
        assert!((m.get(Key::P90ItlMs).unwrap() - stats::quantile_sorted(&plain, 0.9)).abs() < 1e-9);
    }

    #[test]
    fn a_request_counts_in_every_second_it_touches() {
        let mut p = Peaks::default();
        p.sent(100);
        p.sent(SECOND / 2);
        p.ended(SECOND + 1);
        p.sent(SECOND + 5);
        p.tokens(3 * SECOND, 7);
        p.ended(3 * SECOND);
        p.close();
        assert_eq!((p.requests, p.tokens), (3, 7));
    }
}
