//! What the launches say of every flag value: an additive model of log gains, sampled by Gibbs' method.
//!
//! One launch of candidate `c` as the `t`-th of the campaign gives
//!
//! `y = level + drift·t + (1 + scale)·forecast(c) + Σ β(value) + Σ γ(pair of values) + δ(c) + ε`
//!
//! - `forecast(c)` is the simulator's log gain, so the model learns the ratio measured / simulated;
//! - `β` of a value that physics does not know is zero or a few percent (a mixture of normal distributions: most flags do
//!   nothing, a few matter); `β` of a value that it does know corrects its forecast;
//! - `γ` are interactions of two values that were launched together, few of them different from zero;
//! - `δ` is what is peculiar to one candidate;
//! - `ε` differs between **launches**. Runs that share a launch share their `ε`, so only launches count as independent.
//!
//! The mixture is what makes group tests work: after a few launches of several flags each, the sampler finds the few flags
//! that explain them, and says how sure it is. The samples are joint, so every question about candidates, flags, and what
//! a further launch would teach is answered by counting over them.

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma, StandardNormal};

/// A candidate as the number of the value of each knob, 0 = as in the base.
pub type Point = Vec<u8>;

/// Number of the knob and of its value (from 1).
pub type Value = (usize, u8);

/// The values that a point sets.
pub fn values_of(point: &[u8]) -> impl Iterator<Item = Value> + '_ {
    point.iter().enumerate().filter(|(_, v)| **v > 0).map(|(k, v)| (k, *v))
}

/// What is believed of one value's effect before any launch: (probability, standard deviation) of each part of a mixture
/// of normal distributions around zero.
#[derive(Debug, Clone, PartialEq)]
pub struct Prior(pub Vec<(f64, f64)>);

impl Prior {
    /// An effect that only launches can tell: usually none, sometimes some percent, rarely much more.
    pub fn unmodelled() -> Prior {
        Prior(vec![(0.60, 0.001), (0.35, 0.05), (0.05, 0.15)])
    }

    /// The error of a forecast effect: a share of the effect, and seldom something that physics does not see.
    pub fn modelled(forecast: f64) -> Prior {
        let share = 0.3 * forecast.abs();
        Prior(vec![(0.85, share.hypot(0.004)), (0.15, share.hypot(0.05))])
    }

    fn normal(sd: f64) -> Prior {
        Prior(vec![(1.0, sd)])
    }
}

/// One scored launch.
#[derive(Debug, Clone)]
pub struct Row {
    pub point: Point,
    /// Mean log gain over the level of the first baseline launches.
    pub y: f64,
    /// How many launches of the campaign came before.
    pub at: f64,
    /// Simulated log gain.
    pub forecast: f64,
}

/// Launch noise believed before any launch is repeated: 1.2 %, worth three launches.
pub const NOISE_BEFORE: (f64, f64) = (0.012, 3.0);

/// Standard deviation of what is peculiar to one candidate.
const PECULIAR: f64 = 0.005;

/// A joint draw of everything.
#[derive(Debug, Clone, Default)]
pub struct Draw {
    pub level: f64,
    pub scale: f64,
    pub drift: f64,
    pub sigma: f64,
    /// By knob and value.
    effects: Vec<Vec<f64>>,
    pairs: Vec<((Value, Value), f64)>,
    /// By launched candidate.
    peculiar: Vec<f64>,
}

/// Draws from the posterior.
#[derive(Debug, Clone, Default)]
pub struct Posterior {
    pub draws: Vec<Draw>,
    launched: Vec<Point>,
}

impl Posterior {
    /// Where a launched point's peculiarity stands in a draw.
    pub fn peculiar_index(&self, point: &[u8]) -> Option<usize> {
        self.launched.iter().position(|p| p == point)
    }

