//! Which load to measure next: upward until the engine is saturated, then where the next step tells most about
//! the breakpoints.

use super::breakpoints::{Found, LOSS};
use super::correction::Simulated;
use super::point::LoadPoint;
use super::zones::Ramp;
use crate::error::Result;
use crate::stats::quantile_sorted;

/// Elasticity of throughput below which more load counts as bringing nothing.
const FLAT: f64 = 0.1;
/// Steps of the climb in a row that bring nothing, without a forecast: one alone may be chance.
const FLAT_STEPS: usize = 2;
/// With a forecast one step is enough that is this much above another and brings nothing.
const FLAT_SPAN: f64 = 1.9;
/// The forecast's knee is overstepped by this, so that the plateau is seen.
const BEYOND_KNEE: f64 = 2.2;
/// Most that the load grows by from one step to a heavier one: a forecast may be far off.
const LEAP: f64 = 16.0;
/// A step tells at least this many bits, or is not worth its time.
const LEAST_BITS: f64 = 0.05;
/// A step nearer to another than this tells nothing that noise does not.
const APART: f64 = 1.03;
/// Weight of the forecast inside a bracket, against "anywhere in it".
const TRUST: f64 = 0.5;

/// Bounds of a ladder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ladder {
    pub from: f64,
    pub to: f64,
    /// Each step of the climb is this times the one before, where no forecast says better.
    pub factor: f64,
    /// Most steps after the climb.
    pub refine: u32,
    /// Loads are whole numbers (requests in flight).
    pub whole: bool,
    /// Two neighbouring loads within this ratio are near enough: nothing is measured between them.
    pub resolution: f64,
}

impl Default for Ladder {
    fn default() -> Ladder {
        Ladder { from: 1.0, to: 1e9, factor: 2.0, refine: 8, whole: true, resolution: 1.2 }
    }
}

/// Why the climb ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClimbEnd {
    /// More load brought next to no throughput.
    Flat,
    /// Requests were lost.
    Loss,
    /// The largest load allowed was reached.
    Bound,
    /// The measurement was interrupted.
    Interrupted,
}

/// The draws of one load, the central one first.
pub type Draws = Vec<LoadPoint>;

/// Climbs and refines; `measure` runs one load and gives None when it was interrupted. Steps come back in the
/// order in which they were measured.
pub fn climb(
    ladder: &Ladder,
    forecast: Option<Simulated<'_>>,
    mut measure: impl FnMut(f64) -> Result<Option<Draws>>,
) -> Result<(Vec<Draws>, ClimbEnd)> {
    let mut steps: Vec<Draws> = Vec::new();
    let end = loop {
        match ladder.upward(&central(&steps), forecast) {
            Err(end) => break end,
            Ok(load) => match measure(load)? {
                None => return Ok((steps, ClimbEnd::Interrupted)),
                Some(draws) => steps.push(draws),
            },
        }
    };
    for _ in 0..ladder.refine {
        let Some(load) = ladder.between(&steps, forecast) else { break };
        match measure(load)? {
            None => return Ok((steps, ClimbEnd::Interrupted)),
            Some(draws) => steps.push(draws),
        }
    }
    Ok((steps, end))
}

/// The central points by ascending load.
fn central(steps: &[Draws]) -> Vec<LoadPoint> {
    let mut points: Vec<LoadPoint> = steps.iter().filter_map(|d| d.first().copied()).collect();
    points.sort_by(|a, b| a.load.total_cmp(&b.load));
    points
}

/// The ramp of steps: draw by draw through all of them.
pub fn ramp_of(steps: &[Draws]) -> Ramp {
    let draws = steps.iter().map(Vec::len).min().unwrap_or(0);
    Ramp::new((0..draws).map(|d| steps.iter().map(|s| s[d]).collect()).collect())
}

/// `d ln X / d ln N` between two steps.
fn elasticity(a: &LoadPoint, b: &LoadPoint) -> f64 {
    (b.throughput.max(1e-12) / a.throughput.max(1e-12)).ln() / (b.load / a.load).ln()
}

impl Ladder {
    pub(super) fn round(&self, load: f64) -> f64 {
        let load = load.clamp(self.from, self.to);
        if self.whole { load.round().max(1.0) } else { load }
    }

