//! From the times of single requests to the result keys, by the definitions of `vllm bench serve`.

use super::quick::Run;
use crate::scenario::{Key, Metrics};
use crate::stats::{mean, quantile_sorted, std_dev};

/// The result keys of a simulated run.
pub fn metrics(run: &Run) -> Metrics {
    let mut m = Metrics::default();
    let o = &run.outcomes;
    let start = o.iter().map(|r| r.arrival).min().unwrap_or(0);
    let end = o.iter().map(|r| r.last).max().unwrap_or(0);
    let duration = (end - start) as f64 / 1e9;
    let input: f64 = o.iter().map(|r| f64::from(r.input)).sum();
    let output: f64 = o.iter().map(|r| f64::from(r.output)).sum();
    m.set(Key::Completed, o.len() as f64);
    m.set(Key::Duration, duration);
    m.set(Key::TotalInputTokens, input);
    m.set(Key::TotalOutputTokens, output);
    m.set(Key::RequestThroughput, o.len() as f64 / duration);
    m.set(Key::OutputThroughput, output / duration);
    m.set(Key::TotalTokenThroughput, (input + output) / duration);
    let ms = |ns: u64| ns as f64 / 1e6;
    let mut ttft: Vec<f64> = o.iter().map(|r| ms(r.first - r.arrival)).collect();
    let mut e2e: Vec<f64> = o.iter().map(|r| ms(r.last - r.arrival)).collect();
    let mut tpot: Vec<f64> = o
        .iter()
        .filter(|r| r.output > 1)
        .map(|r| ms(r.last - r.first) / f64::from(r.output - 1))
        .collect();
    use Key::*;
    set(&mut m, &mut ttft, [MeanTtftMs, MedianTtftMs, StdTtftMs, P90TtftMs, P95TtftMs, P99TtftMs]);
    set(&mut m, &mut tpot, [MeanTpotMs, MedianTpotMs, StdTpotMs, P90TpotMs, P95TpotMs, P99TpotMs]);
    set(&mut m, &mut e2e, [MeanE2elMs, MedianE2elMs, StdE2elMs, P90E2elMs, P95E2elMs, P99E2elMs]);
    let mut gaps = run.gaps.clone();
    gaps.sort_unstable();
    let count: u64 = gaps.iter().map(|g| u64::from(g.1)).sum();
    if count > 0 {
        let total: f64 = gaps.iter().map(|g| ms(g.0) * f64::from(g.1)).sum();
        m.set(MeanItlMs, total / count as f64);
        let at = |q: f64| {
            let rank = (q * (count - 1) as f64) as u64;
            let mut seen = 0;
            gaps.iter().find(|g| { seen += u64::from(g.1); seen > rank }).map_or(f64::NAN, |g| ms(g.0))
        };
        for (k, q) in [(MedianItlMs, 0.5), (P90ItlMs, 0.9), (P95ItlMs, 0.95), (P99ItlMs, 0.99)] {
            m.set(k, at(q));
        }
    }
    m
}

/// Mean, median, standard deviation, 90th, 95th and 99th percentile.
fn set(m: &mut Metrics, values: &mut [f64], keys: [Key; 6]) {
    if values.is_empty() {
        return;
    }
    values.sort_by(f64::total_cmp);
    m.set(keys[0], mean(values));
    m.set(keys[1], quantile_sorted(values, 0.5));
    m.set(keys[2], std_dev(values));
    m.set(keys[3], quantile_sorted(values, 0.9));
    m.set(keys[4], quantile_sorted(values, 0.95));
    m.set(keys[5], quantile_sorted(values, 0.99));
}
