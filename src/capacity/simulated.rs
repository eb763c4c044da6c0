//! A ramp of load, simulated: the ladder of a scenario with its zones, before anything is launched.

use super::breakpoints::Found;
use super::ladder::{Draws, Ladder, ramp_of};
use super::point::{Axis, LoadPoint};
use super::sample::{Sample, Seen};
use super::zones::{Breakpoint, Ramp, Zone, ZoneSpan};
use crate::cost::{Coefficients, Interval, Predictor, Setup, binding};
use crate::error::Result;
use crate::scenario::{Key, Record};
use crate::sim::SimResult;
use crate::workload::{Dataset, RequestRate, WorkloadSpec};
use serde::Serialize;
use std::collections::BTreeMap;

/// How to ramp.
#[derive(Debug, Clone, PartialEq)]
pub struct Options {
    pub axis: Axis,
    /// Loads to visit; found by themselves when empty.
    pub loads: Vec<f64>,
    /// Most requests in flight that the ladder goes to.
    pub max_concurrency: u32,
    /// The client's patience: a request that takes longer is lost. Seconds.
    pub timeout_s: f64,
    /// Upper bounds to keep: result key and milliseconds.
    pub slo: Vec<(Key, f64)>,
}

impl Default for Options {
    fn default() -> Options {
        Options {
            axis: Axis::Concurrency,
            loads: Vec::new(),
            max_concurrency: 4096,
            timeout_s: 600.0,
            slo: Vec::new(),
        }
    }
}

/// One rung: what the load would give.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Rung {
    pub load: f64,
    pub zone: Zone,
    /// Result keys of a whole run with intervals, the opening burst of a closed loop included. Latencies are left out where
    /// they would depend on how long the run lasts.
    pub predicted: BTreeMap<String, Interval>,
    /// The same of the steady part, which zones, SLO, replicas and cost stand on: what a server in service shows.
    pub steady: BTreeMap<String, Interval>,
    /// Why latencies are left out.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub latency_refused: Option<String>,
    /// Mean time before a request is first scheduled, ms.
    pub queue_ms: f64,
    /// Largest share of the KV blocks in use.
    pub kv_use: f64,
    pub preemptions: u64,
    pub loss: f64,
    /// Requests a second in the steady part: without the opening burst and the drain.
    pub steady_request_throughput: f64,
    pub binding: String,
    /// Share of the time that bytes and FLOPs at the device's peaks would take.
    pub of_physical_limit: f64,
}

/// A simulated ramp.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Study {
    pub axis: Axis,
    pub rungs: Vec<Rung>,
    pub breakpoints: Vec<Breakpoint>,
    pub zones: Vec<ZoneSpan>,
    /// Largest load that keeps every bound: by the central prediction, and by the pessimistic end of the
    /// 90 % interval.
    pub slo_load: Option<SloLoad>,
    /// Where the coefficients come from.
    pub basis: String,
    pub notes: Vec<String>,
    /// The points behind the zones: one ladder a draw of the coefficients, the central one first.
    #[serde(skip)]
    pub draws: Vec<Draws>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct SloLoad {
    /// `None`: not even the lightest load keeps it.
    pub central: Option<f64>,
    pub pessimistic: Option<f64>,
}

/// Most rungs put between the first ones, where a breakpoint is bracketed too widely.
const REFINE: u32 = 16;
/// Two neighbouring rungs within this ratio are near enough.
const RESOLUTION: f64 = 1.12;

/// Ramps one scenario.
///
/// Errors: as [`Predictor::predict`].
pub fn ramp(record: &Record, predictor: &Predictor<'_>, options: &Options) -> Result<Study> {
    let base = record.workload.clone().unwrap_or_else(|| WorkloadSpec::empty(Dataset::Sharegpt));
    let visit = |load| rung(&at(record, &base, options.axis, load), load, predictor, options);
    let mut found: Vec<Visited> = Vec::new();
    for load in ladder(record, &base, predictor, options)? {
        found.push(visit(load)?);
        let so_far: Vec<LoadPoint> = found.iter().filter_map(|f| f.draws.first().copied()).collect();
        if options.loads.is_empty() && is_past_the_plateau(&so_far) {
            break;
        }
    }
    if options.loads.is_empty() {
        let whole = options.axis == Axis::Concurrency;
        let ladder = Ladder { resolution: RESOLUTION, whole, ..Ladder::default() };
        for _ in 0..REFINE {
            let steps: Vec<Draws> = found.iter().map(|f| f.draws[..1].to_vec()).collect();
            let Some(load) = ladder.between(&steps, None) else { break };
            found.push(visit(load)?);
        }
    }
    found.sort_by(|a, b| a.rung.load.total_cmp(&b.rung.load));
    Ok(Study::new(options, found))
}

