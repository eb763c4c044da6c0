//! A measured ramp: each load is a run of the client; breakpoints and zones with bootstrap intervals.

use super::correction::at;
use super::forecast::Forecast;
use super::ladder::{ClimbEnd, Draws, Ladder, climb, ramp_of};
use super::point::{Axis, LoadPoint};
use super::sample::{Sample, Seen};
use super::watch::{EngineView, Histograms};
use super::zones::Ramp;
use crate::cost::Interval;
use crate::engine::Class;
use crate::error::Result;
use crate::load::{LoadResult, Row, RunOptions, Target};
use crate::scenario::{Key, Metrics};
use crate::trial::{self, Session};
use crate::units::Nanos;
use crate::workload::{RequestRate, WorkloadSpec, generate_run};
use serde::Serialize;
use std::collections::BTreeMap;
use std::time::Duration;

/// Bootstrap samples behind every interval.
const DRAWS: usize = 200;
/// Requests of a closed loop for each in flight: the first wave comes all at once, the last one drains.
const WAVES: f64 = 4.0;

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
    /// Upper bounds to keep: result key and milliseconds.
    pub slo: Vec<(Key, f64)>,
    /// The ramp as it was simulated beforehand: chooses the loads, is corrected by each step.
    pub forecast: Option<&'a Forecast>,
    /// The client reads at real-time priority: the engine computes on this machine's own cores.
    pub real_time: bool,
}

/// What was expected of a step.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Expected {
    /// Before anything was measured.
    pub request_throughput: Option<Interval>,
    pub mean_ttft_ms: Option<Interval>,
    pub mean_tpot_ms: Option<Interval>,
    /// After the steps before this one.
    pub corrected_throughput: f64,
}

/// One measured step.
#[derive(Debug, Clone, Serialize)]
pub struct Step {
    /// Its number among the steps, from 1.
    pub order: usize,
    #[serde(flatten)]
    pub point: LoadPoint,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub expected: Option<Expected>,
    /// Of the whole run, the opening burst of a closed loop included.
    pub result: Metrics,
    /// Latencies of the steady part, ms, by their result keys: what breakpoints, zones and the SLO stand on.
    pub steady: BTreeMap<String, f64>,
    pub engine: EngineView,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub doubts: Vec<String>,
    /// Figures that the ramp stands on may be the client's own: such a step is made once more.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub invalid: bool,
    /// The try before this one, when its client was starved.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spoilt: Option<Spoilt>,
    #[serde(skip)]
    draws: Draws,
}

/// A try of a step that a starved client spoilt.
#[derive(Debug, Clone, Serialize)]
pub struct Spoilt {
    pub result: Metrics,
    pub doubts: Vec<String>,
}

/// Steps of this ramp, and of ladders that would have told as much.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Saved {
    pub steps: usize,
    /// The same rules without a forecast, on the curve that was found: doubling, then bisecting.
    pub doubling: usize,
    /// Equal factors from the lightest to the heaviest load, as fine as the resolution.
    pub fixed: usize,
}

/// A finished ramp, steps by ascending load.
#[derive(Debug, Clone)]
pub struct MeasuredRamp {
    pub axis: Axis,
    pub steps: Vec<Step>,
    pub end: ClimbEnd,
}

impl MeasuredRamp {
    /// The ramp with its bootstrap draws, for breakpoints and zones.
    pub fn ramp(&self) -> Ramp {
        ramp_of(&self.steps.iter().map(|s| s.draws.clone()).collect::<Vec<_>>())
    }

