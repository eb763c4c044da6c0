//! What vLLM keeps free of its share of the device beside weights and KV: the peak of its profiling run, and what CUDA and
//! the collectives hold.
//!
//! The engine runs once with the full token budget, then samples a full batch, and counts the higher peak. With the
//! vocabularies of today the sampler is the higher one: `max_num_seqs × vocabulary` logits several times over. Constants were
//! set on two thirds (by model) of the launches in `tests/kv-pool-launches.csv`, which name weights, peak and rest apart; the
//! other third was scored afterwards.

use super::footprint::Footprint;
use crate::engine::EngineConfig;
use crate::hardware::{Hardware, Vendor};
use crate::model::{Model, Precision};

const GIB: f64 = 1073741824.0;

/// Bytes of peak activations and of the runtime on one rank.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Reserve {
    pub activations: f64,
    pub runtime: f64,
}

/// The reserve of a vLLM launch (V1 engine). `flashinfer`: FlashInfer samples.
pub(super) fn vllm(
    config: &EngineConfig,
    hw: &Hardware,
    model: &Model,
    f: &Footprint,
    flashinfer: bool,
) -> Reserve {
    let tokens = f64::from(config.max_num_batched_tokens);
    let hidden = tokens * f.hidden * 2.0;
    let sequences = f64::from(config.max_num_seqs.min(config.max_num_batched_tokens));
    // Qwen3-14B on an H100: 5.64 GiB at 1,024 sequences until 0.16, 2.23 GiB since 0.17.
    let newer = config.version >= (0, 17, 0);
    // The older sort takes 24 bytes of them: values and their places, sorted and put back. FlashInfer's kernels sort nothing
    // (flashinfer-ai/flashinfer issue 1180: 1.51 GiB at 256 sequences and 262,144 words).
    let (bytes_logit, fixed) = match (newer, flashinfer) {
        (true, _) => (14.0, 0.12),
        (false, true) => (14.0, 0.03),
        (false, false) => (38.0, 0.03),
    };
    let sampler = sequences * f.vocab * bytes_logit + fixed * GIB + 1.15 * hidden;
    let tensor = f64::from(config.tensor_parallel.max(1));
    // Gate and up projections, their product, the hidden states and the residual.
    let forward = 2.0 * hidden + tokens * 2.0 * 3.0 * f64::from(model.ffn) / tensor + 0.14 * GIB;
    // The largest pictures that a step may hold are seen first; what becomes of them stays while the model itself runs.
    let tower = model.rest.vision.filter(|_| !config.text_only);
    let seen = tower.map_or(0.0, |v| v.activation_bytes(tokens, tensor));
    let kept = tower.map_or(0.0, |v| tokens.max(f64::from(v.largest)) * f.hidden * 2.0);
    let vision = if model.rest.towers > 0 && !config.text_only { kept.max(0.2 * GIB) } else { 0.0 };
    let rocm = if hw.vendor == Vendor::Amd { 0.9 * GIB } else { 0.0 };
    Reserve {
        activations: sampler.max(forward).max(seen) + expert_workspace(config, model, f) + vision,
        runtime: runtime(config, hw) + rocm,
    }
}

/// The fused experts' workspaces stay allocated: routed copies of the hidden states, and of the experts' widths.
fn expert_workspace(config: &EngineConfig, model: &Model, f: &Footprint) -> f64 {
    let Some(moe) = &model.moe else { return 0.0 };
    // The Triton kernels for MXFP4 scatter in place.
    if f.precision == Precision::Mxfp4 {
        return 0.0;
    }
    let tensor = if config.expert_parallel { 1.0 } else { f64::from(config.tensor_parallel.max(1)) };
    let width = f64::from(moe.expert_ffn) / tensor;
    let routed = f64::from(config.max_num_batched_tokens) * f64::from(moe.top_k) * 2.0;
    // The weight-only kernels write their second product in the experts' width alone.
    let second = if f.precision == Precision::Int4 { width } else { width.max(f.hidden) };
    routed * ((2.0 * width).max(f.hidden) + second)
}

/// CUDA's context beyond the start, NCCL and the workspaces of the faster all-reduces.
fn runtime(config: &EngineConfig, hw: &Hardware) -> f64 {
    let newer = config.version >= (0, 18, 0);
    let own = if newer { 0.25 } else { 0.13 };
    let linked = hw.sm.is_some_and(|s| (90..120).contains(&s)) && hw.link_gbps >= 300.0;
    let ranks = match (config.tensor_parallel > 1, newer, linked) {
        (false, ..) => 0.0,
        (true, true, true) => 1.85,
        (true, true, false) => 0.5,
        (true, false, _) => 0.42,
    };
    (own + ranks) * GIB
}
