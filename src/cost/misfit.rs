//! How far a set of coefficients is from the observations: the residuals that a fit makes small.
//!
//! One residual for each result key of each observation, `ln(measured / simulated)` over the key's spread, damped; one for
//! each bin of single requests and each step log; and one for each coefficient, its log shift over its spread beforehand.

use super::case::{Case, TimedRow};
use super::coefficients::Coefficients;
use super::solve::Matrix;
use super::steps::StepCase;
use crate::scenario::{Key, Metrics};
use crate::sim::RequestOutcome;
use argmin::core::Operator;

/// Result keys that a fit compares, with the standard deviation of the logarithm of their ratio.
pub const FITTED: &[(Key, f64)] = &[
    (Key::TotalTokenThroughput, 0.025),
    (Key::MeanTtftMs, 0.05),
    (Key::MedianTtftMs, 0.10),
    (Key::P99TtftMs, 0.10),
    (Key::MeanTpotMs, 0.03),
    (Key::MedianTpotMs, 0.07),
    (Key::P99TpotMs, 0.25),
    (Key::MedianItlMs, 0.07),
];

/// The residuals of one group's fit as a function of its log shifts.
pub(super) struct Misfit<'a> {
    pub cases: &'a [Case],
    pub steps: &'a [StepCase],
    pub prior: Coefficients,
    /// Mean of the log shifts before these data, and the matrix that makes their deviations independent.
    pub mean: &'a [f64],
    pub whitening: &'a Matrix,
}

impl Misfit<'_> {
    pub(super) fn residuals(&self, shift: &[f64]) -> Vec<f64> {
        let c = self.prior.shifted(shift);
        let mut out = Vec::new();
        for case in self.cases {
            let run = case.setup.simulate(&c, !case.rows.is_empty());
            let medians = |k: &Key| case.medians || !k.name().starts_with("median");
            for &(key, sd) in FITTED.iter().filter(|f| medians(&f.0)) {
                if let Some(z) = log_ratio(&case.measured, &run.metrics, key) {
                    out.push(robust(z / sd));
                }
            }
            out.extend(row_residuals(&case.rows, &run.requests));
        }
        for log in self.steps {
            out.extend(log.residuals(&c).into_iter().map(robust));
        }
        let off: Vec<f64> = shift.iter().zip(self.mean).map(|(s, m)| s - m).collect();
        out.extend(self.whitening.iter().map(|row| row.iter().zip(&off).map(|(w, o)| w * o).sum::<f64>()));
        out.extend(above_peak(&c));
        out
    }
}

impl Operator for Misfit<'_> {
    type Param = Vec<f64>;
    type Output = Vec<f64>;
    fn apply(&self, shift: &Vec<f64>) -> Result<Vec<f64>, argmin::core::Error> {
        Ok(self.residuals(shift))
    }
}

/// How far shares of a peak lie above nearly all of it, in units that weigh like a strong prior: more than
/// the peak is not physical.
fn above_peak(c: &Coefficients) -> impl Iterator<Item = f64> {
    let near_peak = 0.92_f64.ln();
    let shares = c.to_vec().into_iter().zip(Coefficients::UNITS).filter(|(_, u)| **u == "fraction of peak");
    shares.map(move |(v, _)| (v.ln() - near_peak).max(0.0) / 0.04)
}

/// Residuals of requests with timings, in bins of arrival order: mean TTFT within 5 %, mean decode time
/// within 3 %.
fn row_residuals(rows: &[TimedRow], got: &[RequestOutcome]) -> Vec<f64> {
    let size = rows.len().div_ceil(ROW_BINS).max(1);
    let mut out = Vec::new();
    for bin in rows.chunks(size) {
        let mean = |f: &dyn Fn(&TimedRow) -> f64| bin.iter().map(f).sum::<f64>() / bin.len() as f64;
        let at = |r: &TimedRow| got.get(r.index);
        let measured = (mean(&|r| r.ttft_s), mean(&|r| r.decode_s));
        let simulated = (
            mean(&|r| at(r).map_or(0.0, |o| o.ttft().secs())),
            mean(&|r| at(r).map_or(0.0, |o| (o.finished.saturating_sub(o.first_token)).secs())),
        );
        for (a, b, sd) in [(measured.0, simulated.0, 0.05), (measured.1, simulated.1, 0.03)] {
            if a > 0.0 {
                out.push(robust(if b > 0.0 { (a / b).ln() / sd } else { 10.0 }));
            }
        }
    }
    out
}

/// Bins of single requests by arrival.
const ROW_BINS: usize = 12;

/// ln(measured / simulated); `None` when the key was not measured.
fn log_ratio(measured: &Metrics, simulated: &Metrics, key: Key) -> Option<f64> {
    let a = measured.get(key).filter(|v| *v > 0.0)?;
    Some(simulated.get(key).filter(|v| *v > 0.0).map_or(1.0, |b| (a / b).ln()))
}

/// Square root of the loss `16 ln(1 + z²/16)`, with the sign of `z`: quadratic near zero, logarithmic far out.
fn robust(z: f64) -> f64 {
    z.signum() * (16.0 * (1.0 + z * z / 16.0).ln()).sqrt()
}
