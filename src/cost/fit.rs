//! Fitting the coefficients to observations: maximum a posteriori by Levenberg-Marquardt.

use super::coefficients::Coefficients;
use super::setup::Setup;
use super::summary;
use crate::scenario::{Key, Metrics};

/// Keys that a fit compares, with the standard deviation of the logarithm of their ratio.
pub const FITTED: &[(Key, f64)] = &[
    (Key::TotalTokenThroughput, 0.02),
    (Key::MeanTtftMs, 0.04),
    (Key::MedianTtftMs, 0.08),
    (Key::P99TtftMs, 0.08),
    (Key::MeanTpotMs, 0.04),
    (Key::MedianTpotMs, 0.08),
    (Key::P99TpotMs, 0.20),
    (Key::MedianItlMs, 0.08),
];

/// One observation made ready.
#[derive(Debug, Clone)]
pub struct Case {
    pub setup: Setup,
    pub measured: Metrics,
    pub weight: f64,
}

/// Logarithm of measured over predicted, over its standard deviation, tails pulled in.
pub fn residuals(cases: &[Case], c: &Coefficients) -> Vec<f64> {
    let mut out = Vec::new();
    for case in cases {
        let got = summary::metrics(&case.setup.run(c));
        for &(k, sd) in FITTED {
            let (Some(a), b) = (case.measured.get(k), got.get(k).unwrap_or(f64::NAN)) else { continue };
            if a <= 0.0 {
                continue;
            }
            let z = if b > 0.0 { (a / b).ln() / sd } else { 10.0 };
            out.push(robust(z) * case.weight);
        }
    }
    out
}

/// Square root of the Cauchy-like loss `4 ln(1 + z²/4)` with the sign of `z`.
fn robust(z: f64) -> f64 {
    z.signum() * (16.0 * (1.0 + z * z / 16.0).ln()).sqrt()
}

#[derive(Debug, Clone)]
pub struct Fitted {
    pub shift: Vec<f64>,
    pub cost: f64,
    pub prior_cost: f64,
    pub evaluations: usize,
    /// Posterior covariance of the log shifts (Laplace).
    pub covariance: Vec<Vec<f64>>,
}

/// MAP fit of log shifts around `prior`.
pub fn fit(cases: &[Case], prior: &Coefficients, log_sd: &[f64], iterations: usize) -> Fitted {
    let n = log_sd.len();
    let mut x = vec![0.0; n];
    let total = |x: &[f64], r: &[f64]| -> f64 {
        r.iter().map(|v| v * v).sum::<f64>() + x.iter().zip(log_sd).map(|(v, s)| (v / s).powi(2)).sum::<f64>()
    };
    let mut r = residuals(cases, &prior.shifted(&x));
    let mut cost = total(&x, &r);
    let prior_cost = cost;
    let mut lambda = 0.1;
    let mut evaluations = 1;
    let mut covariance = Vec::new();
    for it in 0..=iterations {
        let mut jac = vec![vec![0.0; n]; r.len()];
        for j in 0..n {
            let h = 0.03;
            let mut y = x.clone();
            y[j] += h;
            let up = residuals(cases, &prior.shifted(&y));
            evaluations += 1;
            for (row, (a, b)) in jac.iter_mut().zip(up.iter().zip(&r)) {
                row[j] = (a - b) / h;
            }
        }
        let mut a = vec![vec![0.0; n]; n];
        let mut g = vec![0.0; n];
        for (row, ri) in jac.iter().zip(&r) {
            for j in 0..n {
                g[j] += row[j] * ri;
                for k in 0..n {
                    a[j][k] += row[j] * row[k];
                }
            }
        }
        for j in 0..n {
            a[j][j] += 1.0 / log_sd[j].powi(2);
            g[j] += x[j] / log_sd[j].powi(2);
        }
        if it == iterations {
            covariance = inverse(&a);
            break;
        }
        let mut improved = false;
        for _ in 0..6 {
            let mut damped = a.clone();
            for (j, row) in damped.iter_mut().enumerate() {
                row[j] *= 1.0 + lambda;
            }
            let step = solve(damped, &g);
            let y: Vec<f64> = x.iter().zip(&step).map(|(v, s)| v - s.clamp(-0.7, 0.7)).collect();
            let ry = residuals(cases, &prior.shifted(&y));
            evaluations += 1;
            let cy = total(&y, &ry);
            if cy < cost {
                improved = cost - cy > 1e-3 * cost;
                x = y;
                r = ry;
                cost = cy;
                lambda = (lambda * 0.3).max(1e-4);
                break;
            }
            lambda *= 4.0;
        }
        if !improved {
            covariance = inverse(&a);
            break;
        }
    }
    Fitted { shift: x, cost, prior_cost, evaluations, covariance }
}

/// Solves `a x = b` for a symmetric positive definite matrix by Gaussian elimination.
pub fn solve(mut a: Vec<Vec<f64>>, b: &[f64]) -> Vec<f64> {
    let n = b.len();
    let mut b = b.to_vec();
    for i in 0..n {
        let pivot = (i..n).max_by(|&p, &q| a[p][i].abs().total_cmp(&a[q][i].abs())).unwrap_or(i);
        a.swap(i, pivot);
        b.swap(i, pivot);
        for k in i + 1..n {
            let f = a[k][i] / a[i][i];
            if f != 0.0 {
                for j in i..n {
                    a[k][j] -= f * a[i][j];
                }
                b[k] -= f * b[i];
            }
        }
    }
    for i in (0..n).rev() {
        let s: f64 = (i + 1..n).map(|j| a[i][j] * b[j]).sum();
        b[i] = (b[i] - s) / a[i][i];
    }
    b
}

pub fn inverse(a: &[Vec<f64>]) -> Vec<Vec<f64>> {
    let n = a.len();
    let columns: Vec<Vec<f64>> = (0..n)
        .map(|j| {
            let e: Vec<f64> = (0..n).map(|i| if i == j { 1.0 } else { 0.0 }).collect();
            solve(a.to_vec(), &e)
        })
        .collect();
    (0..n).map(|i| (0..n).map(|j| columns[j][i]).collect()).collect()
}