    /// The next load of the climb, or why it is over.
    fn upward(&self, points: &[LoadPoint], forecast: Option<Simulated<'_>>) -> Result<f64, ClimbEnd> {
        let Some(top) = points.last() else { return Ok(self.round(self.from)) };
        if points.iter().any(|p| p.loss > LOSS) {
            return Err(ClimbEnd::Loss);
        }
        if is_flat(points, forecast.is_some()) {
            return Err(ClimbEnd::Flat);
        }
        let foreseen = forecast.and_then(|f| foreseen(f, points));
        let next = self.round(foreseen.unwrap_or(0.0).min(top.load * LEAP));
        let next =
            if next >= top.load * self.factor.sqrt() { next } else { self.round(top.load * self.factor) };
        if next > top.load { Ok(next) } else { Err(ClimbEnd::Bound) }
    }

    /// The load that tells most about where the breakpoints lie, in bits: of each breakpoint the chance that it
    /// lies below a load is taken over the bootstrap draws and, inside the bracket of a draw, from the corrected
    /// forecast and an even spread over the logarithm; without a forecast from the spread alone, which bisects.
    /// None when nothing near enough to a breakpoint is left to measure.
    pub(super) fn between(&self, steps: &[Draws], forecast: Option<Simulated<'_>>) -> Option<f64> {
        let ramp = ramp_of(steps);
        let points = ramp.central();
        let brackets = ramp.brackets();
        let here = brackets.first()?;
        let expected: Vec<[Option<f64>; 5]> = forecast.map_or_else(Vec::new, |f| {
            f.corrected(points).iter().map(|d| Found::new(d).all().map(|c| c.map(|c| c.value))).collect()
        });
        let bits = |load: f64| -> f64 {
            let one = |b: usize| {
                let guesses: Vec<f64> = expected.iter().filter_map(|e| e[b]).collect();
                let draws: Vec<(f64, f64)> = brackets.iter().filter_map(|d| d[b]).collect();
                let below = draws.iter().map(|d| chance_below(load, *d, &guesses)).sum::<f64>();
                entropy(below / draws.len().max(1) as f64)
            };
            (0..here.len()).filter(|&b| here[b].is_some()).map(one).sum()
        };
        let told: Vec<(f64, f64)> = self.candidates(points).into_iter().map(|l| (bits(l), l)).collect();
        let best = told.iter().map(|t| t.0).fold(0.0, f64::max);
        // Of equally good ones the middle: the first would lie at the edge of a stretch that cannot be told apart.
        let good: Vec<f64> = told.iter().filter(|t| t.0 >= best * 0.999).map(|t| t.1).collect();
        (best > LEAST_BITS).then(|| good[good.len() / 2])
    }

    /// Loads between two measured ones that are still too far apart.
    fn candidates(&self, points: &[LoadPoint]) -> Vec<f64> {
        const PER_GAP: u32 = 40;
        let mut all = Vec::new();
        for w in points.windows(2) {
            let (low, high) = (w[0].load, w[1].load);
            if high / low <= self.resolution {
                continue;
            }
            for i in 1..PER_GAP {
                let load = self.round(low * (high / low).powf(f64::from(i) / f64::from(PER_GAP)));
                if load / low >= APART && high / load >= APART && all.last() != Some(&load) {
                    all.push(load);
                }
            }
        }
        all
    }
}

/// More load brought nothing: in one step far enough above another where a forecast says that a plateau is to be
/// expected, else in several steps in a row.
fn is_flat(points: &[LoadPoint], foreseen: bool) -> bool {
    let Some((top, below)) = points.split_last() else { return false };
    if foreseen {
        let span = |p: &&LoadPoint| top.load / p.load >= FLAT_SPAN;
        return below.iter().rev().find(span).is_some_and(|p| elasticity(p, top) < FLAT);
    }
    points.len() > FLAT_STEPS
        && points[points.len() - 1 - FLAT_STEPS..].windows(2).all(|w| elasticity(&w[0], &w[1]) < FLAT)
}

/// The load to go up to by the forecast: first where it expects the safe zone to end, then well beyond its knee.
fn foreseen(forecast: Simulated<'_>, points: &[LoadPoint]) -> Option<f64> {
    let expected: Vec<Found> = forecast.corrected(points).iter().map(|d| Found::new(d)).collect();
    let quantile = |of: &dyn Fn(&Found) -> Option<f64>, q: f64| {
        let mut all: Vec<f64> = expected.iter().filter_map(of).collect();
        all.sort_by(f64::total_cmp);
        (2 * all.len() > expected.len()).then(|| quantile_sorted(&all, q))
    };
    if points.len() == 1 {
        return quantile(&|f| f.safe_end().map(|c| c.value), 0.5);
    }
    quantile(&|f| f.knee.map(|c| c.value), 0.8).map(|knee| knee * BEYOND_KNEE)
}

