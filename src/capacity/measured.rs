//! A measured ramp: each load is a run of the client; breakpoints and zones with bootstrap intervals.

use super::ladder::{ClimbEnd, Ladder, climb};
use super::zones::{LoadPoint, Ramp};
use crate::engine::Adapter;
use crate::error::Result;
use crate::load::{self, Cancel, LoadResult, Row, RunOptions, Target};
use crate::scenario::{Key, Metrics};
use crate::stats::mean;
use crate::telemetry::{EngineClient, Sampler};
use crate::units::Nanos;
use crate::workload::{RequestRate, WorkloadSpec, generate_run};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::Serialize;
use std::time::Duration;

/// Bootstrap samples behind every interval.
const DRAWS: usize = 200;
/// Slices of time whose throughputs are resampled.
const SLICES: usize = 12;
const SAMPLE: Duration = Duration::from_secs(1);

/// What varies along the ramp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Axis {
    /// Requests in flight, closed loop.
    Concurrency,
    /// Requests a second, open loop.
    Rate,
}

/// A checked plan of a ramp.
pub struct RampPlan<'a> {
    pub target: Target,
    pub workload: WorkloadSpec,
    pub vocab: u32,
    pub axis: Axis,
    pub ladder: Ladder,
    /// About how long a step should last, and its fewest requests.
    pub step_s: f64,
    pub least_requests: u32,
    /// Reads the engine's own counters; without it queueing is taken from the growth of TTFT.
    pub engine: Option<(&'a EngineClient, &'a dyn Adapter)>,
    pub cancel: Cancel,
}

/// What the engine said of itself during a step.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct EngineView {
    pub max_running: Option<f64>,
    pub max_waiting: Option<f64>,
    pub max_kv_usage: Option<f64>,
    pub preemptions: Option<f64>,
    pub cache_hit_ratio: Option<f64>,
    /// Mean time in the waiting queue by the engine's histogram.
    pub mean_queue_s: Option<f64>,
}

/// One measured step.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    #[serde(flatten)]
    pub point: LoadPoint,
    pub result: Metrics,
    pub engine: EngineView,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    #[serde(skip)]
    draws: Vec<LoadPoint>,
}

/// A finished ramp, steps by ascending load.
#[derive(Debug, Clone)]
pub struct MeasuredRamp {
    pub steps: Vec<Step>,
    pub end: ClimbEnd,
}

impl MeasuredRamp {
    /// The ramp with its bootstrap draws, for breakpoints and zones.
    pub fn ramp(&self) -> Ramp {
        let central = self.steps.iter().map(|s| s.point).collect();
        let draws = (0..DRAWS).map(|d| self.steps.iter().filter_map(|s| s.draws.get(d).copied()).collect());
        Ramp::new(std::iter::once(central).chain(draws).collect())
    }
}

/// Measures step by step; `seen` is told of each.
pub fn measure(plan: &RampPlan<'_>, mut seen: impl FnMut(&Step)) -> Result<MeasuredRamp> {
    let mut steps: Vec<Step> = Vec::new();
    let (_, end) = climb(&plan.ladder, |load| {
        let Some(step) = plan.step(load, &steps)? else { return Ok(None) };
        seen(&step);
        let point = step.point;
        steps.push(step);
        Ok(Some(point))
    })?;
    steps.sort_by(|a, b| a.point.load.total_cmp(&b.point.load));
    Ok(MeasuredRamp { steps, end })
}