    /// Log gain of a point in a draw; `peculiar` as [`Posterior::peculiar_index`] says.
    pub fn gain_at(&self, draw: &Draw, point: &[u8], forecast: f64, peculiar: Option<usize>) -> f64 {
        let mut g = (1.0 + draw.scale) * forecast;
        g += values_of(point).map(|(k, v)| draw.effects[k][v as usize]).sum::<f64>();
        let on = |v: &Value| point[v.0] == v.1;
        g += draw.pairs.iter().filter(|((a, b), _)| on(a) && on(b)).map(|(_, x)| x).sum::<f64>();
        g + peculiar.map_or(0.0, |i| draw.peculiar[i])
    }

    /// What a value adds to a point that holds it, its interactions with the others there included; without forecasts.
    pub fn contribution(&self, draw: &Draw, point: &[u8], value: Value) -> f64 {
        let on = |v: &Value| point[v.0] == v.1;
        let pairs = draw.pairs.iter().filter(|((a, b), _)| (*a == value && on(b)) || (*b == value && on(a)));
        draw.effects[value.0][value.1 as usize] + pairs.map(|(_, x)| x).sum::<f64>()
    }

    pub fn launched(&self, point: &[u8]) -> bool {
        self.launched.iter().any(|p| p == point)
    }

    pub fn sigma(&self) -> f64 {
        crate::stats::mean(&self.draws.iter().map(|d| d.sigma).collect::<Vec<_>>())
    }

    /// Standard deviation of a launch around the forecast of the model: noise, and what is peculiar.
    pub fn spread(&self) -> f64 {
        self.sigma().hypot(PECULIAR)
    }
}

struct Term {
    /// Rows with their factor.
    x: Vec<(usize, f64)>,
    prior: Prior,
    value: f64,
    part: usize,
}

impl Term {
    fn new(x: Vec<(usize, f64)>, prior: Prior) -> Term {
        Term { x, prior, value: 0.0, part: 0 }
    }

    /// Draws anew given the residuals, which do not hold this term's share.
    fn draw(&mut self, residual: &[f64], precision: f64, rng: &mut ChaCha8Rng) {
        let a = precision * self.x.iter().map(|(_, f)| f * f).sum::<f64>();
        let b = precision * self.x.iter().map(|(i, f)| f * residual[*i]).sum::<f64>();
        let mut weights = Vec::with_capacity(self.prior.0.len());
        let mut most = f64::NEG_INFINITY;
        for (p, sd) in &self.prior.0 {
            let shrink = 1.0 + sd * sd * a;
            let log = p.ln() - 0.5 * shrink.ln() + 0.5 * b * b * sd * sd / shrink;
            most = most.max(log);
            weights.push(log);
        }
        let total: f64 = weights.iter().map(|w| (w - most).exp()).sum();
        let mut u = rng.random::<f64>() * total;
        self.part = weights.len() - 1;
        for (i, w) in weights.iter().enumerate() {
            u -= (w - most).exp();
            if u <= 0.0 {
                self.part = i;
                break;
            }
        }
        let sd = self.prior.0[self.part].1;
        let shrink = 1.0 + sd * sd * a;
        let z: f64 = StandardNormal.sample(rng);
        self.value = b * sd * sd / shrink + z * sd / shrink.sqrt();
    }

    fn log_prior(&self, value: f64, part: usize) -> f64 {
        let Some((p, sd)) = self.prior.0.get(part) else { return f64::NEG_INFINITY };
        p.ln() - sd.ln() - 0.5 * (value / sd).powi(2)
    }
}

/// How the model is sampled.
#[derive(Debug, Clone, Copy)]
pub struct Sampling {
    pub seed: u64,
    pub draws: usize,
}

/// Sweeps before the first draw, and between two draws.
const WARM_UP: usize = 150;
const THIN: usize = 3;

/// Expected number of interactions among all the pairs that were launched.
const INTERACTIONS: f64 = 1.5;

/// Samples the model. `priors` holds the prior of each value by knob; the index 0 (as in the base) is not used.
pub fn sample(rows: &[Row], priors: &[Vec<Prior>], sampling: Sampling) -> Posterior {
    Sampler::new(rows, priors, sampling.seed).run(sampling.draws)
}

