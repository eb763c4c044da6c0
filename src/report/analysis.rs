//! What the fitted cost model says of the defaults and of the recommended command: kept as `analysis.json` beside the
//! record, so that a report written again shows the same figures whatever the simulator has learned since.

use serde::{Deserialize, Serialize};

/// Version of `analysis.json`.
pub const SCHEMA: u32 = 1;

/// Name of the file in a campaign's directory.
pub const FILE: &str = "analysis.json";

#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
pub struct Analysis {
    pub schema: u32,
    /// US dollars of one GPU and hour, and where that is from.
    #[serde(default)]
    pub usd_per_gpu_hour: Option<f64>,
    /// Forecast ramps: the defaults first, then the recommended command where that differs.
    #[serde(default)]
    pub ramps: Vec<Ramp>,
    /// Mean decode steps, in the same order.
    #[serde(default)]
    pub steps: Vec<Step>,
}

/// Which of the two commands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Side {
    Defaults,
    Recommended,
}

/// A value and its 90 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Band {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

/// One load of a ramp of requests in flight.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rung {
    /// Requests in flight.
    pub load: f64,
    /// Requests a second.
    pub request_rate: Option<Band>,
    /// Prompt and output tokens a second, of all GPUs of the launch.
    pub total_token_throughput: Option<Band>,
    pub mean_ttft_ms: Option<Band>,
    pub mean_tpot_ms: Option<Band>,
    pub mean_e2el_ms: Option<Band>,
    pub binding: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ZoneRow {
    pub zone: String,
    /// Requests in flight.
    pub from: f64,
    /// Absent for the last zone.
    pub to: Option<f64>,
    /// 90 % interval of `to`.
    pub to_interval: Option<(f64, f64)>,
    pub criterion: String,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Ramp {
    pub side: Side,
    /// Where the coefficients come from.
    pub basis: String,
    pub rungs: Vec<Rung>,
    pub zones: Vec<ZoneRow>,
    /// Requests in flight to plan one replica with, and why that many.
    pub planning_load: Option<f64>,
    /// Largest load that keeps the SLO, by the central forecast; absent without an SLO or when none does.
    pub slo_load: Option<f64>,
}

/// Where the time of the mean decode step goes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Step {
    pub side: Side,
    pub decode_rows: u32,
    pub context_tokens: u64,
    /// From one step to the next.
    pub period_ms: f64,
    /// The host's work is hidden behind the device's.
    pub overlap: bool,
    /// Component and milliseconds, those of the device first.
    pub parts: Vec<(String, f64)>,
    pub host_ms: f64,
}