impl RampPlan<'_> {
    fn step(&self, load: f64, before: &[Step]) -> Result<Option<Step>> {
        let mut workload = self.workload.clone();
        workload.num_prompts = Some(self.requests(load, before));
        match self.axis {
            Axis::Concurrency => workload.max_concurrency = Some(load as u32),
            Axis::Rate => workload.request_rate = RequestRate::PerSecond(load),
        }
        // Other prompts in every step: none is found in the prefix cache.
        let requests = generate_run(&workload, self.vocab, before.len() as u64 + 1)?;
        let options = RunOptions {
            max_concurrency: workload.max_concurrency,
            warmups: u32::from(before.is_empty()),
            cancel: self.cancel.clone(),
            ..RunOptions::default()
        };
        let (mut result, engine) = self.watched(|| load::run(&self.target, &requests, &options))?;
        if result.cancelled {
            return Ok(None);
        }
        result.add_components(&workload, None)?;
        let lightest = before.first().and_then(|s| s.result.get(Key::MeanTtftMs));
        Ok(Some(step(load, result, engine, lightest)))
    }

    /// Enough requests for the time of a step at the throughput seen so far, and three for each in flight.
    fn requests(&self, load: f64, before: &[Step]) -> u32 {
        let rate = match self.axis {
            Axis::Rate => load,
            Axis::Concurrency => before.iter().map(|s| s.point.throughput).fold(0.0, f64::max),
        };
        let flying = if self.axis == Axis::Concurrency { 3.0 * load } else { 0.0 };
        (rate * self.step_s).max(flying).max(f64::from(self.least_requests)).min(1e6) as u32
    }

    /// Runs the load while another thread reads the engine's gauges.
    fn watched(&self, work: impl FnOnce() -> Result<LoadResult> + Send) -> Result<(LoadResult, EngineView)> {
        let Some((client, adapter)) = self.engine else { return Ok((work()?, EngineView::default())) };
        client.reset_cache();
        let queue = || {
            let s = client.scrape()?;
            let name = "vllm:request_queue_time_seconds";
            Some((s.sum(&format!("{name}_sum"))?, s.sum(&format!("{name}_count"))?))
        };
        let queue_before = queue();
        let mut sampler = Sampler::start(client, adapter.metric_names());
        let result = std::thread::scope(|scope| {
            let run = scope.spawn(work);
            let mut waited = Duration::ZERO;
            while !run.is_finished() {
                std::thread::sleep(Duration::from_millis(20));
                waited += Duration::from_millis(20);
                if waited >= SAMPLE {
                    waited = Duration::ZERO;
                    sampler.sample();
                }
            }
            run.join().unwrap_or_else(|_| Err(crate::error::Error::failed("the client broke down")))
        })?;
        let deltas = sampler.finish();
        let mean_queue_s = queue_before
            .zip(queue())
            .and_then(|((s0, n0), (s1, n1))| (n1 > n0).then(|| ((s1 - s0) / (n1 - n0)).max(0.0)));
        let view = EngineView {
            max_running: sampler.peaks.running,
            max_waiting: sampler.peaks.waiting,
            max_kv_usage: sampler.peaks.kv_usage,
            preemptions: deltas.preemptions,
            cache_hit_ratio: deltas.hit_ratio(),
            mean_queue_s,
        };
        Ok((result, view))
    }
}

/// The point of a run, and its bootstrap draws.
fn step(load: f64, result: LoadResult, engine: EngineView, lightest_ttft_ms: Option<f64>) -> Step {
    let steady = load::steady(&result.rows);
    let whole = result.metrics.get(Key::RequestThroughput).unwrap_or(0.0);
    let throughput = steady.map_or(whole, |s| s.request_throughput);
    let ttft = result.metrics.get(Key::MeanTtftMs).unwrap_or(0.0);
    // Without the engine's word, queueing is what the first token takes longer than at the lightest load.
    let queue_s =
        engine.mean_queue_s.unwrap_or_else(|| ((ttft - lightest_ttft_ms.unwrap_or(ttft)) / 1e3).max(0.0));
    let point = LoadPoint {
        load,
        throughput,
        e2e_s: result.metrics.get(Key::MeanE2elMs).unwrap_or(0.0) / 1e3,
        queue_s,
        loss: result.metrics.get(Key::RequestLossRate).unwrap_or(0.0),
    };
    let window = steady.map(|s| (s.from.secs(), s.to.secs()));
    let draws = bootstrap(&point, &result.rows, window);
    let doubts = result
        .invalid
        .iter()
        .chain(&result.distortion.reasons)
        .chain(&result.distortion.doubts)
        .cloned()
        .collect();
    Step { point, result: result.metrics, engine, doubts, draws }
}