struct Sampler {
    terms: Vec<Term>,
    /// level, drift, scale stand first; then the values, then the pairs, then the candidates.
    values: Vec<Value>,
    pairs: Vec<(Value, Value)>,
    launched: Vec<Point>,
    shape: Vec<usize>,
    /// Terms that share a row: an effect may be any of theirs.
    swaps: Vec<(usize, usize)>,
    residual: Vec<f64>,
    sigma2: f64,
    rng: ChaCha8Rng,
}

const COMMON: usize = 3;

impl Sampler {
    fn new(rows: &[Row], priors: &[Vec<Prior>], seed: u64) -> Sampler {
        let largest = rows.iter().map(|r| r.y.abs()).fold(0.0, f64::max);
        let all = |f: &dyn Fn(&Row) -> f64| -> Vec<(usize, f64)> {
            rows.iter().enumerate().map(|(i, r)| (i, f(r))).filter(|(_, x)| *x != 0.0).collect()
        };
        let mut terms = vec![
            Term::new(all(&|_| 1.0), Prior::normal(0.03)),
            Term::new(all(&|r| r.at), Prior(vec![(0.7, 0.0002), (0.3, 0.005)])),
            Term::new(all(&|r| r.forecast), Prior::normal(0.2)),
        ];
        let mut values = Vec::new();
        for (k, of) in priors.iter().enumerate() {
            for (v, prior) in of.iter().enumerate().skip(1) {
                let x = all(&|r| f64::from(u8::from(r.point[k] == v as u8)));
                values.push((k, v as u8));
                let mut prior = prior.clone();
                // An objective with an SLO may jump by more than any prior foresees.
                if let Some(last) = prior.0.last_mut() {
                    last.1 = last.1.max(largest / 2.0);
                }
                terms.push(Term::new(x, prior));
            }
        }
        let mut pairs = Vec::new();
        for r in rows {
            let on: Vec<Value> = values_of(&r.point).collect();
            for (i, a) in on.iter().enumerate() {
                for b in &on[i + 1..] {
                    if !pairs.contains(&(*a, *b)) {
                        pairs.push((*a, *b));
                    }
                }
            }
        }
        let chance = (INTERACTIONS / pairs.len().max(1) as f64).min(0.05);
        for (a, b) in &pairs {
            let x = all(&|r| f64::from(u8::from(r.point[a.0] == a.1 && r.point[b.0] == b.1)));
            terms.push(Term::new(x, Prior(vec![(1.0 - chance, 0.0005), (chance, 0.05)])));
        }
        let mut launched: Vec<Point> = Vec::new();
        for r in rows {
            if !launched.contains(&r.point) {
                launched.push(r.point.clone());
            }
        }
        for p in &launched {
            let x = all(&|r| f64::from(u8::from(r.point == *p)));
            let base = p.iter().all(|v| *v == 0);
            terms.push(Term::new(x, Prior::normal(if base { 1e-6 } else { PECULIAR })));
        }
        let swaps = swappable(&terms[COMMON..COMMON + values.len() + pairs.len()]);
        let residual = rows.iter().map(|r| r.y - r.forecast).collect();
        let shape = priors.iter().map(Vec::len).collect();
        let sigma2 = NOISE_BEFORE.0.powi(2);
        let rng = ChaCha8Rng::seed_from_u64(seed);
        Sampler { terms, values, pairs, launched, shape, swaps, residual, sigma2, rng }
    }

    fn run(mut self, draws: usize) -> Posterior {
        let mut out = Vec::with_capacity(draws);
        for _ in 0..WARM_UP {
            self.sweep();
        }
        for _ in 0..draws {
            for _ in 0..THIN {
                self.sweep();
            }
            out.push(self.read());
        }
        Posterior { draws: out, launched: self.launched }
    }

    fn sweep(&mut self) {
        for t in &mut self.terms {
            if t.x.is_empty() {
                t.draw(&[], 0.0, &mut self.rng);
                continue;
            }
            for (i, f) in &t.x {
                self.residual[*i] += f * t.value;
            }
            t.draw(&self.residual, 1.0 / self.sigma2, &mut self.rng);
            for (i, f) in &t.x {
                self.residual[*i] -= f * t.value;
            }
        }
        self.swap();
        self.draw_noise();
    }