    /// How many steps other ladders would have taken on the curve that was found.
    pub fn saved(&self, ladder: &Ladder, forecast: Option<&Forecast>) -> Saved {
        let points: Vec<LoadPoint> = self.steps.iter().map(|s| s.point).collect();
        let curve = forecast.and_then(|f| f.corrected(&points).into_iter().next()).unwrap_or(points);
        let doubling = climb(ladder, None, |load| Ok(Some(vec![at(&curve, load, self.axis)])));
        let top = self.steps.last().map_or(ladder.from, |s| s.point.load);
        let rungs = ((top / ladder.from).ln() / ladder.resolution.ln()).ceil() as i32;
        let mut fixed: Vec<f64> =
            (0..=rungs).map(|i| ladder.round(ladder.from * ladder.resolution.powi(i))).collect();
        fixed.dedup();
        Saved {
            steps: self.steps.len(),
            doubling: doubling.map_or(0, |(steps, _)| steps.len()),
            fixed: fixed.len(),
        }
    }
}

/// Measures step by step; `seen` is told of each try, of a repeated step twice with the same `order`.
pub fn measure(
    plan: &RampPlan<'_>,
    session: &mut Session<'_>,
    mut seen: impl FnMut(&Step) -> Result<()>,
) -> Result<MeasuredRamp> {
    let mut steps: Vec<Step> = Vec::new();
    let (_, end) = climb(&plan.ladder, plan.forecast.map(Forecast::simulated), |load| {
        let Some(step) = settled(|attempt| plan.step(session, load, &steps, attempt), &mut seen)? else {
            return Ok(None);
        };
        let draws = step.draws.clone();
        steps.push(step);
        Ok(Some(draws))
    })?;
    steps.sort_by(|a, b| a.point.load.total_cmp(&b.point.load));
    Ok(MeasuredRamp { axis: plan.axis, steps, end })
}

/// A step, made once more when a starved client spoilt it: the zones would be drawn through the client's figures. Both
/// tries are told, the first as soon as it is known. A second one that is no better stands, marked; one that was
/// stopped leaves the first.
fn settled(
    mut make: impl FnMut(u64) -> Result<Option<Step>>,
    seen: &mut impl FnMut(&Step) -> Result<()>,
) -> Result<Option<Step>> {
    let Some(first) = make(0)? else { return Ok(None) };
    seen(&first)?;
    if !first.invalid {
        return Ok(Some(first));
    }
    let Some(mut again) = make(1)? else { return Ok(Some(first)) };
    again.spoilt = Some(Spoilt { result: first.result, doubts: first.doubts });
    seen(&again)?;
    Ok(Some(again))
}

