//! What the step model leaves unexplained, carried from what was measured to what is near it.
//!
//! A Gaussian process on the logarithm of measured over simulated, one for each family of result keys
//! (Kennedy and O'Hagan's model discrepancy). Far from every observation it says: no correction, the full
//! spread; at an observation, its residual, with the scatter from run to run.

use super::setup::Setup;
use super::solve::{Matrix, solve};
use crate::scenario::Key;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Where an observation lies among loads and launches: the inputs of the Gaussian process, in units of correlation
/// length.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DesignPoint(pub Vec<f64>);

impl DesignPoint {
    /// Lengths, load, budget and parallelism of a scenario, each over the distance at which residuals
    /// stop being alike.
    pub fn of(s: &Setup) -> DesignPoint {
        let n = s.requests.len().max(1) as f64;
        let mean = |f: fn(&crate::workload::RequestShape) -> u32| {
            (s.requests.iter().map(|r| f64::from(f(r))).sum::<f64>() / n).max(1.0)
        };
        let span = s.requests.last().map_or(0.0, |r| r.arrival.secs());
        let (load, kind) = match s.concurrency {
            Some(c) => (f64::from(c).ln(), 0.0),
            None if span > 0.0 => ((n / span).ln() + 2.0, 1.0),
            None => (n.min(1024.0).ln(), 2.0),
        };
        let c = &s.config;
        DesignPoint(vec![
            mean(|r| r.input_tokens).ln() / 1.4,
            mean(|r| r.output_tokens).ln() / 1.6,
            load / 1.4,
            kind / 1.5,
            f64::from(c.max_num_batched_tokens).ln() / 2.5,
            f64::from(u8::from(c.overlap)) / 2.0,
            f64::from(c.tensor_parallel).ln() / 0.7,
            f64::from(c.pipeline_parallel).ln() / 0.7,
            f64::from(c.max_num_seqs).ln() / 4.0,
            f64::from(u8::from(c.max_graph_size > 0)) / 0.7,
            f64::from(c.data_parallel.max(1)).ln() / 0.7,
            // Attention by data over ranks that share the rest is another engine in all but the name.
            (f64::from(c.tensor_parallel.max(1)) / f64::from(c.attention_tensor().max(1))).ln() / 0.7,
            f64::from(u8::from(c.expert_parallel)) / 0.7,
            c.months_older / 4.0,
        ])
    }

    /// Of the model's error there with that at another point: 1 at the same one, towards 0 far away.
    pub fn correlation(&self, other: &DesignPoint) -> f64 {
        (-0.5 * self.squared_distance(other)).exp()
    }

    fn squared_distance(&self, other: &DesignPoint) -> f64 {
        self.0.iter().zip(&other.0).map(|(a, b)| (a - b).powi(2)).sum()
    }
}

/// Distance to the nearest observation, in units of correlation length; `None` without any.
pub fn distance(at: &DesignPoint, residuals: &[Residual]) -> Option<f64> {
    let nearest = residuals.iter().map(|r| r.point.squared_distance(at)).fold(f64::INFINITY, f64::min);
    nearest.is_finite().then(|| nearest.sqrt())
}

/// Families of keys that share their residual, with (spread of the model's error, scatter between runs),
/// both as standard deviations of logarithms.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Family {
    Throughput,
    Ttft,
    TtftTail,
    Tpot,
    TpotTail,
    Itl,
    ItlTail,
    E2el,
}