    /// Offers the effect of one term to another that was launched with it: single draws cannot cross from one
    /// explanation of a group's result to the other.
    fn swap(&mut self) {
        for _ in 0..self.swaps.len().min(3 * self.values.len()) {
            let (i, j) = self.swaps[self.rng.random_range(0..self.swaps.len())];
            let (i, j) = (COMMON + i, COMMON + j);
            let (a, b) = (&self.terms[i], &self.terms[j]);
            if a.part == 0 && b.part == 0 {
                continue;
            }
            // The parts change places too, where both priors have as many.
            let (va, vb) = (b.value, a.value);
            let prior = a.log_prior(va, b.part) + b.log_prior(vb, a.part)
                - a.log_prior(a.value, a.part)
                - b.log_prior(b.value, b.part);
            if prior == f64::NEG_INFINITY {
                continue;
            }
            let mut change: Vec<(usize, f64)> = a.x.iter().map(|(r, f)| (*r, f * (va - a.value))).collect();
            change.extend(b.x.iter().map(|(r, f)| (*r, f * (vb - b.value))));
            change.sort_by_key(|c| c.0);
            let mut gain = 0.0;
            let mut at = 0;
            while at < change.len() {
                let row = change[at].0;
                let mut by = 0.0;
                while at < change.len() && change[at].0 == row {
                    by += change[at].1;
                    at += 1;
                }
                let r = self.residual[row];
                gain += r * r - (r - by) * (r - by);
            }
            if self.rng.random::<f64>().ln() < prior + gain / (2.0 * self.sigma2) {
                for (row, by) in change {
                    self.residual[row] -= by;
                }
                let (pa, pb) = (self.terms[j].part, self.terms[i].part);
                (self.terms[i].value, self.terms[i].part) = (va, pa);
                (self.terms[j].value, self.terms[j].part) = (vb, pb);
            }
        }
    }

    fn draw_noise(&mut self) {
        let (sd, df) = NOISE_BEFORE;
        let squares: f64 = self.residual.iter().map(|r| r * r).sum();
        let shape = f64::midpoint(df, self.residual.len() as f64);
        let scale = f64::midpoint(df * sd * sd, squares);
        if let Ok(gamma) = Gamma::new(shape, 1.0) {
            self.sigma2 = (scale / gamma.sample(&mut self.rng).max(1e-9)).max(1e-8);
        }
    }

    fn read(&self) -> Draw {
        let mut effects: Vec<Vec<f64>> = self.shape.iter().map(|n| vec![0.0; *n]).collect();
        let of_values = &self.terms[COMMON..];
        for ((k, v), t) in self.values.iter().zip(of_values) {
            effects[*k][*v as usize] = t.value;
        }
        let of_pairs = &of_values[self.values.len()..];
        let pairs = self.pairs.iter().zip(of_pairs).filter(|(_, t)| t.part > 0);
        Draw {
            level: self.terms[0].value,
            drift: self.terms[1].value,
            scale: self.terms[2].value,
            sigma: self.sigma2.sqrt(),
            effects,
            pairs: pairs.map(|(p, t)| (*p, t.value)).collect(),
            peculiar: of_pairs[self.pairs.len()..].iter().map(|t| t.value).collect(),
        }
    }
}

fn swappable(terms: &[Term]) -> Vec<(usize, usize)> {
    let mut out = Vec::new();
    for (i, a) in terms.iter().enumerate() {
        for (j, b) in terms.iter().enumerate().skip(i + 1) {
            let shared = a.x.iter().filter(|(r, _)| b.x.iter().any(|(s, _)| s == r)).count();
            // Alike enough that one may stand for the other.
            if shared > 0 && 2 * shared >= a.x.len().max(b.x.len()) {
                out.push((i, j));
            }
        }
    }
    out
}
