//! The figures of runs in progress, for those who watch live, in Prometheus' text format.
//!
//! Counters are those of [`Progress`], which the client keeps anyway. A request enters the histograms when it ends, all its
//! gaps at once, so that nothing is added to the handling of a token.

use super::options::{Progress, RunOptions};
use super::outcome::Row;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

/// Upper bounds in seconds: half a millisecond to two minutes, in steps of 1, 2, 5.
const BOUNDS: [f64; 17] =
    [0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 120.0];

/// A cumulative histogram whose counts any thread may add to.
#[derive(Debug, Default)]
struct Histogram {
    /// One for each bound, the last for what lies beyond; not cumulative.
    counts: [AtomicU64; BOUNDS.len() + 1],
    sum_ns: AtomicU64,
}

impl Histogram {
    /// Counts all these values, in nanoseconds.
    fn add(&self, values: impl Iterator<Item = u64>) {
        let (mut counts, mut sum) = ([0u64; BOUNDS.len() + 1], 0u64);
        for ns in values {
            let seconds = ns as f64 / 1e9;
            counts[BOUNDS.partition_point(|b| *b < seconds)] += 1;
            sum = sum.saturating_add(ns);
        }
        for (total, n) in self.counts.iter().zip(counts).filter(|c| c.1 > 0) {
            total.fetch_add(n, Ordering::Relaxed);
        }
        self.sum_ns.fetch_add(sum, Ordering::Relaxed);
    }

    fn write(&self, out: &mut String, name: &str, help: &str) {
        let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} histogram");
        let mut seen = 0;
        for (i, count) in self.counts.iter().enumerate() {
            seen += count.load(Ordering::Relaxed);
            let bound = BOUNDS.get(i).map_or("+Inf".to_owned(), f64::to_string);
            let _ = writeln!(out, "{name}_bucket{{le=\"{bound}\"}} {seen}");
        }
        let sum = self.sum_ns.load(Ordering::Relaxed) as f64 / 1e9;
        let _ = writeln!(out, "{name}_sum {sum}\n{name}_count {seen}");
    }
}

/// All runs of this process, those in progress and those before.
#[derive(Debug, Default)]
pub(super) struct Live {
    runs: Mutex<Vec<Arc<Progress>>>,
    input_tokens: AtomicU64,
    output_tokens: AtomicU64,
    ttft: Histogram,
    gaps: Histogram,
    e2e: Histogram,
    lag: Histogram,
}

static CURRENT: OnceLock<Arc<Live>> = OnceLock::new();

