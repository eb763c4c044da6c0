//! Which launch teaches most: the knowledge gradient over joint draws of the model and of what fails.
//!
//! Every draw is one world that the launches so far allow: an effect for each value, interactions, who is to blame for
//! failures. A *contender* is a candidate that is best in one of them. The value of the present knowledge is the mean gain of
//! the contender with the largest mean. A launch sorts the worlds: those that would have given another result lose their
//! weight, and with the others another contender may be best. How much better it then is on average is what the launch is
//! worth. A launch of several flags at once may be worth most; one that is likely to fail, or whose result is known
//! beforehand, is worth little.

use super::additive::{Point, Posterior, Value, values_of};
use super::culprits::Blame;
use std::collections::BTreeSet;

/// What a flag more must bring (log scale): of equal candidates the one with fewest flags is chosen.
pub const FLAG_PRICE: f64 = 0.004;

/// What a candidate that fails counts for.
const FAILED: f64 = -0.3;

/// Results that a launch is imagined to give.
const OUTCOMES: usize = 10;

/// A point with its gain in every world, after the price of its flags; a failure where it fails.
#[derive(Debug, Clone)]
pub struct Contender {
    pub point: Point,
    pub gains: Vec<f64>,
    pub mean: f64,
}

/// The worlds, and how a point fares in them.
#[derive(Debug, Clone, Copy)]
pub struct Worlds<'a> {
    pub posterior: &'a Posterior,
    pub blames: &'a [Blame],
    /// Launches of the campaign so far.
    pub at: f64,
}

impl Worlds<'_> {
    pub fn contender(&self, point: &[u8], forecast: f64) -> Contender {
        let price = FLAG_PRICE * values_of(point).count() as f64;
        let gains: Vec<f64> =
            self.raw(point, forecast).into_iter().map(|g| g.map_or(FAILED, |g| g - price)).collect();
        let mean = crate::stats::mean(&gains);
        Contender { point: point.to_vec(), gains, mean }
    }

    /// Log gain by world; `None` where it fails.
    pub fn raw(&self, point: &[u8], forecast: f64) -> Vec<Option<f64>> {
        let peculiar = self.posterior.peculiar_index(point);
        let gain = |(d, b): (&super::additive::Draw, &Blame)| {
            (!b.fails(point)).then(|| self.posterior.gain_at(d, point, forecast, peculiar))
        };
        self.posterior.draws.iter().zip(self.blames).map(gain).collect()
    }

    /// Chance that a point fails.
    pub fn failure(&self, point: &[u8]) -> f64 {
        self.blames.iter().filter(|b| b.fails(point)).count() as f64 / self.blames.len().max(1) as f64
    }

    /// The point that is best in one world, grown from `start` (with its forecast) by the values of `free`, whose forecasts
    /// do not differ.
    pub fn best_in(&self, world: usize, start: &[u8], free: &[Vec<u8>]) -> Point {
        let (draw, blame) = (&self.posterior.draws[world], &self.blames[world]);
        let mut point = start.to_vec();
        for _ in 0..2 {
            for (k, values) in free.iter().enumerate() {
                let mut best = (0u8, 0.0);
                for v in values {
                    point[k] = *v;
                    let brings = self.posterior.contribution(draw, &point, (k, *v)) - FLAG_PRICE;
                    if brings > best.1 && !blame.fails(&point) {
                        best = (*v, brings);
                    }
                }
                if !values.is_empty() {
                    point[k] = best.0;
                }
            }
        }
        point
    }
}

/// Expected loss of choosing now: how much better, on average over the worlds, the best contender of each is.
pub fn regret(contenders: &[Contender]) -> f64 {
    let Some(worlds) = contenders.first().map(|c| c.gains.len()) else { return 0.0 };
    let best = contenders.iter().map(|c| c.mean).fold(f64::NEG_INFINITY, f64::max);
    let each = (0..worlds).map(|w| contenders.iter().map(|c| c.gains[w]).fold(f64::NEG_INFINITY, f64::max));
    each.sum::<f64>() / worlds.max(1) as f64 - best
}

/// Gains of the contenders by world, so that one world's stand side by side.
#[derive(Debug, Clone)]
pub struct Table {
    worlds: Vec<Vec<f64>>,
    best: f64,
}

