//! GPU and host facts from `hardware/*.toml`: schema, checks, lookup.
//!
//! Units: memory in the vendor's GB and the driver's MiB in the file, [`Bytes`] in code; bandwidth in decimal
//! GB/s; compute in dense TFLOP/s (never the with-sparsity figure).

mod catalog;
mod names;

pub use catalog::{Catalog, check_text};

use crate::units::Bytes;
use serde::{Deserialize, Serialize};
use std::path::Path;

/// One accelerator (or CPU host) as its TOML file describes it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Hardware {
    /// Stable id, such as `a100-sxm-80gb`.
    pub id: String,
    /// Marketing name, such as `NVIDIA A100-SXM4-80GB`.
    pub name: String,
    /// Lower-case words of the driver's device name by which this part is recognised; all must stand in
    /// it as whole words (`h20` is not in `NVIDIA H200`).
    #[serde(default)]
    pub match_name: Vec<String>,
    /// Words that must not stand in the name (`laptop`).
    #[serde(default)]
    pub match_not: Vec<String>,
    /// The bare name that means this part where others share it (`h100` is the SXM part).
    #[serde(default)]
    pub short_name: Option<String>,
    pub vendor: Vendor,
    /// CUDA compute capability as major*10+minor (80, 89, 90, 100, 120); absent for non-NVIDIA parts.
    #[serde(default)]
    pub sm: Option<u32>,
    /// Memory as the vendor names it; for a GPU "80 GB" means about 80 GiB of memory chips.
    pub memory_gb: f64,
    /// Memory that the driver reports (the total that nvidia-smi shows), MiB.
    #[serde(default)]
    pub memory_mib: Option<u32>,
    /// The GPU uses the host's memory: what the host holds is not there for the engine.
    #[serde(default)]
    pub unified_memory: bool,
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
    /// How a launch that is larger than one node lies over several; a fact of the scenario, not of the part.
    #[serde(skip)]
    pub nodes: Option<Nodes>,
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

/// GPUs of one node, and what joins it to the others.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Nodes {
    pub gpus: u32,
    /// Bandwidth between nodes for each GPU, in one direction, GB/s.
    pub link_gbps: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Vendor {
    Nvidia,
    Amd,
    Cpu,
}

impl Hardware {
    /// Device memory that the driver reports; where that is not known, the vendor's figure, which means GiB
    /// for a GPU and 10^9 bytes for a host.
    pub fn memory(&self) -> Bytes {
        match self.memory_mib {
            Some(mib) => Bytes(u64::from(mib) << 20),
            None if self.is_gpu() => Bytes::from_gib(self.memory_gb),
            None => Bytes::from_gb(self.memory_gb),
        }
    }

    pub fn is_gpu(&self) -> bool {
        self.vendor != Vendor::Cpu
    }

    /// FP8 matrix units (Ada, Hopper and later, MI300).
    pub fn has_fp8(&self) -> bool {
        self.fp8_tflops.is_some()
    }

    /// Peak dense rate for weights of `bits` (4, 8, 16): the narrowest unit the part has that is at least
    /// that wide, TFLOP/s. Weight-only formats such as int4 compute in bf16 and ask for 16.
    pub fn tflops(&self, bits: u32) -> f64 {
        let fp8 = self.fp8_tflops.unwrap_or(self.bf16_tflops);
        match bits {
            0..=4 => self.fp4_tflops.unwrap_or(fp8),
            5..=8 => fp8,
            _ => self.bf16_tflops,
        }
    }

    /// Whether the driver's `device_name` with `memory` is this part: every `match_name` word stands in it,
    /// no `match_not` word does, and the memory is within 8 % (ECC takes 6 % of GDDR; the smallest slice of a GPU that
    /// keeps its name takes half).
    pub fn matches(&self, device_name: &str, memory: Bytes) -> bool {
        let name = device_name.to_lowercase();
        let ratio = memory.0 as f64 / self.memory().0 as f64;
        !self.match_name.is_empty()
            && self.match_name.iter().all(|w| has_word(&name, w))
            && !self.match_not.iter().any(|w| has_word(&name, w))
            && (0.92..=1.08).contains(&ratio)
    }
}

/// Whether a part of this name computes on the host's own cores; an unknown name is taken for a GPU.
pub fn computes_on_host(name: &str, data_dir: Option<&Path>) -> bool {
    Catalog::load(data_dir).is_ok_and(|c| c.find(name).is_ok_and(|h| h.vendor == Vendor::Cpu))
}

/// Whether `word` stands in `text` with no letter or digit on either side.
pub(super) fn has_word(text: &str, word: &str) -> bool {
    let edge = |c: Option<char>| c.is_none_or(|c| !c.is_alphanumeric());
    text.match_indices(word)
        .any(|(i, _)| edge(text[..i].chars().next_back()) && edge(text[i + word.len()..].chars().next()))
}
