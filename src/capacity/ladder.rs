//! Which loads to measure: a geometric climb until the engine is saturated, then finer steps where the
//! breakpoints lie.

use super::zones::{LOSS, LoadPoint, Ramp};
use crate::error::Result;

/// Elasticity of throughput below which a step of the climb counts as flat.
const FLAT: f64 = 0.1;
/// Flat steps in a row after which the climb ends: one alone may be chance.
const FLAT_STEPS: usize = 2;
/// A bracket narrower than this is not divided further.
const FINE: f64 = 1.2;

/// Bounds of a ladder.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Ladder {
    pub from: f64,
    pub to: f64,
    /// Each step of the climb is this times the one before.
    pub factor: f64,
    /// Most steps after the climb, put where a breakpoint is bracketed widest.
    pub refine: u32,
    /// Loads are whole numbers (requests in flight).
    pub whole: bool,
}

/// Why the climb ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum ClimbEnd {
    /// Two steps in a row brought next to no throughput.
    Flat,
    /// Requests were lost.
    Loss,
    /// The largest load allowed was reached.
    Bound,
    /// The measurement was interrupted.
    Interrupted,
}

/// Climbs and refines; `measure` runs one load and gives None when it was interrupted. Points come back in the
/// order in which they were measured.
pub fn climb(
    ladder: &Ladder,
    mut measure: impl FnMut(f64) -> Result<Option<LoadPoint>>,
) -> Result<(Vec<LoadPoint>, ClimbEnd)> {
    let mut points: Vec<LoadPoint> = Vec::new();
    let mut load = ladder.round(ladder.from);
    let mut flat = 0;
    let end = loop {
        let Some(point) = measure(load)? else { return Ok((points, ClimbEnd::Interrupted)) };
        flat =
            if points.last().is_some_and(|before| elasticity(before, &point) < FLAT) { flat + 1 } else { 0 };
        points.push(point);
        if point.loss > LOSS {
            break ClimbEnd::Loss;
        }
        if flat >= FLAT_STEPS {
            break ClimbEnd::Flat;
        }
        let next = ladder.round(load * ladder.factor).min(ladder.round(ladder.to));
        if next <= load {
            break ClimbEnd::Bound;
        }
        load = next;
    };
    for _ in 0..ladder.refine {
        let Some(load) = ladder.next_refinement(&points) else { break };
        let Some(point) = measure(load)? else { return Ok((points, ClimbEnd::Interrupted)) };
        points.push(point);
    }
    Ok((points, end))
}

/// `d ln X / d ln N` between two steps.
fn elasticity(a: &LoadPoint, b: &LoadPoint) -> f64 {
    (b.throughput.max(1e-12) / a.throughput.max(1e-12)).ln() / (b.load / a.load).ln()
}

impl Ladder {
    fn round(&self, load: f64) -> f64 {
        if self.whole { load.round().max(1.0) } else { load }
    }

    /// The geometric middle of the widest bracket that holds a breakpoint; None when all are fine enough.
    fn next_refinement(&self, points: &[LoadPoint]) -> Option<f64> {
        let mut loads: Vec<f64> = points.iter().map(|p| p.load).collect();
        loads.sort_by(f64::total_cmp);
        let breakpoints = Ramp::new(vec![points.to_vec()]).breakpoints();
        let brackets = breakpoints.iter().filter_map(|b| {
            let at = b.at?.value;
            let above = loads.iter().position(|&l| l >= at)?.max(1);
            let (low, high) = (*loads.get(above - 1)?, *loads.get(above)?);
            let middle = self.round((low * high).sqrt());
            (high / low > FINE && middle > low && middle < high).then_some((high / low, middle))
        });
        brackets.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, middle)| middle)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A closed system of `seats` servers with one second of service: throughput min(N, seats), queueing beyond.
    fn system(seats: f64) -> impl FnMut(f64) -> Result<Option<LoadPoint>> {
        move |load| {
            let throughput = load.min(seats);
            let e2e_s = load / throughput;
            Ok(Some(LoadPoint { load, throughput, e2e_s, queue_s: e2e_s - 1.0, loss: 0.0 }))
        }
    }

    const LADDER: Ladder = Ladder { from: 1.0, to: 4096.0, factor: 2.0, refine: 6, whole: true };

    #[test]
    fn the_climb_ends_soon_after_saturation_and_refines_around_it() {
        for seats in [10.0, 48.0, 100.0, 700.0] {
            let (points, end) = climb(&LADDER, system(seats)).unwrap();
            assert_eq!(end, ClimbEnd::Flat);
            assert!(points.iter().all(|p| p.load < seats * 8.0), "{seats}");
            let knee = Ramp::new(vec![points]).breakpoints()[2].at.unwrap().value;
            assert!((knee / seats - 0.95).abs() < 0.12, "{seats}: knee {knee}");
        }
    }

    #[test]
    fn loss_bound_and_interruption_end_it() {
        let mut lossy = system(1e9);
        let (points, end) = climb(&LADDER, |n| {
            Ok(lossy(n)?.map(|p| LoadPoint { loss: if n > 100.0 { 0.2 } else { 0.0 }, ..p }))
        })
        .unwrap();
        assert_eq!(end, ClimbEnd::Loss);
        assert!(points.iter().all(|p| p.load <= 128.0));
        let (points, end) = climb(&Ladder { to: 20.0, refine: 0, ..LADDER }, system(1e9)).unwrap();
        assert_eq!((points.last().unwrap().load, end), (20.0, ClimbEnd::Bound));
        let (points, end) = climb(&LADDER, |n| if n > 4.0 { Ok(None) } else { system(1e9)(n) }).unwrap();
        assert_eq!((points.len(), end), (3, ClimbEnd::Interrupted));
    }
}