/// A rung with the draws behind it and what was said of it.
struct Visited {
    rung: Rung,
    draws: Draws,
    basis: String,
    notes: Vec<String>,
}

/// The ramp that an engine with exactly these coefficients shows, at `loads` and over `waves` requests for each in
/// flight: what a measured ramp of the embedded engine has to find.
pub fn exact(
    record: &Record,
    setup: impl Fn(&Record) -> Result<Setup>,
    coefficients: &Coefficients,
    loads: &[f64],
    waves: f64,
    options: &Options,
) -> Result<Ramp> {
    let base = record.workload.clone().unwrap_or_else(|| WorkloadSpec::empty(Dataset::Sharegpt));
    let mut points = Vec::new();
    for &load in loads {
        let mut r = at(record, &base, options.axis, load);
        if let Some(w) = &mut r.workload {
            w.num_prompts = Some((load * waves).max(200.0) as u32);
        }
        points.push(point(load, &setup(&r)?.simulate(coefficients, true), options));
    }
    Ok(Ramp::new(vec![points]))
}

/// The scenario at one load, with enough requests for a steady state.
fn at(record: &Record, base: &WorkloadSpec, axis: Axis, load: f64) -> Record {
    let mut w = base.clone();
    match axis {
        Axis::Concurrency => {
            w.request_rate = RequestRate::Inf;
            w.max_concurrency = Some(load.round().max(1.0) as u32);
            w.num_prompts = Some((load * 8.0).clamp(200.0, 16_000.0) as u32);
        }
        Axis::Rate => {
            w.request_rate = RequestRate::PerSecond(load);
            w.max_concurrency = None;
            w.num_prompts = Some((load * 120.0).clamp(400.0, 8_000.0) as u32);
        }
    }
    // Totals of some other run do not hold for this number of requests; their means do.
    let n = f64::from(base.num_prompts.unwrap_or(1000).max(1));
    let scale = f64::from(w.num_prompts.unwrap_or(1)) / n;
    w.total_input_tokens = w.total_input_tokens.map(|t| t * scale);
    w.total_output_tokens = w.total_output_tokens.map(|t| t * scale);
    Record { workload: Some(w), requests: None, result: None, ..record.clone() }
}

fn ladder(record: &Record, base: &WorkloadSpec, predictor: &Predictor<'_>, o: &Options) -> Result<Vec<f64>> {
    if !o.loads.is_empty() {
        let mut loads = o.loads.clone();
        loads.sort_by(f64::total_cmp);
        return Ok(loads);
    }
    Ok(match o.axis {
        Axis::Concurrency => {
            let steps = (f64::from(o.max_concurrency.max(1)).log2() * 2.0).floor() as i32;
            let mut loads: Vec<f64> = (0..=steps).map(|i| 2f64.powf(f64::from(i) / 2.0).round()).collect();
            loads.dedup();
            loads
        }
        Axis::Rate => {
            // The service rate of a system that is never idle bounds what an open loop can carry.
            let full = at(record, base, Axis::Concurrency, f64::from(o.max_concurrency.min(2048)));
            let p = Predictor { draws: 0, ..predictor.clone() }.predict(&full, false)?;
            let capacity = p.get(Key::RequestThroughput).map_or(1.0, |v| v.value);
            [0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.85, 0.9, 0.95, 1.0, 1.1, 1.3]
                .iter()
                .map(|f| f * capacity)
                .collect()
        }
    })
}

/// Throughput has been flat for four rungs: what follows is only a longer queue.
fn is_past_the_plateau(points: &[LoadPoint]) -> bool {
    let Some((recent, before)) = points.len().checked_sub(4).map(|n| (&points[n..], &points[..n])) else {
        return false;
    };
    let best = before.iter().map(|p| p.throughput).fold(0.0, f64::max);
    best > 0.0 && recent.iter().all(|p| p.throughput < best * 1.02)
}

