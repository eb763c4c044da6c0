//! The engine's gauges over a run, sampled at a slow, fixed pace.

use super::EngineClient;
use crate::engine::{MetricNames, Samples};

/// Largest values seen over a run, and how counters moved.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Peaks {
    pub running: Option<f64>,
    pub waiting: Option<f64>,
    pub kv_usage: Option<f64>,
}

/// Counters at the start of a run and peaks since.
#[derive(Debug)]
pub struct Sampler<'a> {
    client: &'a EngineClient,
    names: MetricNames,
    before: Option<Samples>,
    pub peaks: Peaks,
}

impl<'a> Sampler<'a> {
    /// Reads the counters now.
    pub fn start(client: &'a EngineClient, names: MetricNames) -> Sampler<'a> {
        Sampler { client, names, before: client.scrape(), peaks: Peaks::default() }
    }

    /// Reads the gauges once; gives back what was read.
    pub fn sample(&mut self) -> Option<Samples> {
        let now = self.client.scrape()?;
        let raise = |peak: &mut Option<f64>, name: &str| {
            if let Some(v) = now.max(name) {
                *peak = Some(peak.map_or(v, |p: f64| p.max(v)));
            }
        };
        raise(&mut self.peaks.running, self.names.running);
        raise(&mut self.peaks.waiting, self.names.waiting);
        raise(&mut self.peaks.kv_usage, self.names.kv_usage);
        Some(now)
    }

    /// Reads the counters again: what each moved by since the start, the peaks, and what was read at both ends.
    pub fn finish(self) -> (Deltas, Peaks, (Option<Samples>, Option<Samples>)) {
        let ends = (self.before, self.client.scrape());
        let delta = |name: &str| counter_delta(ends.0.as_ref(), ends.1.as_ref(), name);
        let deltas = Deltas {
            cache_queries: delta(self.names.cache_queries),
            cache_hits: delta(self.names.cache_hits),
            prompt_tokens: delta(self.names.prompt_tokens),
            generation_tokens: delta(self.names.generation_tokens),
            preemptions: delta(self.names.preemptions),
        };
        (deltas, self.peaks, ends)
    }
}

/// Movement of counters over a run; `None` where the engine does not count it.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Deltas {
    pub cache_queries: Option<f64>,
    pub cache_hits: Option<f64>,
    pub prompt_tokens: Option<f64>,
    pub generation_tokens: Option<f64>,
    pub preemptions: Option<f64>,
}

impl Deltas {
    /// Share of prompt tokens found in the prefix cache.
    pub fn hit_ratio(&self) -> Option<f64> {
        let queries = self.cache_queries.filter(|q| *q > 0.0)?;
        Some((self.cache_hits? / queries).clamp(0.0, 1.0))
    }
}

/// A counter that appears only with its first event counts from zero.
fn counter_delta(before: Option<&Samples>, after: Option<&Samples>, name: &str) -> Option<f64> {
    if name.is_empty() {
        return None;
    }
    let after = after?.sum(name)?;
    let before = before?.sum(name).unwrap_or(0.0);
    // A smaller value means that the engine restarted its counters.
    Some(if after < before { after } else { after - before })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn deltas_need_both_ends_and_survive_a_late_counter() {
        let a = Samples::parse("q_total 10\n");
        let b = Samples::parse("q_total 110\nh_total 25\n");
        assert_eq!(counter_delta(Some(&a), Some(&b), "q_total"), Some(100.0));
        assert_eq!(counter_delta(Some(&a), Some(&b), "h_total"), Some(25.0));
        assert_eq!(counter_delta(Some(&a), None, "q_total"), None);
        let d = Deltas { cache_queries: Some(100.0), cache_hits: Some(25.0), ..Deltas::default() };
        assert_eq!(d.hit_ratio(), Some(0.25));
        assert_eq!(Deltas::default().hit_ratio(), None);
    }
}
