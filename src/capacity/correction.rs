//! Simulated ladders pulled onto what was measured.

use super::point::{Axis, LoadPoint};

/// The draws of a simulated ramp, the central one first.
#[derive(Debug, Clone, Copy)]
pub struct Simulated<'d> {
    pub axis: Axis,
    pub draws: &'d [Vec<LoadPoint>],
}

impl Simulated<'_> {
    /// The draws pulled onto what was measured, the central one first: between two measured loads the shape is the
    /// model's and the level theirs.
    ///
    /// Times and throughput are scaled by the ratio of measured and simulated, waiting is shifted on top of
    /// that; ratios and shifts are interpolated on the logarithm of the load and held beyond its ends.
    pub fn corrected(&self, measured: &[LoadPoint]) -> Vec<Vec<LoadPoint>> {
        let mut anchors = measured.to_vec();
        anchors.sort_by(|a, b| a.load.total_cmp(&b.load));
        self.draws.iter().map(|draw| self.pulled(draw, &anchors)).collect()
    }

    fn pulled(&self, draw: &[LoadPoint], anchors: &[LoadPoint]) -> Vec<LoadPoint> {
        let errors: Vec<(f64, Deviation)> =
            anchors.iter().map(|m| (m.load.ln(), Deviation::of(m, &at(draw, m.load, self.axis)))).collect();
        let mut loads: Vec<f64> = draw.iter().chain(anchors).map(|p| p.load).collect();
        loads.sort_by(f64::total_cmp);
        loads.dedup();
        loads.into_iter().map(|load| between(&errors, load.ln()).on(&at(draw, load, self.axis))).collect()
    }
}

/// What separates a measured point from a simulated one.
#[derive(Debug, Clone, Copy, Default)]
struct Deviation {
    /// Logarithms of ratios.
    throughput: f64,
    time: f64,
    step: f64,
    slo: f64,
    /// Differences.
    queue_s: f64,
    loss: f64,
}

impl Deviation {
    fn of(measured: &LoadPoint, simulated: &LoadPoint) -> Deviation {
        let ratio = |m: f64, s: f64| if m > 0.0 && s > 0.0 { (m / s).ln() } else { 0.0 };
        let time = ratio(measured.e2e_s, simulated.e2e_s);
        Deviation {
            throughput: ratio(measured.throughput, simulated.throughput),
            time,
            step: ratio(measured.step_s, simulated.step_s),
            slo: ratio(measured.slo, simulated.slo),
            queue_s: measured.queue_s - simulated.queue_s * time.exp(),
            loss: measured.loss - simulated.loss,
        }
    }

    fn mix(&self, other: &Deviation, t: f64) -> Deviation {
        let m = |a: f64, b: f64| a + t * (b - a);
        Deviation {
            throughput: m(self.throughput, other.throughput),
            time: m(self.time, other.time),
            step: m(self.step, other.step),
            slo: m(self.slo, other.slo),
            queue_s: m(self.queue_s, other.queue_s),
            loss: m(self.loss, other.loss),
        }
    }

    fn on(&self, p: &LoadPoint) -> LoadPoint {
        LoadPoint {
            load: p.load,
            throughput: p.throughput * self.throughput.exp(),
            e2e_s: p.e2e_s * self.time.exp(),
            queue_s: (p.queue_s * self.time.exp() + self.queue_s).max(0.0),
            step_s: p.step_s * self.step.exp(),
            slo: p.slo * self.slo.exp(),
            loss: (p.loss + self.loss).clamp(0.0, 1.0),
        }
    }
}

fn between(errors: &[(f64, Deviation)], x: f64) -> Deviation {
    let Some(last) = errors.len().checked_sub(1) else { return Deviation::default() };
    let i = errors.partition_point(|e| e.0 < x);
    if i == 0 || i > last {
        return errors[i.min(last)].1;
    }
    let (a, b) = (&errors[i - 1], &errors[i]);
    a.1.mix(&b.1, (x - a.0) / (b.0 - a.0))
}

/// A ladder between its rungs and beyond them: below the first, requests do not meet; above the last, a closed
/// loop only queues longer.
pub(super) fn at(ladder: &[LoadPoint], load: f64, axis: Axis) -> LoadPoint {
    let (Some(first), Some(last)) = (ladder.first(), ladder.last()) else {
        return LoadPoint { load, ..LoadPoint::default() };
    };
    if load <= first.load {
        return LoadPoint { load, throughput: first.throughput * load / first.load, ..*first };
    }
    if load >= last.load {
        let more = if axis == Axis::Concurrency { load - last.load } else { 0.0 };
        let longer = more / last.throughput.max(1e-9);
        return LoadPoint { load, e2e_s: last.e2e_s + longer, queue_s: last.queue_s + longer, ..*last };
    }
    let i = ladder.partition_point(|p| p.load < load);
    let (a, b) = (&ladder[i - 1], &ladder[i]);
    if b.load == load {
        return *b;
    }
    let t = (load / a.load).ln() / (b.load / a.load).ln();
    let linear = |x: f64, y: f64| x + t * (y - x);
    let geometric = |x: f64, y: f64| if x > 0.0 && y > 0.0 { x * (y / x).powf(t) } else { linear(x, y) };
    // Waiting grows with the load itself, not with its logarithm: a queue begins with a corner.
    let along = (load - a.load) / (b.load - a.load);
    LoadPoint {
        load,
        throughput: geometric(a.throughput, b.throughput),
        e2e_s: geometric(a.e2e_s, b.e2e_s),
        queue_s: a.queue_s + along * (b.queue_s - a.queue_s),
        step_s: geometric(a.step_s, b.step_s),
        slo: geometric(a.slo, b.slo),
        loss: linear(a.loss, b.loss),
    }
}