fn rung(record: &Record, load: f64, predictor: &Predictor<'_>, o: &Options) -> Result<Visited> {
    let setup = Setup::new(record, predictor.catalogs)?;
    let p = predictor.predict_setup(&setup, true)?;
    let (center, coefficients) = predictor.coefficients(&setup);
    // What the profile's observations say of the model's error holds for the zones and the SLO too.
    let mended = |k: Key| match (p.get(k), p.simulated.metrics.get(k)) {
        (Some(v), Some(simulated)) if simulated > 0.0 => v.value / simulated,
        _ => 1.0,
    };
    let slo: Vec<(Key, f64)> = o.slo.iter().map(|&(k, ms)| (k, ms / mended(k))).collect();
    let central = sample(load, &p.simulated, o, &slo);
    let mut draws = vec![central.point()];
    draws.extend(coefficients.iter().map(|c| sample(load, &setup.simulate(c, true), o, &slo).point()));
    let (throughput, time) = (mended(Key::RequestThroughput), mended(Key::MeanE2elMs));
    for d in &mut draws {
        d.throughput *= throughput;
        d.e2e_s *= time;
        d.queue_s *= time;
        d.step_s *= time;
    }
    let unstable = o.axis == Axis::Rate && overloaded(&draws);
    let kept: Vec<(Key, Interval)> =
        p.values.iter().filter(|(k, _)| !(unstable && is_latency(**k))).map(|(k, v)| (*k, *v)).collect();
    let share = p.get(Key::RequestThroughput).map_or(1.0, |v| draws[0].throughput / v.value);
    let steady = kept
        .iter()
        .filter_map(|&(k, v)| Some((k.name().to_owned(), of_steady(&central, k, v, share, mended(k))?)));
    let steady = steady.collect();
    let predicted = kept.into_iter().map(|(k, v)| (k.name().to_owned(), v)).collect();
    let a = &p.simulated.breakdown;
    let rung = Rung {
        load,
        zone: Zone::Safe,
        predicted,
        steady,
        latency_refused: unstable.then(|| {
            "arrivals outrun service in more than one draw of twenty: latency grows for as long as the run lasts".into()
        }),
        queue_ms: draws[0].queue_s * 1e3,
        kv_use: a.peak_kv_blocks as f64 / a.kv_blocks_total.max(1) as f64,
        preemptions: a.preemptions,
        loss: draws[0].loss,
        steady_request_throughput: draws[0].throughput,
        binding: p.binding.clone(),
        of_physical_limit: limit(&setup, &center, &p.simulated),
    };
    Ok(Visited { rung, draws, basis: p.basis, notes: p.notes })
}

fn limit(setup: &Setup, c: &Coefficients, run: &SimResult) -> f64 {
    binding::of_physical_limit(setup, c, run)
}

/// In more than one draw of twenty the system completes clearly less than is offered.
fn overloaded(points: &[LoadPoint]) -> bool {
    let behind = points.iter().filter(|p| p.throughput < 0.93 * p.load).count();
    behind * 20 > points.len()
}

fn is_latency(k: Key) -> bool {
    let n = k.name();
    n.contains("ttft") || n.contains("e2el")
}

/// A figure of the steady part: as simulated there, with the correction and the relative interval of the whole run's
/// `whole`. `share` is the throughput of the steady part against that of the whole run.
fn of_steady(sample: &Sample<'_>, key: Key, whole: Interval, share: f64, mended: f64) -> Option<Interval> {
    let times = match key {
        Key::RequestThroughput | Key::OutputThroughput | Key::TotalTokenThroughput => share,
        latency => sample.figure(latency)? * mended / whole.value,
    };
    let scaled = Interval { value: whole.value * times, p05: whole.p05 * times, p95: whole.p95 * times };
    times.is_finite().then_some(scaled)
}

/// A rung of the ladder from one simulated run.
fn point(load: f64, run: &SimResult, o: &Options) -> LoadPoint {
    sample(load, run, o, &o.slo).point()
}