impl RampPlan<'_> {
    fn step(
        &self,
        session: &mut Session<'_>,
        load: f64,
        before: &[Step],
        attempt: u64,
    ) -> Result<Option<Step>> {
        let mut workload = self.workload.clone();
        let expected = self.expected(load, before);
        workload.num_prompts = Some(self.requests(load, before, expected.as_ref()));
        match self.axis {
            Axis::Concurrency => workload.max_concurrency = Some(load as u32),
            Axis::Rate => workload.request_rate = RequestRate::PerSecond(load),
        }
        // Other prompts in every try: none is found in the prefix cache.
        let content = (before.len() as u64 + 1) * 2 + attempt;
        let requests = generate_run(&workload, self.vocab, content)?;
        let options = RunOptions {
            max_concurrency: workload.max_concurrency,
            warmups: u32::from(before.is_empty() && attempt == 0),
            real_time: self.real_time,
            ..RunOptions::default()
        };
        let first = match self.axis {
            Axis::Concurrency => load,
            Axis::Rate => 0.2 * requests.len() as f64,
        };
        if session.has_metrics() {
            session.reset_cache();
        }
        let run = trial::RunPlan {
            requests: &requests,
            target: self.target.clone(),
            options,
            give_up: None,
            best_s: None,
            forgiven: Duration::ZERO,
            pace: Duration::from_secs_f64((self.step_s / 8.0).clamp(0.1, 1.0)),
            keep_partial: false,
        };
        let mut histograms = Histograms::new(session.adapter());
        let watched = match session.run(run, &mut |samples| histograms.see(samples)) {
            Ok(watched) => watched,
            Err(f) if f.class == Class::Interrupted => return Ok(None),
            Err(f) => {
                let place = f.log.clone().unwrap_or_else(|| session.base_url().to_owned());
                return Err(trial::as_error(&f, std::path::Path::new(&place)));
            }
        };
        let engine = histograms.view(&watched, first);
        let mut result = watched.result;
        result.add_components(&workload, None)?;
        Ok(Some(self.concluded(load, before.len() + 1, result, engine, expected)))
    }

    fn concluded(
        &self,
        load: f64,
        order: usize,
        result: LoadResult,
        engine: EngineView,
        expected: Option<Expected>,
    ) -> Step {
        let sample = Sample::new(load, self.axis, &self.slo, seen(&result.rows, &engine));
        let shown = [Key::MeanTtftMs, Key::P99TtftMs, Key::MeanTpotMs].into_iter();
        let keys = shown.chain(self.slo.iter().map(|b| b.0));
        let steady = keys.filter_map(|k| Some((k.name().to_owned(), sample.figure(k)?))).collect();
        let mut draws = vec![sample.point()];
        draws.extend(sample.draws(DRAWS));
        let doubts = result
            .invalid
            .iter()
            .chain(&result.distortion.reasons)
            .chain(&result.distortion.doubts)
            .cloned()
            .collect();
        let invalid = result.distortion.untrusted.iter().any(|k| self.stands_on(*k));
        let (point, result) = (draws[0], result.metrics);
        Step { order, point, expected, result, steady, engine, doubts, invalid, spoilt: None, draws }
    }

    /// Whether breakpoints are drawn by this figure.
    fn stands_on(&self, key: Key) -> bool {
        const BASES: [Key; 3] = [Key::RequestThroughput, Key::MeanTtftMs, Key::MeanE2elMs];
        BASES.contains(&key) || self.slo.iter().any(|(k, _)| *k == key)
    }

    fn expected(&self, load: f64, before: &[Step]) -> Option<Expected> {
        let forecast = self.forecast?;
        let points: Vec<LoadPoint> = before.iter().map(|s| s.point).collect();
        let corrected = at(forecast.corrected(&points).first()?, load, self.axis);
        let of = |key| forecast.study.value_at(load, key);
        Some(Expected {
            request_throughput: of(Key::RequestThroughput),
            mean_ttft_ms: of(Key::MeanTtftMs),
            mean_tpot_ms: of(Key::MeanTpotMs),
            corrected_throughput: corrected.throughput,
        })
    }

    /// Enough requests for the time of a step at the throughput expected or seen so far, and some for each in flight.
    fn requests(&self, load: f64, before: &[Step], expected: Option<&Expected>) -> u32 {
        let seen = || before.iter().map(|s| s.point.throughput).fold(0.0, f64::max);
        let rate = match self.axis {
            Axis::Rate => load,
            Axis::Concurrency => expected.map_or_else(seen, |e| e.corrected_throughput),
        };
        let flying = if self.axis == Axis::Concurrency { WAVES * load } else { 0.0 };
        (rate * self.step_s).max(flying).max(f64::from(self.least_requests)).min(1e6) as u32
    }
}

