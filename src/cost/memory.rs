//! KV room and reasons to refuse a launch, from memory arithmetic alone.
//!
//! vLLM and SGLang keep a share of the whole device for weights, activations and KV; TensorRT-LLM a share
//! of what weights and activations leave. What the engine itself reports always wins over this estimate.

use super::drafting;
use super::footprint::Footprint;
use super::refusal::{RESERVE_ERROR, Refusal};
use crate::engine::EngineConfig;
use crate::engine::resolve::device_memory;
use crate::hardware::{Hardware, Vendor};
use crate::launch::EngineKind;
use crate::model::{Model, Precision, Scheme};
use crate::units::Bytes;

const GIB: f64 = 1073741824.0;

/// Where a device's memory goes.
#[derive(Debug, Clone, PartialEq)]
pub struct MemoryEstimate {
    pub device: Bytes,
    /// What the engine may use in all.
    pub budget: Bytes,
    pub weights: Bytes,
    pub activations: Bytes,
    pub graphs: Bytes,
    /// Left for KV on each device.
    pub kv: Bytes,
    /// Recurrent states that have a place beside the cache, where the engine keeps a pool of them.
    pub states: Option<u64>,
    /// Bytes of one block in the shared pool, on one device.
    pub block_bytes: f64,
    pub blocks: u64,
    /// Tokens of context of a full-length request set that fit: blocks × block size over the KV groups.
    pub kv_tokens: u64,
    /// Blocks without which the engine refuses to start (vLLM: one request of the whole context); 0 where it does not ask.
    pub least_blocks: u64,
    /// Why this launch would be refused; empty when it starts.
    pub refusals: Vec<Refusal>,
}

impl MemoryEstimate {
    /// Requests of `length` tokens (the launch's `max_model_len`) that fit at once. vLLM divides its blocks by those that one
    /// such request takes over all groups of layers.
    pub fn max_concurrency(&self, length: u32) -> f64 {
        match self.least_blocks {
            0 => self.kv_tokens as f64 / f64::from(length.max(1)),
            n => self.blocks as f64 / n as f64,
        }
    }
}

/// KV groups of a hybrid model: (layers a group, groups of full layers, groups of local layers). vLLM lets
/// layers of one kind share block ids within a group of equal size.
pub fn kv_groups(f: &Footprint) -> (f64, f64, f64) {
    (f.pool.group_layers, f.pool.full_groups, f.pool.local_groups)
}

/// Estimates the KV room of one launch.
///
/// Where the command does not tell which sampler is installed, PyTorch's is taken, as the package of those releases has it; a launch
/// that would not start with it and does with FlashInfer's is taken for one that has FlashInfer, and that is told.
pub fn estimate(config: &EngineConfig, hw: &Hardware, model: &Model) -> MemoryEstimate {
    let short = |e: &MemoryEstimate| e.refusals.iter().any(Refusal::of_cache);
    let e = estimate_with(config, hw, model, config.flashinfer_sampler == Some(true));
    if config.flashinfer_sampler.is_some() || !short(&e) {
        return e;
    }
    let mut with = estimate_with(config, hw, model, true);
    if short(&with) {
        return e;
    }
    let sort = Bytes(e.activations.0.saturating_sub(with.activations.0));
    with.refusals.push(Refusal::OnlyWithFlashinfer { sort });
    with
}