impl Family {
    pub fn of(key: Key) -> Option<Family> {
        Some(match key {
            Key::RequestThroughput | Key::OutputThroughput | Key::TotalTokenThroughput | Key::Duration => {
                Family::Throughput
            }
            Key::MeanTtftMs | Key::MedianTtftMs | Key::StdTtftMs => Family::Ttft,
            Key::P90TtftMs | Key::P95TtftMs | Key::P99TtftMs => Family::TtftTail,
            Key::MeanTpotMs | Key::MedianTpotMs | Key::StdTpotMs => Family::Tpot,
            Key::P90TpotMs | Key::P95TpotMs | Key::P99TpotMs => Family::TpotTail,
            Key::MeanItlMs | Key::MedianItlMs | Key::StdItlMs => Family::Itl,
            Key::P90ItlMs | Key::P95ItlMs | Key::P99ItlMs => Family::ItlTail,
            Key::MeanE2elMs
            | Key::MedianE2elMs
            | Key::StdE2elMs
            | Key::P90E2elMs
            | Key::P95E2elMs
            | Key::P99E2elMs => Family::E2el,
            _ => return None,
        })
    }

    /// (model error, scatter from run to run).
    pub fn spread(self) -> (f64, f64) {
        match self {
            Family::Throughput => (0.05, 0.015),
            Family::Ttft => (0.09, 0.04),
            Family::TtftTail => (0.17, 0.06),
            Family::Tpot => (0.045, 0.02),
            Family::TpotTail => (0.25, 0.08),
            Family::Itl => (0.15, 0.05),
            Family::ItlTail => (0.35, 0.10),
            Family::E2el => (0.08, 0.02),
        }
    }
}

/// The residuals of one observation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Residual {
    /// Which observation: command and workload.
    pub label: String,
    /// Its point among the loads and launches.
    #[serde(alias = "place")]
    pub point: DesignPoint,
    /// ln(measured / simulated) by result key.
    pub log_ratio: BTreeMap<String, f64>,
}

/// The correction of `key` at `at`: mean and standard deviation of ln(real / simulated), scatter included.
pub fn correction(key: Key, at: &DesignPoint, residuals: &[Residual]) -> (f64, f64) {
    let Some(family) = Family::of(key) else { return (0.0, 0.0) };
    let (model, scatter) = family.spread();
    let near: Vec<(&DesignPoint, f64)> = residuals
        .iter()
        .filter_map(|r| r.log_ratio.get(key.name()).map(|v| (&r.point, v.clamp(-3.0 * model, 3.0 * model))))
        .collect();
    let variance = model * model;
    if near.is_empty() {
        return (0.0, (variance + scatter * scatter).sqrt());
    }
    let k: Matrix = near
        .iter()
        .enumerate()
        .map(|(i, (a, _))| {
            near.iter()
                .enumerate()
                .map(|(j, (b, _))| variance * a.correlation(b) + if i == j { scatter * scatter } else { 0.0 })
                .collect()
        })
        .collect();
    let cross: Vec<f64> = near.iter().map(|(p, _)| variance * at.correlation(p)).collect();
    let values: Vec<f64> = near.iter().map(|n| n.1).collect();
    let dot = |w: &[f64]| cross.iter().zip(w).map(|(a, b)| a * b).sum::<f64>();
    let mean = dot(&solve(&k, &values));
    let left = (variance - dot(&solve(&k, &cross))).max(0.0);
    (mean, (left + scatter * scatter).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn residual(x: f64, value: f64) -> Residual {
        Residual {
            label: String::new(),
            point: DesignPoint(vec![x]),
            log_ratio: BTreeMap::from([("mean_tpot_ms".to_owned(), value)]),
        }
    }

    #[test]
    fn a_residual_is_believed_nearby_and_forgotten_far_away() {
        let seen = [residual(0.0, 0.10), residual(3.0, -0.05)];
        let (near, sure) = correction(Key::MeanTpotMs, &DesignPoint(vec![0.05]), &seen);
        assert!((near - 0.10).abs() < 0.02 && sure < 0.04, "{near} {sure}");
        let (far, unsure) = correction(Key::MeanTpotMs, &DesignPoint(vec![40.0]), &seen);
        assert!(far.abs() < 1e-6 && (unsure - 0.045_f64.hypot(0.02)).abs() < 1e-6);
        assert_eq!(correction(Key::Completed, &DesignPoint(vec![0.0]), &seen), (0.0, 0.0));
    }
}
