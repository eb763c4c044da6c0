//! Where one ladder of loads changes its nature: the criteria, each on the points of one draw.

use super::point::LoadPoint;

/// Time before being scheduled, as a share of the light-load end-to-end time, above which it counts.
pub const QUEUE_SHARE: f64 = 0.10;
/// Elasticity of throughput below which more load buys less than half of its worth.
pub const HALF_RETURN: f64 = 0.5;
/// Share of the plateau at which the knee lies.
pub const PLATEAU_SHARE: f64 = 0.95;
/// Share of lost requests that counts as loss.
pub const LOSS: f64 = 0.001;

/// A crossing: its best value, and the loads of the ladder between which it lies.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Crossing {
    pub(super) value: f64,
    /// Heaviest load that does not show it, and lightest that does.
    pub(super) between: (f64, f64),
}

/// The breakpoints of one draw, `None` where the ladder does not reach them.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Found {
    pub(super) queue: Option<Crossing>,
    pub(super) half: Option<Crossing>,
    pub(super) slo: Option<Crossing>,
    pub(super) knee: Option<Crossing>,
    pub(super) loss: Option<Crossing>,
}

impl Found {
    /// Of points by ascending load.
    pub(super) fn new(points: &[LoadPoint]) -> Found {
        Found {
            queue: queue_growth(points),
            half: diminishing_return(points),
            slo: crossing(points, |p| p.slo, 1.0),
            knee: knee(points),
            loss: crossing(points, |p| p.loss, LOSS),
        }
    }

    pub(super) fn all(&self) -> [Option<Crossing>; 5] {
        [self.queue, self.half, self.slo, self.knee, self.loss]
    }

    /// End of the safe zone: the first sign of trouble.
    pub(super) fn safe_end(&self) -> Option<Crossing> {
        earliest(&self.all())
    }

    pub(super) fn degradation_end(&self) -> Option<Crossing> {
        earliest(&[self.knee, self.loss])
    }
}

fn earliest(all: &[Option<Crossing>]) -> Option<Crossing> {
    all.iter().flatten().copied().min_by(|a, b| a.value.total_cmp(&b.value))
}

/// First crossing of `level` upward by `y`, interpolated on ln(load).
fn crossing(points: &[LoadPoint], y: impl Fn(&LoadPoint) -> f64, level: f64) -> Option<Crossing> {
    let first = points.first()?;
    if y(first) > level {
        return Some(Crossing { value: first.load, between: (first.load, first.load) });
    }
    points.windows(2).find_map(|w| {
        let (a, b) = (y(&w[0]), y(&w[1]));
        (a <= level && b > level).then(|| {
            let share = if b.is_finite() { (level - a) / (b - a) } else { 0.0 };
            let value = (w[0].load.ln() + share * (w[1].load / w[0].load).ln()).exp();
            Crossing { value, between: (w[0].load, w[1].load) }
        })
    })
}

/// Waiting beyond what a request that finds a free place waits too: the way through the front end, which the
/// lightest load shows, and the rest of the step under way, at most one. Without that second part the criterion
/// fires at two or three in flight wherever a whole answer takes only a few steps.
fn queue_growth(points: &[LoadPoint]) -> Option<Crossing> {
    let light = points.first()?;
    let unit = light.e2e_s.max(f64::MIN_POSITIVE);
    crossing(points, |p| (p.queue_s - light.queue_s - p.step_s) / unit, QUEUE_SHARE)
}

/// Points of an octave at which the elasticity is looked at.
const PER_OCTAVE: f64 = 24.0;

/// The load from which on throughput's elasticity over the octave around it stays below the bound. An octave
/// is wide enough that noise of a few percent in the throughputs does not decide.
fn diminishing_return(points: &[LoadPoint]) -> Option<Crossing> {
    let (first, last) = (points.first()?, points.last()?);
    let half = std::f64::consts::SQRT_2;
    let steps = ((last.load / first.load).log2() - 1.0) * PER_OCTAVE;
    if steps < 0.0 {
        return None;
    }
    let elasticity = |load: f64| {
        (log_throughput(points, load * half) - log_throughput(points, load / half)) / std::f64::consts::LN_2
    };
    let loads: Vec<f64> =
        (0..=steps as u32).map(|i| first.load * half * 2f64.powf(f64::from(i) / PER_OCTAVE)).collect();
    let value = match loads.iter().rposition(|&l| elasticity(l) >= HALF_RETURN) {
        None => first.load,
        Some(i) if i + 1 == loads.len() => return None,
        Some(i) => (loads[i] * loads[i + 1]).sqrt(),
    };
    Some(Crossing { value, between: neighbours(points, value) })
}

fn log_throughput(points: &[LoadPoint], load: f64) -> f64 {
    let ln = |p: &LoadPoint| p.throughput.max(1e-12).ln();
    let i = points.partition_point(|p| p.load < load).clamp(1, points.len() - 1);
    let (a, b) = (&points[i - 1], &points[i]);
    let share = ((load / a.load).ln() / (b.load / a.load).ln()).clamp(0.0, 1.0);
    ln(a) + share * (ln(b) - ln(a))
}

fn neighbours(points: &[LoadPoint], load: f64) -> (f64, f64) {
    let i = points.partition_point(|p| p.load < load).min(points.len() - 1);
    (points[i.saturating_sub(1)].load, points[i].load)
}

