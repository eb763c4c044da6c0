//! The engine's own gauges and histograms while a step runs.

use crate::engine::{Adapter, MetricNames, Samples};
use crate::error::{Error, Result};
use crate::telemetry::{EngineClient, Sampler};
use serde::Serialize;
use std::time::Duration;

/// How often the client's end is looked for.
const TICK: Duration = Duration::from_millis(20);

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

/// Runs `work` while this thread reads the engine's metrics every `pace`. The histograms' means leave out the
/// first `first` requests to end: in a closed loop they came all at once, whatever the load.
pub(super) fn watched<T: Send>(
    (client, adapter): (&EngineClient, &dyn Adapter),
    pace: Duration,
    first: f64,
    work: impl FnOnce() -> Result<T> + Send,
) -> Result<(T, EngineView)> {
    client.reset_cache();
    let names = adapter.metric_names();
    let read = || client.scrape().map(|s| Moment::of(&s, &names)).unwrap_or_default();
    let mut moments = vec![read()];
    let mut sampler = Sampler::start(client, names);
    let done = std::thread::scope(|scope| {
        let run = scope.spawn(work);
        let mut waited = Duration::ZERO;
        while !run.is_finished() {
            std::thread::sleep(TICK);
            waited += TICK;
            if waited >= pace {
                waited = Duration::ZERO;
                moments.extend(sampler.sample().map(|s| Moment::of(&s, &names)));
            }
        }
        run.join().unwrap_or_else(|_| Err(Error::failed("the client broke down")))
    })?;
    let last = read();
    let deltas = sampler.finish();
    let begin = moments.iter().find(|m| m.count() >= moments[0].count() + first);
    // A step too short for that: everything counts.
    let begin = begin.filter(|b| last.count() > b.count()).unwrap_or(&moments[0]);
    let view = EngineView {
        max_running: sampler.peaks.running,
        max_waiting: sampler.peaks.waiting,
        max_kv_usage: sampler.peaks.kv_usage,
        preemptions: deltas.preemptions,
        cache_hit_ratio: deltas.hit_ratio(),
        mean_queue_s: mean(begin.queue, last.queue),
        mean_prefill_s: mean(begin.prefill, last.prefill),
    };
    Ok((done, view))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::adapter;
    use crate::scenario::EngineKind;

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
