//! Under what a prediction is made: what its intervals widen by, besides what the model itself believes.

use super::discrepancy::{self, DesignPoint, Family, Residual};
use super::setup::Setup;
use super::standing::Standing;
use crate::launch::EngineKind;
use crate::scenario::Key;
use serde::{Deserialize, Serialize};

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Load {
    /// A fixed number is in flight.
    Closed,
    /// A burst, or arrivals at a rate.
    Open,
}

impl Load {
    pub fn of(concurrency: Option<u32>) -> Load {
        if concurrency.is_some() { Load::Closed } else { Load::Open }
    }
}

/// Families that public runs report often enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum CalibratedFamily {
    Throughput,
    Ttft,
    Tpot,
}

impl CalibratedFamily {
    pub const ALL: [CalibratedFamily; 3] =
        [CalibratedFamily::Throughput, CalibratedFamily::Ttft, CalibratedFamily::Tpot];

    pub fn of(family: Family) -> CalibratedFamily {
        match family {
            Family::Throughput | Family::E2el => CalibratedFamily::Throughput,
            Family::Ttft | Family::TtftTail => CalibratedFamily::Ttft,
            Family::Tpot | Family::TpotTail | Family::Itl | Family::ItlTail => CalibratedFamily::Tpot,
        }
    }
}

/// How far a prediction is from what was measured, and how well that was explained.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Conditions {
    pub standing: Standing,
    pub load: Load,
    pub engine: EngineKind,
    /// To the nearest observation of this launch, in units of correlation length, at most [`FARTHEST`]; 0 without any.
    pub distance: f64,
    /// Root mean square of ln(measured / fitted) over the observations of this launch, by family in the order of
    /// [`CalibratedFamily::ALL`]; 0 without any.
    pub misfit: [f64; 3],
}

/// Beyond this distance all is equally far.
pub const FARTHEST: f64 = 4.0;

impl Conditions {
    pub(super) fn of(
        standing: Standing,
        setup: &Setup,
        point: &DesignPoint,
        residuals: &[Residual],
    ) -> Conditions {
        Conditions {
            standing,
            load: Load::of(setup.concurrency),
            engine: setup.config.engine,
            distance: discrepancy::distance(point, residuals).unwrap_or(0.0).min(FARTHEST),
            misfit: CalibratedFamily::ALL.map(|f| misfit(f, residuals)),
        }
    }

    /// Of one family.
    pub fn misfit(&self, family: CalibratedFamily) -> f64 {
        let at = CalibratedFamily::ALL.iter().position(|f| *f == family);
        at.map_or(0.0, |i| self.misfit[i])
    }
}

fn misfit(family: CalibratedFamily, residuals: &[Residual]) -> f64 {
    let key = match family {
        CalibratedFamily::Throughput => Key::TotalTokenThroughput,
        CalibratedFamily::Ttft => Key::MeanTtftMs,
        CalibratedFamily::Tpot => Key::MeanTpotMs,
    };
    let left: Vec<f64> = residuals.iter().filter_map(|r| r.log_ratio.get(key.name())).copied().collect();
    (left.iter().map(|v| v * v).sum::<f64>() / left.len().max(1) as f64).sqrt()
}