/// Where throughput reaches its share of the plateau. The plateau is the end of the isotonic fit, so that the
/// luckiest of several flat points does not set it; a decline beyond it is left out.
fn knee(points: &[LoadPoint]) -> Option<Crossing> {
    let top = points.iter().map(|p| p.throughput).fold(0.0, f64::max);
    let end = points.iter().rposition(|p| p.throughput >= PLATEAU_SHARE * top)?;
    let rising = isotonic(points[..=end].iter().map(|p| p.throughput));
    let level = PLATEAU_SHARE * rising.last()?;
    let smooth: Vec<LoadPoint> =
        points.iter().zip(rising).map(|(p, throughput)| LoadPoint { throughput, ..*p }).collect();
    let at = crossing(&smooth, |p| p.throughput, level)?;
    // A ladder that still climbs at its end has no plateau.
    (at.value * std::f64::consts::SQRT_2 <= points.last()?.load).then_some(at)
}

/// The non-decreasing sequence nearest to `values`: neighbours out of order are pooled.
fn isotonic(values: impl Iterator<Item = f64>) -> Vec<f64> {
    let mut blocks: Vec<(f64, usize)> = Vec::new();
    for v in values {
        let (mut sum, mut n) = (v, 1);
        while let Some(&(before, m)) = blocks.last()
            && before / m as f64 >= sum / n as f64
        {
            sum += before;
            n += m;
            blocks.pop();
        }
        blocks.push((sum, n));
    }
    blocks.iter().flat_map(|&(sum, n)| std::iter::repeat_n(sum / n as f64, n)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn point(load: f64, throughput: f64) -> LoadPoint {
        LoadPoint { load, throughput, e2e_s: load / throughput, ..LoadPoint::default() }
    }

    #[test]
    fn waiting_for_the_step_under_way_is_no_queue() {
        // Five tokens of 10 ms; an arriving request waits for the rest of a step, which is half of the light-load
        // end-to-end time. From 32 on requests wait for a place.
        let answers = |load: f64| {
            let step_s = 0.010 + 0.0005 * load;
            let seats = 32.0;
            let rest = if load > 1.0 { 0.9 * step_s } else { 0.0 };
            let place = (load / seats - 1.0).max(0.0) * 5.0 * step_s;
            let e2e_s = 5.0 * step_s + rest + place;
            let queue_s = 0.003 + rest + place;
            LoadPoint { load, throughput: load / e2e_s, e2e_s, queue_s, step_s, ..LoadPoint::default() }
        };
        let ladder: Vec<LoadPoint> = (0..=14).map(|i| answers(2f64.powf(f64::from(i) / 2.0))).collect();
        let at = Found::new(&ladder).queue.expect("it queues beyond its seats");
        assert!((30.0..=46.0).contains(&at.value), "{at:?}");
        assert!(at.between.0 <= at.value && at.value <= at.between.1);
        // Without the step under way it would be at two in flight already.
        let blind: Vec<LoadPoint> = ladder.iter().map(|p| LoadPoint { step_s: 0.0, ..*p }).collect();
        assert!(Found::new(&blind).queue.unwrap().value < 3.0);
    }

    #[test]
    fn the_luckiest_point_does_not_set_the_plateau() {
        let flat = [100.0, 97.0, 103.0, 99.0, 101.0];
        let mut ladder: Vec<LoadPoint> = [10.0, 20.0, 40.0, 80.0, 90.0]
            .iter()
            .zip([12.0, 24.0, 48.0, 88.0, 94.0])
            .map(|(l, x)| point(*l, x))
            .collect();
        ladder.extend(flat.iter().enumerate().map(|(i, x)| point(110.0 * 1.3f64.powi(i as i32), *x)));
        let at = Found::new(&ladder).knee.unwrap();
        // Not 97.85, as of a plateau of 103: the pooled top is 100 to 101.
        assert_eq!(at.between, (90.0, 110.0));
        // A tail that declines does not pull the plateau down.
        ladder.push(point(600.0, 60.0));
        assert_eq!(Found::new(&ladder).knee.unwrap(), at);
    }

    #[test]
    fn isotonic_pools_what_is_out_of_order() {
        assert_eq!(isotonic([1.0, 3.0, 2.0, 4.0].into_iter()), [1.0, 2.5, 2.5, 4.0]);
        assert_eq!(isotonic([4.0, 2.0, 0.0].into_iter()), [2.0; 3]);
        assert!(isotonic(std::iter::empty()).is_empty());
    }

    #[test]
    fn half_the_return_of_a_hyperbola_lies_at_its_constant() {
        // X = N / (N + K): elasticity K / (N + K), one half at N = K, whatever the noise of a few percent.
        let noise = |i: i32| 1.0 + 0.02 * f64::from(i % 3 - 1);
        let ladder: Vec<LoadPoint> = (0..=20)
            .map(|i| {
                let load = 2f64.powf(f64::from(i) / 2.0);
                point(load, load / (load + 50.0) * noise(i))
            })
            .collect();
        let at = Found::new(&ladder).half.unwrap();
        assert!((40.0..62.0).contains(&at.value), "{at:?}");
        assert_eq!(Found::new(&ladder[..8]).half, None);
    }
}
