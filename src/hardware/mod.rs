//! GPU and host facts from `hardware/*.toml`: schema, checks, lookup.
//!
//! Units: memory in vendor gigabytes (10^9 bytes) in the file, [`Bytes`] in code; bandwidth in decimal
//! GB/s; compute in dense TFLOP/s (never the with-sparsity figure).

use serde::{Deserialize, Serialize};

/// One accelerator (or CPU host) as its TOML file describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// Stable id, such as `a100-sxm-80gb`.
    pub id: String,
    /// Marketing name, such as `NVIDIA A100-SXM4-80GB`.
    pub name: String,
    /// Lower-case substrings of the driver's device name by which this part is recognised; all must match.
    #[serde(default)]
    pub match_name: Vec<String>,
    pub vendor: Vendor,
    /// CUDA compute capability as major*10+minor (80, 89, 90, 100, 120); absent for non-NVIDIA parts.
    #[serde(default)]
    pub sm: Option<u32>,
    /// Memory that the driver reports, vendor GB.
    pub memory_gb: f64,
    /// Peak memory bandwidth, decimal GB/s.
    pub bandwidth_gbps: f64,
    pub bf16_tflops: f64,
    #[serde(default)]
    pub fp8_tflops: Option<f64>,
    #[serde(default)]
    pub fp4_tflops: Option<f64>,
    #[serde(default)]
    pub int8_tops: Option<f64>,
    /// Device-to-device bandwidth in one direction, GB/s.
    pub link_gbps: f64,
    #[serde(default)]
    pub link: String,
    /// Streaming multiprocessors or compute units.
    #[serde(default)]
    pub sm_count: Option<u32>,
    #[serde(default)]
    pub tdp_w: Option<f64>,
    /// Typical price in US dollars for one device and hour; a planning default that the user overrides.
    #[serde(default)]
    pub usd_per_hour: Option<f64>,
    #[serde(default)]
    pub note: String,
    pub source: String,
    /// Keys whose value has no stored source behind it.
    #[serde(default)]
    pub unverified: Vec<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    Nvidia,
    Amd,
    Cpu,
}