fn estimate_with(config: &EngineConfig, hw: &Hardware, model: &Model, flashinfer: bool) -> MemoryEstimate {
    let f = Footprint::new(model, config);
    let device = device_memory(hw).0 as f64;
    let (drafter, drafter_kv) = drafting::memory(config, &f);
    let held = held_bytes(config, hw, model, &f) + drafter;
    // What lies in host memory is read over the link each step; the device holds the rest.
    let weights = (held - config.cpu_offload_bytes).max(0.0);
    let vllm = matches!(config.engine, EngineKind::Vllm | EngineKind::Emulated);
    // Before 0.8 the older engine was the default, whose profiling run samples no full batch.
    let activations = if vllm && config.version >= (0, 8, 0) {
        let reserve = super::reserves::vllm(config, hw, model, &f, flashinfer);
        reserve.activations + reserve.runtime
    } else {
        activation_bytes(config, &f)
    };
    let graphs = graph_bytes(config, &f);
    let (budget, kv) = match config.engine {
        EngineKind::Trtllm => {
            let free = device - weights - activations - graphs - 3.0 * GIB;
            (device, free * config.gpu_memory_utilization)
        }
        EngineKind::Sglang => {
            let budget = device * config.gpu_memory_utilization;
            (budget, budget - weights - outside_of_sglang(config))
        }
        EngineKind::Vllm | EngineKind::Emulated => {
            let budget = device * config.gpu_memory_utilization;
            let counted = if config.version >= (0, 20, 0) { graphs } else { 0.0 };
            (budget, budget - weights - activations - counted)
        }
    };
    // A size given in bytes is taken as it is: nothing is profiled.
    let given = config.kv_cache_bytes.map(|b| (device, (b as f64).min(device - weights - activations)));
    let (budget, kv) = given.unwrap_or((budget, kv));
    // The drafter's cache has a block for each of the model's.
    let kv = kv / (1.0 + drafter_kv);
    let (kv, states) = beside_states(kv, &f);
    let block_bytes = f.pool.token_bytes * f64::from(config.block_size.max(1));
    let estimated = (kv.max(0.0) / block_bytes) as u64;
    let blocks = config.num_kv_blocks.unwrap_or(estimated);
    let pages = (blocks as f64 * f64::from(config.block_size.max(1)) / f.pool.page_tokens).floor();
    let kv_tokens = f.pool.tokens(pages, config) as u64;
    let mut e = MemoryEstimate {
        device: Bytes(device as u64),
        budget: Bytes(budget.max(0.0) as u64),
        weights: Bytes(weights as u64),
        activations: Bytes(activations as u64),
        graphs: Bytes(graphs as u64),
        kv: Bytes(kv.max(0.0) as u64),
        states,
        block_bytes,
        blocks,
        kv_tokens,
        least_blocks: 0,
        refusals: Vec::new(),
    };
    let page_bytes = f.pool.page_tokens * f.pool.token_bytes;
    let mut needed = 1.0;
    if vllm {
        needed = f.pool.pages(f64::from(config.max_model_len), f64::from(config.max_num_batched_tokens));
        e.least_blocks = (needed * page_bytes / block_bytes).ceil() as u64;
    }
    let most = (kv + RESERVE_ERROR * device) / page_bytes;
    e.refusals = refusals(&e, config, hw, model, Shortage { short: pages < needed, certain: most < needed });
    e
}

/// CUDA's context and the collectives, which lie outside of what SGLang counts (`tests/kv-pool-sglang.toml`).
fn outside_of_sglang(config: &EngineConfig) -> f64 {
    if config.tensor_parallel > 1 { 1.3 * GIB } else { 0.7 * GIB }
}

/// What is left of the room for the cache where a pool of recurrent states stands beside it, and how many those are.
fn beside_states(room: f64, f: &Footprint) -> (f64, Option<u64>) {
    let taken = room.max(0.0) * f.pool.state_share;
    let states = (taken > 0.0).then(|| (taken / f.pool.state_bytes.max(1.0)) as u64);
    (room - taken, states)
}

/// Bytes of a rank's weights as this release holds them: later vLLM pads no MXFP4 experts on Hopper (gpt-oss-120b on an H100:
/// 64.4 GiB in 0.11, 61.3 GiB in 0.25; gpt-oss-20b is still padded in 0.19).
///
/// vLLM keeps cosines and sines of every position that the model knows, whole on each rank: 2.5 GiB for the ten million of
/// Llama-4-Scout. Without FP8 in the tensor cores (before Ada) block-wise FP8 weights run in Marlin's layout, whose scales
/// are 16 bits for each column of a block (`prepare_fp8_moe_layer_for_marlin`).
fn held_bytes(config: &EngineConfig, hw: &Hardware, model: &Model, f: &Footprint) -> f64 {
    let vllm = matches!(config.engine, EngineKind::Vllm | EngineKind::Emulated);
    let table = f64::from(model.max_position) * f64::from(model.rest.rotary_dim) * 2.0;
    let marlin = match model.quantisation.format.scheme {
        Scheme::Block(rows, _) if hw.vendor == Vendor::Nvidia && hw.sm.is_some_and(|s| s < 89) => {
            f.rank.weight_bytes * 2.0 / f64::from(rows.max(1))
        }
        _ => 0.0,
    };
    let beside = if vllm { table + marlin } else { 0.0 };
    let hopper = hw.sm.is_some_and(|s| (90..100).contains(&s));
    let padded = super::footprint::padding(model);
    if vllm && hopper && config.version >= (0, 20, 0) && f.precision == Precision::Mxfp4 {
        beside + f.rank.weight_bytes - f.rank.expert_bytes * padded / (1.0 + padded)
    } else {
        beside + f.rank.weight_bytes
    }
}

