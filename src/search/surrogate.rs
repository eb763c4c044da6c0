//! What is believed of candidates nobody has launched: a forecast from a model, corrected by what the
//! launches showed.
//!
//! The measured log gain of a candidate is its forecast plus the sum of one correction a flag value:
//! `gain(c) = forecast(c) + Σ β(flag = value)`, β ~ N(0, τ²). That is a Gaussian process whose mean is the
//! forecast and whose kernel counts the flag values that two candidates share (each by its τ²): a launch
//! teaches something of every candidate that shares a flag value with it, and nothing of the others.

use crate::space::{Candidate, FlagValue};
use std::collections::BTreeMap;

/// Standard deviation of what a forecast may miss of a flag's effect, log scale.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Doubt {
    /// For any flag that the forecast knows.
    pub floor: f64,
    /// For a flag that it does not know.
    pub unknown: f64,
    /// Share of the forecast effect that may be wrong.
    pub share: f64,
}

impl Default for Doubt {
    fn default() -> Doubt {
        Doubt { floor: 0.012, unknown: 0.04, share: 0.3 }
    }
}

/// Belief about one candidate's log gain over the baseline.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Belief {
    pub mean: f64,
    pub sd: f64,
}

impl Belief {
    /// Expected amount by which it exceeds `level`: Jones' expected improvement for a normal belief.
    pub fn expected_gain(&self, level: f64) -> f64 {
        let d = self.mean - level;
        if self.sd <= 0.0 {
            return d.max(0.0);
        }
        let z = d / self.sd;
        d * normal_cdf(z) + self.sd * (-z * z / 2.0).exp() / (2.0 * std::f64::consts::PI).sqrt()
    }
}

fn normal_cdf(z: f64) -> f64 {
    0.5 * statrs::function::erf::erfc(-z / std::f64::consts::SQRT_2)
}

/// One launch: what was forecast of it, what it gave.
#[derive(Debug, Clone)]
struct Seen {
    candidate: Candidate,
    surprise: f64,
    /// Variance of the measurement.
    noise: f64,
}

/// The process, conditioned on the launches so far.
#[derive(Debug, Clone, Default)]
pub struct Surrogate {
    /// τ² by flag value; flags that differ from the baseline only.
    variance: BTreeMap<String, Vec<(FlagValue, f64)>>,
    seen: Vec<Seen>,
    /// K⁻¹ (measured - forecast), and the Cholesky factor of K.
    weights: Vec<f64>,
    factor: Vec<Vec<f64>>,
}

impl Surrogate {
    /// `single` gives the forecast log gain of a flag value alone, `None` where the forecast does not know it.
    pub fn new(
        values: impl Iterator<Item = (String, FlagValue)>,
        single: impl Fn(&str, &FlagValue) -> Option<f64>,
        doubt: Doubt,
    ) -> Surrogate {
        let tau = |f: &str, v: &FlagValue| match single(f, v) {
            Some(gain) => doubt.floor.hypot(doubt.share * gain),
            None => doubt.unknown,
        };
        let mut variance: BTreeMap<String, Vec<(FlagValue, f64)>> = BTreeMap::new();
        for (flag, value) in values {
            let squared = tau(&flag, &value).powi(2);
            variance.entry(flag).or_default().push((value, squared));
        }
        Surrogate { variance, ..Surrogate::default() }
    }

    /// Conditions on every launch: candidate, forecast then, measured log gain and its variance.
    pub fn condition(&mut self, launches: impl Iterator<Item = (Candidate, f64, f64, f64)>) {
        self.seen = launches
            .map(|(candidate, forecast, measured, noise)| Seen {
                candidate,
                surprise: measured - forecast,
                noise,
            })
            .collect();
        let row = |(i, a): (usize, &Seen)| -> Vec<f64> {
            let of = |(j, b): (usize, &Seen)| {
                self.shared(&a.candidate, &b.candidate) + if i == j { a.noise } else { 0.0 }
            };
            self.seen.iter().enumerate().map(of).collect()
        };
        self.factor = cholesky(self.seen.iter().enumerate().map(row).collect());
        let y: Vec<f64> = self.seen.iter().map(|s| s.surprise).collect();
        self.weights = backward(&self.factor, forward(&self.factor, y));
    }

