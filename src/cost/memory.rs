//! KV room and reasons to refuse a launch, from memory arithmetic alone.
//!
//! vLLM and SGLang keep a share of the whole device for weights, activations and KV; TensorRT-LLM a share
//! of what weights and activations leave. What the engine itself reports always wins over this estimate.

use super::footprint::Footprint;
use super::refusal::{RESERVE_ERROR, Refusal};
use crate::engine::EngineConfig;
use crate::engine::resolve::device_memory;
use crate::hardware::{Hardware, Vendor};
use crate::model::Model;
use crate::scenario::EngineKind;
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
    /// Bytes of one block in the shared pool, on one device.
    pub block_bytes: f64,
    pub blocks: u64,
    /// Tokens of context of a full-length request set that fit: blocks × block size over the KV groups.
    pub kv_tokens: u64,
    /// Why this launch would be refused; empty when it starts.
    pub refusals: Vec<Refusal>,
}

/// KV groups of a hybrid model: (layers a group, groups of full layers, groups of local layers). vLLM lets
/// layers of one kind share block ids within a group of equal size.
pub fn kv_groups(f: &Footprint) -> (f64, f64, f64) {
    if f.local_layers <= 0.0 || f.full_layers <= 0.0 {
        return (f.full_layers + f.local_layers, 1.0, 0.0);
    }
    let (few, many) = (f.full_layers.min(f.local_layers), f.full_layers.max(f.local_layers));
    let size = if many < 1.5 * few { many } else { few };
    (size, (f.full_layers / size).ceil(), (f.local_layers / size).ceil())
}

/// Estimates the KV room of one launch.
pub fn estimate(config: &EngineConfig, hw: &Hardware, model: &Model) -> MemoryEstimate {
    let f = Footprint::new(model, config);
    let ranks = f64::from(config.tensor_parallel.max(1) * config.pipeline_parallel.max(1));
    let device = device_memory(hw).0 as f64;
    let experts = f.expert_bytes * f.experts * f.moe_layers;
    let weights = (f.weight_bytes - experts + experts / f.expert_ranks(config)) / ranks;
    let activations = activation_bytes(config, &f);
    let graphs = graph_bytes(config, &f);
    let (budget, kv) = match config.engine {
        EngineKind::Trtllm => {
            let free = device - weights - activations - graphs - 3.0 * GIB;
            (device, free * config.gpu_memory_utilization)
        }
        EngineKind::Sglang => {
            let budget = device * config.gpu_memory_utilization;
            (budget, budget - weights - 0.5 * GIB)
        }
        EngineKind::Vllm | EngineKind::Emulated => {
            let budget = device * config.gpu_memory_utilization;
            let counted = if config.version >= (0, 21, 0) { graphs } else { 0.0 };
            (budget, budget - weights - activations - counted)
        }
    };
    let (group, full_groups, local_groups) = kv_groups(&f);
    let sharded = f64::from(config.tensor_parallel.min(f.kv_shards).max(1));
    let stage_layers = group / f64::from(config.pipeline_parallel.max(1));
    let block_bytes = f.kv_bytes_layer / sharded * stage_layers * f64::from(config.block_size);
    let estimated = (kv.max(0.0) / block_bytes) as u64;
    let blocks = config.num_kv_blocks.unwrap_or(estimated);
    // A long request holds blocks of the full groups for its whole length, of the local ones for a window.
    let window = local_groups * f64::from(f.window.unwrap_or(0).div_ceil(config.block_size) + 1);
    let long = (blocks as f64 - window).max(0.0) / full_groups.max(1.0);
    let kv_tokens = (long * f64::from(config.block_size)) as u64;
    let mut e = MemoryEstimate {
        device: Bytes(device as u64),
        budget: Bytes(budget.max(0.0) as u64),
        weights: Bytes(weights as u64),
        activations: Bytes(activations as u64),
        graphs: Bytes(graphs as u64),
        kv: Bytes(kv.max(0.0) as u64),
        block_bytes,
        blocks,
        kv_tokens,
        refusals: Vec::new(),
    };
    e.refusals = refusals(&e, config, hw, model);
    e
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
    if config.max_graph_size == 0 { 0.0 } else { (0.2 + 0.012 * f.layers) * GIB }
}

fn refusals(e: &MemoryEstimate, config: &EngineConfig, hw: &Hardware, model: &Model) -> Vec<Refusal> {
    let mut out = Vec::new();
    let tensor_parallel = config.tensor_parallel.max(1);
    if !model.q_heads.is_multiple_of(tensor_parallel) {
        out.push(Refusal::HeadsDoNotSplit { heads: model.q_heads, tensor_parallel });
    }
    let (max_num_batched_tokens, max_num_seqs) = (config.max_num_batched_tokens, config.max_num_seqs);
    let vllm = matches!(config.engine, EngineKind::Vllm | EngineKind::Emulated);
    if vllm && max_num_batched_tokens < max_num_seqs {
        out.push(Refusal::BudgetBelowSequences { max_num_batched_tokens, max_num_seqs });
    }
    if hw.vendor == Vendor::Cpu || config.num_kv_blocks.is_some() {
        return out;
    }
    let (weights, activations, budget) = (e.weights, e.activations, e.budget);
    if weights.0 >= budget.0 {
        out.push(Refusal::WeightsTooLarge { weights, budget });
    } else if e.blocks == 0 {
        out.push(Refusal::NoKvRoom { weights, activations, budget });
    } else if e.kv_tokens < u64::from(config.max_model_len) && vllm {
        let kv = e.kv.0 as f64;
        let more = (kv + RESERVE_ERROR * e.device.0 as f64) / kv.max(1.0);
        let at_most = (e.kv_tokens as f64 * more) as u64;
        let (max_model_len, kv_tokens) = (config.max_model_len, e.kv_tokens);
        out.push(Refusal::ContextTooLong { max_model_len, kv_tokens, at_most });
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
    fn hybrid_layers_share_blocks_in_groups() {
        let f = Footprint::new(&testing::gpt_oss_20b(), &EngineConfig::default());
        assert_eq!(kv_groups(&f), (12.0, 1.0, 1.0));
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