/// Peak activations of a dummy run at the full token budget, and the logits of a full batch.
fn activation_bytes(config: &EngineConfig, f: &Footprint) -> f64 {
    let tp = f64::from(config.tensor_parallel.max(1));
    let tokens = f64::from(config.max_num_batched_tokens);
    let widest = (f.dense_params / f.layers / f.hidden / 3.0).max(f.hidden);
    // Routed copies of the hidden states.
    let expert_buffers = if f.experts > 0.0 { f.top_k * f.hidden } else { 0.0 };
    let hidden_states = tokens * 2.0 * (4.0 * f.hidden + 2.0 * widest / tp + expert_buffers);
    let logits = f64::from(config.max_num_seqs.min(1024)) * f.vocab * 6.0;
    let runtime = 0.6 * GIB + if tp > 1.0 { 0.9 * GIB } else { 0.0 };
    hidden_states + logits + runtime
}

fn graph_bytes(config: &EngineConfig, f: &Footprint) -> f64 {
    if config.max_graph_size == 0 { 0.0 } else { (0.1 + 0.011 * f.layers) * GIB }
}

/// The KV cache is too small for what the engine asks of it; `certain`: with the reserves at their smallest too.
#[derive(Clone, Copy)]
struct Shortage {
    short: bool,
    certain: bool,
}

fn refusals(
    e: &MemoryEstimate,
    config: &EngineConfig,
    hw: &Hardware,
    model: &Model,
    shortage: Shortage,
) -> Vec<Refusal> {
    let mut out = Vec::new();
    let tensor_parallel = config.tensor_parallel.max(1);
    if !model.q_heads.is_multiple_of(config.attention_tensor()) {
        out.push(Refusal::HeadsDoNotSplit { heads: model.q_heads, tensor_parallel });
    }
    // vLLM's and SGLang's kernels are built from these on (their installation pages); TensorRT-LLM's since Ampere.
    let least = match config.engine {
        EngineKind::Vllm | EngineKind::Emulated => 70,
        EngineKind::Sglang => 75,
        EngineKind::Trtllm => 80,
    };
    if let Some(capability) = hw.sm.filter(|sm| *sm < least) {
        out.push(Refusal::GpuTooOld { engine: config.engine, capability, least });
    }
    let problems = model.division_problems(&super::footprint::division(model, config));
    let of_widths = problems.into_iter().filter(|p| !p.contains("attention heads"));
    out.extend(of_widths.map(|why| Refusal::DoesNotDivide { why }));
    let (max_num_batched_tokens, max_num_seqs) = (config.max_num_batched_tokens, config.max_num_seqs);
    let vllm = matches!(config.engine, EngineKind::Vllm | EngineKind::Emulated);
    if vllm && max_num_batched_tokens < max_num_seqs {
        out.push(Refusal::BudgetBelowSequences { max_num_batched_tokens, max_num_seqs });
    }
    if hw.vendor == Vendor::Cpu || config.num_kv_blocks.is_some() {
        return out;
    }
    let (weights, activations, budget) = (e.weights, e.activations, e.budget);
    let Shortage { short, certain } = shortage;
    if weights.0 >= budget.0 {
        out.push(Refusal::WeightsTooLarge { weights, budget });
    } else if e.blocks == 0 {
        out.push(Refusal::NoKvRoom { weights, activations, budget, certain });
    } else if short && vllm {
        let (max_model_len, kv_tokens) = (config.max_model_len, e.kv_tokens);
        out.push(Refusal::ContextTooLong { max_model_len, kv_tokens, certain });
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn the_estimate_is_near_what_vllm_reported_on_a_4090() {
        // vLLM 0.19.0, Llama-3.1-8B, RTX 4090, 2,048 tokens, 256 sequences: 2,588 blocks of 16.
        let config = EngineConfig { version: (0, 19, 0).into(), ..EngineConfig::default() };
        let e = estimate(&config, &testing::rtx_4090(), &testing::llama_8b());
        assert!((e.blocks as f64 / 2588.0 - 1.0).abs() < 0.15, "{} blocks", e.blocks);
        assert!(e.refusals.is_empty(), "{:?}", e.refusals);
    }

    #[test]
    fn what_cannot_start_says_why() {
        let config = EngineConfig { tensor_parallel: 3, ..EngineConfig::default() };
        let e = estimate(&config, &testing::a100(), &testing::llama_8b());
        assert!(e.refusals.iter().any(|r| matches!(r, Refusal::HeadsDoNotSplit { .. })));
        let small = Hardware { memory_mib: Some(12300), ..testing::rtx_4090() };
        let e = estimate(&EngineConfig::default(), &small, &testing::llama_8b());
        assert!(e.refusals.iter().any(|r| matches!(r, Refusal::WeightsTooLarge { .. })), "{:?}", e.refusals);
    }
}
