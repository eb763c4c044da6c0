//! Which launch teaches most: the knowledge gradient over joint draws of the model and of what fails.
//!
//! Every draw is one world that the launches so far allow: an effect for each value, interactions, who is to blame for
//! failures. A *contender* is a candidate that is best in one of them. The value of the present knowledge is the mean gain of
//! the contender with the largest mean. A launch sorts the worlds: those that would have given another result lose their
//! weight, and with the others another contender may be best. How much better it then is on average is what the launch is
//! worth. A launch of several flags at once may be worth most; one that is likely to fail, or whose result is known
//! beforehand, is worth little.

use super::additive::{Draw, Point, Posterior, Value, values_of};
use super::culprits::Blame;
use std::collections::BTreeSet;

/// What a flag more must bring (log scale): of equal candidates the one with fewest flags is chosen.
pub const FLAG_PRICE: f64 = 0.004;

/// A flag that brings less than this (log scale) is of no use.
pub const USELESS: f64 = 0.001;

/// What a flag of no use costs the command that holds it (log scale): as much as the least gain that is worth a flag, since
/// whoever reads the command takes it for one that brings that much.
pub const USELESS_PRICE: f64 = 0.01;

/// What a candidate that fails counts for.
const FAILED: f64 = -0.3;

/// Results that a launch is imagined to give.
const OUTCOMES: usize = 10;

/// A point with its gain in every world, after the price of its flags and of those of no use; a failure where it fails.
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
    /// By knob: values from whose forecast nothing follows.
    pub free: &'a [Vec<u8>],
}

impl Worlds<'_> {
    pub fn contender(&self, point: &[u8], forecast: f64) -> Contender {
        let price = FLAG_PRICE * values_of(point).count() as f64;
        let free: Vec<Value> = values_of(point).filter(|(k, v)| self.free[*k].contains(v)).collect();
        // Of the others physics says what they do; asking it once more for every flag of every contender would take long.
        let useless = |d: &Draw| {
            let none = free.iter().filter(|v| self.posterior.contribution(d, point, **v) < USELESS);
            USELESS_PRICE * none.count() as f64
        };
        let raw = self.raw(point, forecast).into_iter().zip(&self.posterior.draws);
        let gains: Vec<f64> = raw.map(|(g, d)| g.map_or(FAILED, |g| g - price - useless(d))).collect();
        let mean = crate::stats::mean(&gains);
        Contender { point: point.to_vec(), gains, mean }
    }

    /// Log gain by world; `None` where it fails.
    pub fn raw(&self, point: &[u8], forecast: f64) -> Vec<Option<f64>> {
        let peculiar = self.posterior.peculiar_index(point);
        let gain = |(d, b): (&Draw, &Blame)| {
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
    let drifted = |(r, d): (&Option<f64>, &Draw)| r.map(|g| g + d.level + d.drift * worlds.at);
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

#[cfg(test)]
mod tests {
    use super::super::additive::{Prior, Row, Sampling, sample};
    use super::*;

    /// Two launches of two flags, one of which brings 5 %, and of the defaults.
    fn after_a_group() -> Posterior {
        let row = |point: &[u8], y: f64, at: f64| Row { point: point.to_vec(), y, at, forecast: 0.0 };
        let rows = [
            row(&[0, 0], 0.0, 0.0),
            row(&[0, 0], 0.0, 1.0),
            row(&[1, 1], 0.05, 2.0),
            row(&[1, 1], 0.05, 3.0),
        ];
        let priors = vec![vec![Prior::unmodelled(), Prior::unmodelled()]; 2];
        sample(&rows, &priors, Sampling { seed: 1, draws: 2000 })
    }

    #[test]
    fn a_flag_of_no_use_lowers_what_a_contender_counts_for_where_physics_says_nothing_of_it() {
        let posterior = after_a_group();
        let blames = vec![Blame::default(); posterior.draws.len()];
        let mean_if_free = |free: &[Vec<u8>]| {
            let worlds = Worlds { posterior: &posterior, blames: &blames, at: 4.0, free };
            worlds.contender(&[1, 1], 0.0).mean
        };
        let (told, free) = (mean_if_free(&[vec![], vec![]]), mean_if_free(&[vec![1], vec![1]]));
        // Of the two about one is of no use.
        assert!((0.5..1.2).contains(&((told - free) / USELESS_PRICE)), "{told} {free}");
        let worlds = Worlds { posterior: &posterior, blames: &blames, at: 4.0, free: &[vec![1], vec![1]] };
        assert!(worlds.contender(&[0, 0], 0.0).mean.abs() < 1e-5, "the defaults pay for no flag");
    }

    #[test]
    fn the_launch_that_tells_which_of_two_flags_is_of_use_is_worth_one() {
        let posterior = after_a_group();
        let blames = vec![Blame::default(); posterior.draws.len()];
        let free = [vec![1], vec![1]];
        let worlds = Worlds { posterior: &posterior, blames: &blames, at: 4.0, free: &free };
        let contenders: Vec<Contender> =
            [[0, 0], [1, 0], [0, 1], [1, 1]].iter().map(|p| worlds.contender(p, 0.0)).collect();
        let table = Table::new(&contenders);
        let of = |p: &[u8]| knowledge_gradient(&worlds, &worlds.raw(p, 0.0), posterior.spread(), &table);
        let (apart, again) = (of(&[1, 0]), of(&[1, 1]));
        assert!(apart > 0.002 && apart > 2.0 * again, "{apart} {again}");
    }
}
