//! What a run adds up, and the result made of it; the runs of replicas are added together.

use super::result::{RequestOutcome, RunBreakdown, SimResult};
use super::sample_stats::{self, Peaks, SampleStats};
use crate::scenario::{Key, Metrics};
use crate::units::Nanos;

/// Sums of one run, or of several replicas that ran side by side.
#[derive(Debug)]
pub(super) struct RunTotals {
    pub(super) breakdown: RunBreakdown,
    pub(super) ttft: SampleStats,
    pub(super) tpot: SampleStats,
    pub(super) itl: SampleStats,
    pub(super) e2el: SampleStats,
    pub(super) peaks: Peaks,
    /// By the number of the request.
    pub(super) outcomes: Vec<(usize, RequestOutcome)>,
    pub(super) completed: u64,
    pub(super) failed: u64,
    pub(super) input_tokens: u64,
    pub(super) output_tokens: u64,
    pub(super) last_emission: Nanos,
    pub(super) truncated: bool,
}

impl RunTotals {
    /// `streaming`: percentiles from histograms.
    pub(super) fn new(streaming: bool) -> RunTotals {
        let tally = || SampleStats::new(streaming);
        RunTotals {
            breakdown: RunBreakdown::default(),
            ttft: tally(),
            tpot: tally(),
            itl: tally(),
            e2el: tally(),
            peaks: Peaks::default(),
            outcomes: Vec::new(),
            completed: 0,
            failed: 0,
            input_tokens: 0,
            output_tokens: 0,
            last_emission: Nanos::ZERO,
            truncated: false,
        }
    }

    /// Adds another replica's run. Peaks are taken to fall together, so theirs are upper bounds.
    pub(super) fn merge(&mut self, o: RunTotals) {
        self.breakdown.merge(&o.breakdown);
        self.ttft.merge(o.ttft);
        self.tpot.merge(o.tpot);
        self.itl.merge(o.itl);
        self.e2el.merge(o.e2el);
        self.peaks.tokens += o.peaks.tokens;
        self.peaks.requests += o.peaks.requests;
        self.outcomes.extend(o.outcomes);
        self.completed += o.completed;
        self.failed += o.failed;
        self.input_tokens += o.input_tokens;
        self.output_tokens += o.output_tokens;
        self.last_emission = self.last_emission.max(o.last_emission);
        self.truncated |= o.truncated;
    }

    pub(super) fn result(mut self) -> SimResult {
        self.outcomes.sort_unstable_by_key(|&(number, _)| number);
        let requests = self.outcomes.into_iter().map(|(_, o)| o).collect();
        let duration = self.last_emission.secs();
        let mut m = Metrics::default();
        m.set(Key::Completed, self.completed as f64);
        m.set(Key::Failed, self.failed as f64);
        let sent = self.completed + self.failed;
        if sent > 0 {
            m.set(Key::RequestLossRate, self.failed as f64 / sent as f64);
        }
        m.set(Key::Duration, duration);
        m.set(Key::TotalInputTokens, self.input_tokens as f64);
        m.set(Key::TotalOutputTokens, self.output_tokens as f64);
        if duration > 0.0 {
            m.set(Key::RequestThroughput, self.completed as f64 / duration);
            m.set(Key::OutputThroughput, self.output_tokens as f64 / duration);
            m.set(Key::TotalTokenThroughput, (self.input_tokens + self.output_tokens) as f64 / duration);
            m.set(Key::MaxOutputTokensPerS, self.peaks.tokens as f64);
            m.set(Key::MaxConcurrentRequests, self.peaks.requests as f64);
        }
        self.ttft.write(sample_stats::TTFT, &mut m);
        self.tpot.write(sample_stats::TPOT, &mut m);
        self.itl.write(sample_stats::ITL, &mut m);
        self.e2el.write(sample_stats::E2EL, &mut m);
        SimResult { metrics: m, requests, breakdown: self.breakdown, truncated: self.truncated }
    }
}