impl Table {
    pub fn new(contenders: &[Contender]) -> Table {
        let n = contenders.first().map_or(0, |c| c.gains.len());
        let worlds = (0..n).map(|w| contenders.iter().map(|c| c.gains[w]).collect()).collect();
        Table { worlds, best: contenders.iter().map(|c| c.mean).fold(f64::NEG_INFINITY, f64::max) }
    }

    /// The largest mean gain with these weights of the worlds.
    fn value(&self, weights: impl Iterator<Item = f64>) -> f64 {
        let mut sums = vec![0.0; self.worlds.first().map_or(0, Vec::len)];
        let mut total = 0.0;
        for (gains, w) in self.worlds.iter().zip(weights) {
            if w < 1e-4 {
                continue;
            }
            total += w;
            for (s, g) in sums.iter_mut().zip(gains) {
                *s += w * g;
            }
        }
        sums.into_iter().fold(f64::NEG_INFINITY, f64::max) / total.max(1e-12)
    }
}

/// What a launch of a point with these results by world (before drift) would be worth.
pub fn knowledge_gradient(worlds: &Worlds<'_>, results: &[Option<f64>], spread: f64, table: &Table) -> f64 {
    let n = results.len();
    if n == 0 {
        return 0.0;
    }
    let drifted =
        |(r, d): (&Option<f64>, &super::additive::Draw)| r.map(|g| g + d.level + d.drift * worlds.at);
    let seen: Vec<Option<f64>> = results.iter().zip(&worlds.posterior.draws).map(drifted).collect();
    let failing = seen.iter().filter(|s| s.is_none()).count() as f64 / n as f64;
    let mut worth = 0.0;
    if failing > 0.0 {
        worth += failing * table.value(seen.iter().map(|s| f64::from(u8::from(s.is_none()))));
    }
    let mut ran: Vec<f64> = seen.iter().flatten().copied().collect();
    ran.sort_by(f64::total_cmp);
    if !ran.is_empty() {
        let mut sum = 0.0;
        for (k, z) in NOISE.iter().enumerate() {
            let center = ran[((k as f64 + 0.5) / OUTCOMES as f64 * ran.len() as f64) as usize];
            let y = center + z * spread;
            let weight = |s: &Option<f64>| s.map_or(0.0, |s| (-0.5 * ((y - s) / spread).powi(2)).exp());
            sum += table.value(seen.iter().map(weight));
        }
        worth += (1.0 - failing) * sum / OUTCOMES as f64;
    }
    worth - table.best
}

/// Ten quantiles of the standard normal distribution, shuffled.
const NOISE: [f64; OUTCOMES] = [0.126, -1.036, 0.674, -0.385, 1.645, -0.126, 0.385, -1.645, 1.036, -0.674];

/// Points to choose a launch from, beside the contenders: groups of values on top of a good start, values added to and taken
/// from the best.
pub fn designs(
    starts: &[Point],
    free: &[Vec<u8>],
    untried: &BTreeSet<Value>,
    number: usize,
    rng: &mut rand_chacha::ChaCha8Rng,
) -> Vec<Point> {
    use rand::RngExt;
    let mut out: Vec<Point> = Vec::new();
    let Some(best) = starts.first() else { return out };
    for k in 0..best.len() {
        if best[k] > 0 {
            let mut less = best.clone();
            less[k] = 0;
            out.push(less);
        }
        for v in free[k].iter().filter(|v| **v != best[k]) {
            let mut more = best.clone();
            more[k] = *v;
            out.push(more);
        }
    }
    for n in 0..number {
        let mut point = starts[n % starts.len()].clone();
        let density = [0.15, 0.3, 0.5, 0.75, 1.0][rng.random_range(0..5)];
        for (k, values) in free.iter().enumerate() {
            if values.is_empty() || rng.random::<f64>() > density {
                continue;
            }
            let fresh: Vec<u8> = values.iter().copied().filter(|v| untried.contains(&(k, *v))).collect();
            let from = if fresh.is_empty() || rng.random::<f64>() < 0.15 { values } else { &fresh };
            point[k] = from[rng.random_range(0..from.len())];
        }
        // A group test of what is not in the best yet, and the other half of it without.
        if n % 3 == 0 {
            for (k, values) in free.iter().enumerate() {
                if !values.is_empty() && rng.random::<f64>() < 0.3 {
                    point[k] = 0;
                }
            }
        }
        out.push(point);
    }
    out
}