/// The requests of a run. The time before being scheduled is the time to first token less the engine's own mean
/// from there to the first token; where it does not say, its mean time in the queue; else the whole time to first
/// token, whose growth over the lightest load then counts as waiting.
fn seen(rows: &[Row], engine: &EngineView) -> Vec<Seen> {
    let secs = |t: Option<Nanos>| t.map_or(0.0, Nanos::secs);
    rows.iter()
        .map(|r| {
            let ttft = secs(r.ttft());
            let wait = match (engine.mean_prefill_s, engine.mean_queue_s) {
                (Some(prefill), _) => ttft - prefill,
                (None, Some(queue)) => queue,
                (None, None) => ttft,
            };
            Seen {
                due: r.intended.secs(),
                sent: r.sent.secs(),
                first: r.chunks.first().copied().unwrap_or(r.ended).secs(),
                end: r.chunks.last().copied().unwrap_or(r.ended).secs(),
                wait,
                tokens: r.output_tokens,
                lost: !r.completed(),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::paced::{Pace, PacedServer};
    use crate::workload::parse;

    fn step(invalid: bool, doubt: &str) -> Step {
        Step {
            order: 1,
            point: LoadPoint::default(),
            expected: None,
            result: Metrics::default(),
            steady: BTreeMap::new(),
            engine: EngineView::default(),
            doubts: vec![doubt.into()],
            invalid,
            spoilt: None,
            draws: Draws::default(),
        }
    }

    /// The tries that were told, and the step that stands.
    fn settle(tries: &[Option<bool>]) -> (Vec<String>, Step) {
        let mut told = Vec::new();
        let make = |attempt: u64| Ok(tries[attempt as usize].map(|bad| step(bad, &attempt.to_string())));
        let stands = settled(make, &mut |s: &Step| {
            told.push(s.doubts[0].clone());
            Ok(())
        });
        (told, stands.unwrap().unwrap())
    }

    #[test]
    fn a_step_of_a_starved_client_is_made_once_more_and_both_tries_are_kept() {
        let (told, well) = settle(&[Some(false)]);
        assert_eq!((told.len(), well.spoilt.is_none()), (1, true));
        let (told, again) = settle(&[Some(true), Some(false)]);
        assert_eq!((told, again.invalid), (vec!["0".to_owned(), "1".to_owned()], false));
        assert_eq!(again.spoilt.unwrap().doubts, ["0"]);
        let (_, no_better) = settle(&[Some(true), Some(true)]);
        assert!(no_better.invalid && no_better.spoilt.is_some());
        let (told, stopped) = settle(&[Some(true), None]);
        assert_eq!((told.len(), stopped.invalid, stopped.spoilt.is_none()), (1, true, true));
    }

    #[test]
    fn a_ramp_on_a_server_without_limits_finds_no_knee() {
        let pace = Pace { ttft: Duration::from_millis(20), itl: Duration::from_millis(2), ..Pace::default() };
        let server = PacedServer::start(0, pace, 1).unwrap();
        let plan = RampPlan {
            target: Target::new(server.base_url(), "paced"),
            workload: parse("random:8/8").unwrap(),
            vocab: 512,
            axis: Axis::Concurrency,
            ladder: Ladder { to: 8.0, refine: 2, ..Ladder::default() },
            step_s: 0.2,
            least_requests: 8,
            slo: vec![(Key::P99TtftMs, 1.0)],
            forecast: None,
            real_time: false,
        };
        let mut told = 0;
        let cancel = crate::load::Cancel::new();
        let mut session = Session::attach(
            &server.base_url(),
            crate::launch::EngineKind::Vllm,
            None,
            None,
            &cancel,
            &trial::Silent,
        )
        .unwrap();
        let ramp = measure(&plan, &mut session, |_| {
            told += 1;
            Ok(())
        })
        .unwrap();
        // A busy machine may hold the client up: such a step is made, and told, once more.
        assert_eq!(ramp.end, ClimbEnd::Bound);
        assert!(told >= ramp.steps.len(), "{told}");
        let loads: Vec<f64> = ramp.steps.iter().map(|s| s.point.load).collect();
        assert!([1.0, 2.0, 4.0, 8.0].iter().all(|l| loads.contains(l)), "{loads:?}");
        // Eight times the load, eight times the throughput, less what a busy machine takes.
        let first = ramp.steps.first().unwrap().point.throughput;
        let last = ramp.steps.last().unwrap().point.throughput;
        assert!(last / first > 2.0, "{first} {last}");
        let found = ramp.ramp().breakpoints();
        assert_eq!((found[3].at, found[4].at), (None, None), "{found:?}");
        // A time to first token of 20 ms breaks a bound of 1 ms from the lightest load on.
        assert_eq!(found[2].at.unwrap().value, 1.0);
        let saved = ramp.saved(&plan.ladder, None);
        assert_eq!(saved.steps, ramp.steps.len());
        assert!(saved.doubling >= 4 && saved.fixed >= 6, "{saved:?}");
    }
}