/// The requests of a simulated run, held against the bounds `slo`.
fn sample<'a>(load: f64, run: &SimResult, o: &Options, slo: &'a [(Key, f64)]) -> Sample<'a> {
    let seen = run.requests.iter().map(|r| {
        let sent = r.arrival.secs();
        Seen {
            due: sent,
            sent,
            first: r.first_token.secs(),
            end: r.finished.secs(),
            wait: r.scheduled.saturating_sub(r.arrival).secs(),
            tokens: r.output_tokens,
            lost: r.failed || r.e2e().secs() > o.timeout_s,
        }
    });
    Sample::new(load, o.axis, slo, seen.collect())
}

/// Largest load that keeps the bounds in the steady part of a rung, as the breakpoint "SLO crossing" has it: the opening
/// burst and the drain belong to the run, not to the load. The pessimistic load is that of figures raised to the upper
/// end of their 90 % interval.
fn slo_load(rungs: &[Rung], points: &[LoadPoint], slo: &[(Key, f64)]) -> SloLoad {
    let spread = |r: &Rung| {
        slo.iter()
            .map(|(k, _)| match r.predicted.get(k.name()) {
                Some(v) if v.value > 0.0 => (v.p95 / v.value).max(1.0),
                Some(_) => 1.0,
                // Refused: it grows for as long as the run lasts.
                None => f64::INFINITY,
            })
            .fold(1.0, f64::max)
    };
    let largest = |points: &[LoadPoint]| -> Option<f64> {
        let first = points.first()?;
        if first.slo > 1.0 {
            return None;
        }
        Some(Found::new(points).slo.map_or(points.last()?.load, |c| c.value))
    };
    let raised: Vec<LoadPoint> = points
        .iter()
        .zip(rungs)
        .map(|(p, r)| LoadPoint { slo: (p.slo * spread(r)).min(1e9), ..*p })
        .collect();
    let central = largest(points);
    SloLoad { central, pessimistic: largest(&raised).map(|l| central.map_or(l, |c| l.min(c))) }
}

impl Study {
    fn new(options: &Options, visited: Vec<Visited>) -> Study {
        let steps: Vec<Draws> = visited.iter().map(|v| v.draws.clone()).collect();
        let central: Vec<LoadPoint> = steps.iter().filter_map(|d| d.first().copied()).collect();
        let zones = ramp_of(&steps);
        let (basis, notes) = visited.first().map(|v| (v.basis.clone(), v.notes.clone())).unwrap_or_default();
        let rungs: Vec<Rung> =
            visited.into_iter().map(|v| Rung { zone: zones.zone_of(v.rung.load), ..v.rung }).collect();
        Study {
            axis: options.axis,
            slo_load: (!options.slo.is_empty()).then(|| slo_load(&rungs, &central, &options.slo)),
            breakpoints: zones.breakpoints(),
            zones: zones.zones(),
            rungs,
            basis,
            notes,
            draws: zones.draws().to_vec(),
        }
    }

    /// A study of nothing but points.
    #[cfg(test)]
    pub(super) fn of_draws(axis: Axis, draws: Vec<Draws>) -> Study {
        let zones = super::zones::Ramp::new(draws);
        Study {
            axis,
            rungs: Vec::new(),
            breakpoints: zones.breakpoints(),
            zones: zones.zones(),
            slo_load: None,
            basis: String::new(),
            notes: Vec::new(),
            draws: zones.draws().to_vec(),
        }
    }

    /// A value of the steady part at any load between the ladder's ends, interpolated on ln(load).
    pub fn value_at(&self, load: f64, key: Key) -> Option<Interval> {
        let rows: Vec<(f64, Interval)> =
            self.rungs.iter().filter_map(|r| Some((r.load, *r.steady.get(key.name())?))).collect();
        let (first, last) = (rows.first()?, rows.last()?);
        if load <= first.0 || load >= last.0 {
            return Some(if load <= first.0 { first.1 } else { last.1 });
        }
        let i = rows.windows(2).position(|w| load >= w[0].0 && load <= w[1].0)?;
        let (a, b) = (rows[i], rows[i + 1]);
        let t = (load / a.0).ln() / (b.0 / a.0).ln();
        let mix = |x: f64, y: f64| x + t * (y - x);
        Some(Interval {
            value: mix(a.1.value, b.1.value),
            p05: mix(a.1.p05, b.1.p05),
            p95: mix(a.1.p95, b.1.p95),
        })
    }
}