impl Live {
    /// Where a run of this process reports, once somebody watches.
    pub(super) fn of(options: &RunOptions) -> Option<&'static Live> {
        CURRENT.get().map(Arc::as_ref).filter(|_| options.live)
    }

    /// From now on runs of this process report here.
    pub(super) fn begin() -> Arc<Live> {
        CURRENT.get_or_init(Arc::default).clone()
    }

    pub(super) fn run_begins(&self, progress: &Arc<Progress>) {
        let mut runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner);
        // Runs of one command may share their counters.
        if !runs.iter().any(|p| Arc::ptr_eq(p, progress)) {
            runs.push(progress.clone());
        }
    }

    /// A request that has ended.
    pub(super) fn request_ended(&self, row: &Row) {
        self.output_tokens.fetch_add(u64::from(row.output_tokens), Ordering::Relaxed);
        if !row.completed() {
            return;
        }
        self.input_tokens.fetch_add(u64::from(row.input_tokens), Ordering::Relaxed);
        self.ttft.add(row.ttft().into_iter().map(|t| t.0));
        self.e2e.add(row.e2e().into_iter().map(|t| t.0));
        self.gaps.add(row.chunks.windows(2).map(|w| w[1].saturating_sub(w[0]).0));
    }

    /// Lags of a client thread, microseconds.
    pub(super) fn lagged(&self, lags_us: &[u32]) {
        self.lag.add(lags_us.iter().map(|us| u64::from(*us) * 1000));
    }

    /// Everything in the text exposition format 0.0.4.
    pub(super) fn to_text(&self) -> String {
        let runs = self.runs.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let sum = |pick: fn(&Progress) -> &AtomicU64| {
            runs.iter().map(|p| pick(p).load(Ordering::Relaxed)).sum::<u64>()
        };
        // Ends are read before sends: what is in flight is then never negative.
        let (completed, lost) = (sum(|p| &p.completed), sum(|p| &p.failed));
        let sent = sum(|p| &p.sent);
        let mut out = String::new();
        let mut put = |kind: &str, name: &str, help: &str, value: u64| {
            let _ = writeln!(out, "# HELP {name} {help}\n# TYPE {name} {kind}\n{name} {value}");
        };
        put("counter", "dyno_runs_total", "Runs begun.", runs.len() as u64);
        put("counter", "dyno_requests_planned_total", "Requests of the runs begun.", sum(|p| &p.planned));
        put("counter", "dyno_requests_sent_total", "Requests sent.", sent);
        put("counter", "dyno_requests_completed_total", "Requests answered to their end.", completed);
        put("counter", "dyno_requests_lost_total", "Requests that failed, were cut or never sent.", lost);
        let flying = sent.saturating_sub(completed + lost);
        put("gauge", "dyno_requests_in_flight", "Requests sent and not yet ended.", flying);
        put("counter", "dyno_token_chunks_total", "Token-carrying chunks received.", sum(|p| &p.chunks));
        let (input, output) =
            (self.input_tokens.load(Ordering::Relaxed), self.output_tokens.load(Ordering::Relaxed));
        put("counter", "dyno_input_tokens_total", "Prompt tokens of completed requests.", input);
        put("counter", "dyno_output_tokens_total", "Tokens of requests that have ended.", output);
        for (histogram, name, help) in [
            (&self.ttft, "dyno_time_to_first_token_seconds", "Send to first token, completed requests."),
            (&self.gaps, "dyno_inter_token_latency_seconds", "Gaps between chunks, completed requests."),
            (&self.e2e, "dyno_e2e_request_latency_seconds", "Send to last token, completed requests."),
            (&self.lag, "dyno_client_lag_seconds", "How late the client's event loop was, sampled."),
        ] {
            histogram.write(&mut out, name, help);
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Nanos;

    #[test]
    fn values_fall_into_their_buckets_and_the_counts_add_up() {
        let live = Live::default();
        let ms = |v: u64| Nanos(v * 1_000_000);
        let row = Row {
            chunks: vec![ms(30), ms(40), ms(1040)],
            output_tokens: 5,
            input_tokens: 7,
            ..Row::default()
        };
        live.request_ended(&row);
        live.lagged(&[100, 500, 501]);
        let progress = Arc::new(Progress::default());
        progress.sent.store(3, Ordering::Relaxed);
        progress.completed.store(1, Ordering::Relaxed);
        live.run_begins(&progress);
        live.run_begins(&progress);
        let text = live.to_text();
        for line in [
            "dyno_runs_total 1",
            "dyno_requests_in_flight 2",
            "dyno_output_tokens_total 5",
            "dyno_time_to_first_token_seconds_bucket{le=\"0.02\"} 0",
            "dyno_time_to_first_token_seconds_bucket{le=\"0.05\"} 1",
            // A bound belongs to its bucket.
            "dyno_inter_token_latency_seconds_bucket{le=\"0.01\"} 1",
            "dyno_inter_token_latency_seconds_bucket{le=\"+Inf\"} 2",
            "dyno_inter_token_latency_seconds_sum 1.01",
            "dyno_e2e_request_latency_seconds_count 1",
            "dyno_client_lag_seconds_bucket{le=\"0.0005\"} 2",
            "dyno_client_lag_seconds_count 3",
        ] {
            assert!(text.lines().any(|l| l == line), "no `{line}` in\n{text}");
        }
    }
}