    /// Belief about a candidate whose forecast is `forecast`.
    pub fn belief(&self, candidate: &Candidate, forecast: f64) -> Belief {
        let k: Vec<f64> = self.seen.iter().map(|s| self.shared(candidate, &s.candidate)).collect();
        let mean = forecast + k.iter().zip(&self.weights).map(|(a, b)| a * b).sum::<f64>();
        let explained: f64 = forward(&self.factor, k).iter().map(|v| v * v).sum();
        let variance = (self.shared(candidate, candidate) - explained).max(0.0);
        Belief { mean, sd: variance.sqrt() }
    }

    /// Σ τ² over the flag values that both set.
    fn shared(&self, a: &Candidate, b: &Candidate) -> f64 {
        let both = a.flags.iter().filter(|(f, v)| b.flags.get(*f) == Some(v));
        both.filter_map(|(f, v)| self.variance.get(f)?.iter().find(|(value, _)| value == v))
            .map(|(_, t)| t)
            .sum()
    }
}

/// Lower triangular factor of a symmetric matrix; its diagonal is kept positive.
fn cholesky(mut a: Vec<Vec<f64>>) -> Vec<Vec<f64>> {
    let n = a.len();
    for j in 0..n {
        let d = a[j][j] - (0..j).map(|k| a[j][k] * a[j][k]).sum::<f64>();
        a[j][j] = d.max(1e-12).sqrt();
        for i in j + 1..n {
            let s: f64 = (0..j).map(|k| a[i][k] * a[j][k]).sum();
            a[i][j] = (a[i][j] - s) / a[j][j];
        }
        for row in a.iter_mut().take(j) {
            row[j] = 0.0;
        }
    }
    a
}

/// Solves `L x = y`.
fn forward(l: &[Vec<f64>], mut y: Vec<f64>) -> Vec<f64> {
    for i in 0..y.len() {
        let s: f64 = (0..i).map(|k| l[i][k] * y[k]).sum();
        y[i] = (y[i] - s) / l[i][i];
    }
    y
}

/// Solves `Lᵀ x = y`.
fn backward(l: &[Vec<f64>], mut y: Vec<f64>) -> Vec<f64> {
    for i in (0..y.len()).rev() {
        let s: f64 = (i + 1..y.len()).map(|k| l[k][i] * y[k]).sum();
        y[i] = (y[i] - s) / l[i][i];
    }
    y
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::EngineKind;

    fn flag(name: &str) -> Candidate {
        Candidate::baseline(EngineKind::Emulated).with(name, FlagValue::Bool(true))
    }

    fn surrogate() -> Surrogate {
        let values = ["a", "b"].map(|f| (f.to_owned(), FlagValue::Bool(true)));
        Surrogate::new(values.into_iter(), |f, _| (f == "a").then_some(0.2), Doubt::default())
    }

    #[test]
    fn a_launch_corrects_every_candidate_that_shares_its_flag() {
        let mut s = surrogate();
        let before = s.belief(&flag("a"), 0.2);
        assert_eq!(before.mean, 0.2);
        s.condition([(flag("a"), 0.2, 0.1, 1e-6)].into_iter());
        let after = s.belief(&flag("a"), 0.2);
        assert!((after.mean - 0.1).abs() < 1e-3 && after.sd < 0.01 && before.sd > 0.06);
        let both = s.belief(&flag("a").with("b", FlagValue::Bool(true)), 0.2);
        assert!((both.mean - 0.1).abs() < 1e-3, "{both:?}");
        assert!((both.sd - Doubt::default().unknown).abs() < 1e-3, "{both:?}");
        assert_eq!(s.belief(&flag("b"), 0.0), Belief { mean: 0.0, sd: Doubt::default().unknown });
    }

    #[test]
    fn expected_gain_grows_with_mean_and_doubt() {
        let b = |mean, sd| Belief { mean, sd }.expected_gain(0.1);
        assert_eq!(b(0.2, 0.0), 0.1);
        assert_eq!(b(0.0, 0.0), 0.0);
        assert!((b(0.1, 0.1) - 0.039_894).abs() < 1e-5);
        assert!(b(0.1, 0.2) > b(0.1, 0.1) && b(0.2, 0.1) > b(0.1, 0.1));
    }

    #[test]
    fn triangular_solves_invert_the_matrix() {
        let l = cholesky(vec![vec![4.0, 2.0], vec![2.0, 3.0]]);
        let x = backward(&l, forward(&l, vec![2.0, 5.0]));
        assert!(
            (4.0 * x[0] + 2.0 * x[1] - 2.0).abs() < 1e-12 && (2.0 * x[0] + 3.0 * x[1] - 5.0).abs() < 1e-12
        );
    }
}