/// The chance that a breakpoint inside `bracket` lies below `load`.
fn chance_below(load: f64, bracket: (f64, f64), guesses: &[f64]) -> f64 {
    let (low, high) = bracket;
    if load <= low {
        return 0.0;
    }
    if load >= high {
        return 1.0;
    }
    let even = (load / low).ln() / (high / low).ln();
    let inside: Vec<f64> = guesses.iter().copied().filter(|g| *g > low && *g < high).collect();
    if inside.is_empty() {
        return even;
    }
    let share = inside.iter().filter(|g| **g < load).count() as f64 / inside.len() as f64;
    TRUST * share + (1.0 - TRUST) * even
}

/// Bits of an answer that is yes with chance `p`.
fn entropy(p: f64) -> f64 {
    let part = |p: f64| if p > 0.0 { -p * p.log2() } else { 0.0 };
    part(p) + part(1.0 - p)
}

#[cfg(test)]
mod tests {
    use super::super::forecast::tests::{forecast, system};
    use super::*;

    const LADDER: Ladder =
        Ladder { from: 1.0, to: 4096.0, factor: 2.0, refine: 8, whole: true, resolution: 1.2 };

    fn real(seats: f64) -> impl FnMut(f64) -> Result<Option<Draws>> {
        move |load| Ok(Some(vec![system(load, seats, 1.3)]))
    }

    fn knee(steps: &[Draws]) -> (f64, f64, f64) {
        let at = ramp_of(steps).breakpoints()[3].at.expect("a knee");
        (at.value, at.p05, at.p95)
    }

    /// Throughput is 95 % of the plateau where N / (1 + N / S) = 0.95 S / 2.
    fn true_knee(seats: f64) -> f64 {
        0.475 * seats / (1.0 - 0.475)
    }

    #[test]
    fn the_climb_ends_soon_after_saturation_and_refines_around_it() {
        for seats in [10.0, 48.0, 100.0, 700.0] {
            let (steps, end) = climb(&LADDER, None, real(seats)).unwrap();
            assert_eq!(end, ClimbEnd::Flat);
            assert!(steps.iter().all(|s| s[0].load < seats * 8.0), "{seats}");
            let (_, low, high) = knee(&steps);
            assert!(low <= true_knee(seats) && true_knee(seats) <= high, "{seats}: {low} to {high}");
            assert!(high / low < 1.35, "{seats}: {low} to {high}");
        }
    }

    #[test]
    fn a_forecast_saves_steps_and_a_wrong_one_misleads_nobody() {
        let blind = climb(&LADDER, None, real(300.0)).unwrap().0;
        for seats in [&[280.0, 250.0, 320.0][..], &[60.0, 50.0, 75.0], &[1500.0, 1000.0, 2200.0]] {
            let f = forecast(seats, 1.0);
            let (steps, end) = climb(&LADDER, Some(f.simulated()), real(300.0)).unwrap();
            assert_eq!(end, ClimbEnd::Flat);
            let (_, low, high) = knee(&steps);
            let truth = true_knee(300.0);
            assert!(low <= truth && truth <= high && high / low < 1.25, "{seats:?}: {low} to {high}");
            assert!(steps.len() < blind.len(), "{seats:?}: {} of {}", steps.len(), blind.len());
        }
    }

    #[test]
    fn loss_bound_and_interruption_end_it() {
        let lossy = |n: f64| {
            let loss = if n > 100.0 { 0.2 } else { 0.0 };
            Ok(Some(vec![LoadPoint { loss, ..system(n, 1e9, 1.0) }]))
        };
        let (steps, end) = climb(&LADDER, None, lossy).unwrap();
        assert_eq!(end, ClimbEnd::Loss);
        assert!(steps.iter().all(|p| p[0].load <= 128.0));
        let (steps, end) = climb(&Ladder { to: 20.0, refine: 0, ..LADDER }, None, real(1e9)).unwrap();
        assert_eq!((steps.last().unwrap()[0].load, end), (20.0, ClimbEnd::Bound));
        let (steps, end) = climb(&LADDER, None, |n| if n > 4.0 { Ok(None) } else { real(1e9)(n) }).unwrap();
        assert_eq!((steps.len(), end), (3, ClimbEnd::Interrupted));
    }

    #[test]
    fn an_even_chance_tells_one_bit() {
        assert_eq!((entropy(0.5), entropy(0.0), entropy(1.0)), (1.0, 0.0, 0.0));
        assert!((chance_below(20.0, (10.0, 40.0), &[]) - 0.5).abs() < 1e-12);
        assert!(chance_below(20.0, (10.0, 40.0), &[12.0, 13.0, 14.0]) > 0.7);
    }
}
