//! The engine's own gauges and histograms while a step runs.

use crate::engine::{Adapter, MetricNames, Samples};
use crate::trial::WatchedRun;
use serde::Serialize;

/// What the engine said of itself during a step.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct EngineView {
    pub max_running: Option<f64>,
    pub max_waiting: Option<f64>,
    pub max_kv_usage: Option<f64>,
    pub preemptions: Option<f64>,
    pub cache_hit_ratio: Option<f64>,
    /// Mean time in the waiting queue, and from being scheduled to the first token, by the engine's histograms
    /// and without the requests that came first.
    pub mean_queue_s: Option<f64>,
    pub mean_prefill_s: Option<f64>,
}

/// Sum and count of the two histograms at one moment.
#[derive(Debug, Clone, Copy, Default)]
struct Moment {
    queue: Option<(f64, f64)>,
    prefill: Option<(f64, f64)>,
}

impl Moment {
    fn of(s: &Samples, names: &MetricNames) -> Moment {
        let read = |name: &str| {
            let both = s.sum(&format!("{name}_sum")).zip(s.sum(&format!("{name}_count")));
            both.filter(|_| !name.is_empty())
        };
        Moment { queue: read(names.queue_time), prefill: read(names.prefill_time) }
    }

    fn count(&self) -> f64 {
        self.queue.or(self.prefill).map_or(0.0, |h| h.1)
    }
}

/// Mean of a histogram between two moments.
fn mean(from: Option<(f64, f64)>, to: Option<(f64, f64)>) -> Option<f64> {
    let ((s0, n0), (s1, n1)) = (from.unwrap_or_default(), to?);
    (n1 > n0).then(|| ((s1 - s0) / (n1 - n0)).max(0.0))
}

/// The engine's histograms as they were read during a run.
#[derive(Debug)]
pub(super) struct Histograms {
    names: MetricNames,
    moments: Vec<Moment>,
}

impl Histograms {
    pub(super) fn new(adapter: &dyn Adapter) -> Histograms {
        Histograms { names: adapter.metric_names(), moments: Vec::new() }
    }

    pub(super) fn see(&mut self, samples: &Samples) {
        self.moments.push(Moment::of(samples, &self.names));
    }

    /// The means leave out the first `first` requests to end: in a closed loop they came all at once, whatever the
    /// load.
    pub(super) fn view(mut self, run: &WatchedRun, first: f64) -> EngineView {
        let (before, after) = &run.ends;
        let of = |s: &Option<Samples>| s.as_ref().map(|s| Moment::of(s, &self.names)).unwrap_or_default();
        let (start, last) = (of(before), of(after));
        self.moments.insert(0, start);
        let begin = self.moments.iter().find(|m| m.count() >= start.count() + first);
        // A step too short for that: everything counts.
        let begin = begin.filter(|b| last.count() > b.count()).unwrap_or(&start);
        EngineView {
            max_running: run.peaks.running,
            max_waiting: run.peaks.waiting,
            max_kv_usage: run.peaks.kv_usage,
            preemptions: run.deltas.preemptions,
            cache_hit_ratio: run.deltas.hit_ratio(),
            mean_queue_s: mean(begin.queue, last.queue),
            mean_prefill_s: mean(begin.prefill, last.prefill),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::adapter;
    use crate::launch::EngineKind;

    #[test]
    fn means_of_histograms_are_of_what_came_between() {
        let names = adapter(EngineKind::Vllm).metric_names();
        let text = |n: f64| {
            format!(
                "vllm:request_queue_time_seconds_sum{{e=\"0\"}} {}\nvllm:request_queue_time_seconds_count{{e=\"0\"}} {n}\n",
                n * n
            )
        };
        let at = |n| Moment::of(&Samples::parse(&text(n)), &names);
        let (a, b) = (at(10.0), at(30.0));
        assert_eq!(mean(a.queue, b.queue), Some(40.0));
        assert_eq!(mean(None, b.queue), Some(30.0));
        assert_eq!((mean(b.queue, b.queue), mean(a.prefill, b.prefill)), (None, None));
    }
}
