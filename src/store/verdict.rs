//! What a campaign concluded, as it stands in the record: the report is written from this and the trials.
//!
//! Effects and improvements here are relative and turned so that positive is better: +0.2 is 20 % more
//! throughput, or 20 % less time.

use crate::launch::{Candidate, EngineKind, FlagValue};
use crate::scenario::Key;
use crate::search::{FailedLaunch, Stage};
use crate::stats::Interval;
use serde::{Deserialize, Serialize};

/// One engine with its defaults.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct EngineRow {
    pub engine: EngineKind,
    pub version: Option<String>,
    /// Mean of the objective over the valid runs.
    pub value: Option<f64>,
    pub runs: u32,
    pub chosen: bool,
    pub failure: Option<FailedLaunch>,
}

/// A candidate that was launched in the search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Tried {
    pub candidate: Candidate,
    pub label: String,
    pub stage: Stage,
    /// Numbers of its trials.
    pub trials: Vec<u32>,
    /// Effect against the baseline, with its interval; absent when it gave no score.
    pub effect: Option<Interval>,
    /// Still beyond the noise after correction for the number of candidates (Holm).
    pub significant: bool,
    pub failure: Option<FailedLaunch>,
    /// Why a run of it was not used, where one was not.
    #[serde(default)]
    pub invalid: Vec<String>,
}

/// What one flag did on its own, and why.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct FlagEffect {
    pub flag: String,
    pub value: FlagValue,
    pub effect: Option<Interval>,
    /// The effect is that of taking the flag out of the recommended command, not of the flag alone.
    #[serde(default)]
    pub ablation: bool,
    pub significant: bool,
    /// Stands in the recommended command.
    pub kept: bool,
    /// How the flag works, from the search space.
    pub mechanism: String,
}

/// Winner against baseline in the confirmation.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Improvement {
    #[serde(flatten)]
    pub interval: Interval,
    pub significant: bool,
    pub confidence: f64,
    /// Improvement of each pair.
    pub pairs: Vec<f64>,
    /// The same by paired bootstrap, for comparison.
    pub bootstrap: Option<Interval>,
}

/// One result key before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct MetricRow {
    pub key: String,
    /// Geometric mean over the pairs' runs (arithmetic where a value is zero), so that `after / before - 1` is the change.
    pub before: f64,
    pub after: f64,
    /// Change of the value itself (after / before - 1), not turned, at the confirmation's confidence; absent when it
    /// cannot be formed.
    pub change: Option<Interval>,
    /// Degrees of freedom behind the interval: one less than pairs, and those of the scatter of launches before the confirmation.
    /// Absent in records that were made by the pairs alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub freedom: Option<f64>,
    /// The interval excludes no change.
    pub significant: bool,
    /// The change, if significant, is for the better.
    pub better: bool,
}

/// One workload before and after.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct WorkloadRow {
    pub name: String,
    pub pairs: u32,
    pub metrics: Vec<MetricRow>,
    /// Runs that failed or were invalid, on either side.
    #[serde(default)]
    pub notes: Vec<String>,
    /// Whether the winner met every clause of the SLO here; absent without an SLO.
    #[serde(default)]
    pub keeps_slo: Option<bool>,
}

impl WorkloadRow {
    pub fn metric(&self, key: Key) -> Option<&MetricRow> {
        self.metrics.iter().find(|m| m.key == key.name())
    }
}

/// Predicted beside measured for one launch of a model-guided search.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct ForecastRow {
    pub label: String,
    /// Effect against the baseline as forecast before the launch.
    pub predicted: Interval,
    pub measured: Option<f64>,
    /// What the forecast rested on, in words; absent where the cost model said nothing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub standing: Option<String>,
}

/// What a model-guided search did with the whole space.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct SpaceSummary {
    pub considered: u32,
    /// The product of all values was larger than the limit.
    pub cut: bool,
    pub simulated: u32,
    /// Not simulated: refused by memory arithmetic, or the closed-form screen's optimistic bound lay below the best
    /// simulated.
    #[serde(default)]
    pub screened_out: u32,
    /// How far above the screened value that bound lay (relative).
    #[serde(default)]
    pub screen_band: f64,
    pub launched: u32,
    /// Dropped because their optimistic bound lay below the incumbent's pessimistic one.
    pub dropped: u32,
    /// Neither launched nor dropped: the expected gain was not worth a launch, or the budget ended.
    pub left: u32,
    pub forecasts: Vec<ForecastRow>,
    /// Where the cost model came from and how good its fit is.
    pub model: String,
    /// Why the search stopped, in a sentence.
    #[serde(default)]
    pub ending: String,
    /// What the search expects to have left on the table (relative).
    #[serde(default)]
    pub regret: f64,
    /// Values that no launch tried.
    #[serde(default)]
    pub untried: Vec<String>,
    /// Values that are proven to make launches fail.
    #[serde(default)]
    pub fails: Vec<String>,
    /// Values that are likely to, without proof.
    #[serde(default)]
    pub suspected: Vec<String>,
}

/// Baseline and winner of the campaign.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Compared {
    pub baseline: Candidate,
    /// Equals the baseline when nothing was better beyond the noise.
    pub winner: Candidate,
    pub improvement: Option<Improvement>,
    pub workloads: Vec<WorkloadRow>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Verdict {
    /// False while the campaign is not at its end.
    pub complete: bool,
    pub engines: Vec<EngineRow>,
    /// Noise between launches of one command (relative standard deviation of a launch's mean) and its degrees of freedom:
    /// runs that share a launch count as one.
    pub noise: Option<(f64, f64)>,
    /// Noise between the runs of one launch, and its degrees of freedom.
    #[serde(default)]
    pub run_noise: Option<(f64, f64)>,
    pub compared: Option<Compared>,
    pub flags: Vec<FlagEffect>,
    pub tried: Vec<Tried>,
    #[serde(default)]
    pub ruled: Option<SpaceSummary>,
    /// Candidates of the space (with all combinations, where those were considered).
    pub considered: u32,
    /// What the reader should know: budget reached, candidates refused by constraints, …
    pub notes: Vec<String>,
    pub wall_s: f64,
}