/// Draws of a point: throughput from resampled slices of time, times and loss from resampled requests.
fn bootstrap(point: &LoadPoint, rows: &[Row], window: Option<(f64, f64)>) -> Vec<LoadPoint> {
    let mut rng = ChaCha8Rng::seed_from_u64(point.load.to_bits());
    let (from, to) = window.unwrap_or_else(|| (0.0, rows.iter().map(|r| r.ended.secs()).fold(0.0, f64::max)));
    let mut ends = [0.0; SLICES];
    let width = (to - from) / SLICES as f64;
    for t in rows.iter().filter(|r| r.completed()).map(|r| r.ended.secs()).filter(|t| (from..to).contains(t))
    {
        ends[(((t - from) / width) as usize).min(SLICES - 1)] += 1.0;
    }
    // Slices shorter than a request see whole waves or none; pairs of neighbours smooth that out.
    let paired: Vec<f64> = (0..SLICES).map(|i| f64::midpoint(ends[i], ends[(i + 1) % SLICES])).collect();
    let central = mean(&paired);
    let done: Vec<&Row> = rows.iter().filter(|r| r.completed()).collect();
    let e2e: Vec<f64> = done.iter().filter_map(|r| r.e2e()).map(Nanos::secs).collect();
    let ttft: Vec<f64> = done.iter().filter_map(|r| r.ttft()).map(Nanos::secs).collect();
    (0..DRAWS)
        .map(|_| {
            let mut ratio = |values: &[f64], around: f64| {
                if values.is_empty() || around <= 0.0 {
                    return 1.0;
                }
                let drawn = (0..values.len()).map(|_| values[rng.random_range(0..values.len())]).sum::<f64>();
                drawn / values.len() as f64 / around
            };
            let throughput = point.throughput * ratio(&paired, central);
            let e2e_s = point.e2e_s * ratio(&e2e, mean(&e2e));
            let queue_s = point.queue_s * ratio(&ttft, mean(&ttft));
            let lost = (0..rows.len()).filter(|_| rng.random::<f64>() < point.loss).count();
            LoadPoint {
                load: point.load,
                throughput,
                e2e_s,
                queue_s,
                loss: lost as f64 / rows.len().max(1) as f64,
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::paced::{Pace, PacedServer};
    use crate::workload::parse;

    #[test]
    fn a_ramp_on_a_server_without_limits_finds_no_knee() {
        let pace = Pace { ttft: Duration::from_millis(20), itl: Duration::from_millis(2), ..Pace::default() };
        let server = PacedServer::start(0, pace, 1).unwrap();
        let plan = RampPlan {
            target: Target::new(server.base_url(), "paced"),
            workload: parse("random:8/8").unwrap(),
            vocab: 512,
            axis: Axis::Concurrency,
            ladder: Ladder { from: 1.0, to: 8.0, factor: 2.0, refine: 2, whole: true },
            step_s: 0.2,
            least_requests: 8,
            engine: None,
            cancel: Cancel::new(),
        };
        let mut told = 0;
        let ramp = measure(&plan, |_| told += 1).unwrap();
        assert_eq!((ramp.end, told), (ClimbEnd::Bound, ramp.steps.len()));
        let loads: Vec<f64> = ramp.steps.iter().map(|s| s.point.load).collect();
        assert!([1.0, 2.0, 4.0, 8.0].iter().all(|l| loads.contains(l)), "{loads:?}");
        // Eight times the load, eight times the throughput, less what a busy machine takes.
        let first = ramp.steps.first().unwrap().point.throughput;
        let last = ramp.steps.last().unwrap().point.throughput;
        assert!(last / first > 2.0, "{first} {last}");
        assert_eq!(ramp.ramp().breakpoints()[3].at, None);
    }
}
