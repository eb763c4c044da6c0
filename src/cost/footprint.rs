//! What a launch costs by its architecture alone: parameters, bytes, FLOPs and KV by token, as the step
//! model needs them. Counts come from [`Model`]; here they are split by how a step uses them.

use super::pool::KvPool;
use crate::engine::EngineConfig;
use crate::hardware::Hardware;
use crate::launch::EngineKind;
use crate::model::{Division, Model, Precision, RankShare};

/// Totals over all layers and all devices; every field is per model, not per device.
#[derive(Debug, Clone, PartialEq)]
pub struct Footprint {
    pub layers: f64,
    pub moe_layers: f64,
    /// Layers that attend to the whole context, and those with a window.
    pub full_layers: f64,
    pub local_layers: f64,
    pub window: Option<u32>,
    pub hidden: f64,
    /// Parameters every token passes through (attention, dense FFN, shared experts, router), without head.
    pub dense_params: f64,
    pub dense_bytes: f64,
    /// Of these, attention and recurrent mixers.
    pub attention_bytes: f64,
    pub head_params: f64,
    pub head_bytes: f64,
    /// Parameters and bytes of one routed expert of one layer; 0 for a dense model.
    pub expert_params: f64,
    pub expert_bytes: f64,
    pub experts: f64,
    pub top_k: f64,
    /// Bytes of all weights in memory.
    pub weight_bytes: f64,
    /// KV bytes a token and layer, on all devices together (replication not counted).
    pub kv_bytes_layer: f64,
    /// Ways in which KV heads can be split over devices (1 for MLA).
    pub kv_shards: u32,
    /// How the engine cuts its KV memory into pages.
    pub pool: KvPool,
    /// What one rank holds.
    pub rank: RankShare,
    /// FLOPs for one query token attending to one context token in one layer, decode form; the mean over layers.
    pub attn_flops: f64,
    /// FLOPs for one query token and one context token, summed over the (full, local) layers, in the form that
    /// decode steps take (MLA absorbed) and that prompts take (MLA expanded by head).
    pub decode_flops_pair: (f64, f64),
    pub prefill_flops_pair: (f64, f64),
    /// KV bytes a token of context, summed over the (full, local) layers; indexes of sparse attention included.
    pub kv_bytes: (f64, f64),
    /// Layers with a recurrent or convolution state, its bytes a sequence over all of them (read and written by
    /// every step), and the FLOPs of its update a token beside the projections.
    pub state_layers: f64,
    pub state_bytes: f64,
    pub state_flops_token: f64,
    /// Most context tokens that a query attends to where attention is sparse (index top-k).
    pub sparse_top_k: Option<u32>,
    pub head_dim: f64,
    /// Precision of the covered weights.
    pub precision: Precision,
    pub vocab: f64,
}

impl Footprint {
    pub fn new(model: &Model, config: &EngineConfig) -> Footprint {
        let m = &with_precision(model, config);
        let (p, w) = (m.params(), m.weight_parts());
        let head_is_embedding = p.lm_head == 0;
        let f = |n: u64| n as f64;
        let kv = m.kv_per_token(config.kv_elem_bytes);
        let (full, local) = (f64::from(m.full_layers()), f64::from(m.sliding_layers()));
        let attending = (full + local).max(1.0);
        let decode = m.decode_flop_per_pair();
        let attention = m.attentions().max_by_key(|(n, a)| n * u32::from(!a.shares_kv)).map(|(_, a)| a);
        let experts = m.expert_layers().next().map(|(_, e)| e);
        let padding = padding(m);
        let mut rank = m.rank_share(&division(m, config), config.kv_elem_bytes, 2.0);
        rank.weight_bytes += rank.expert_bytes * padding;
        rank.expert_bytes *= 1.0 + padding;
        Footprint {
            pool: KvPool::new(m, config),
            rank,
            layers: f64::from(m.layers),
            moe_layers: f64::from(m.moe_layers()),
            full_layers: full,
            local_layers: local,
            window: kv.window,
            hidden: f64::from(m.hidden),
            dense_params: f(p.attention + p.state + p.dense_ffn + p.router + p.shared_experts),
            attention_bytes: f(w.attention + w.state),
            dense_bytes: f(w.attention + w.state + w.dense_ffn + w.router + w.shared_experts),
            head_params: f(if head_is_embedding { p.embedding } else { p.lm_head }),
            head_bytes: f(if head_is_embedding { w.embedding } else { w.lm_head }),
            expert_params: f(m.params_per_expert()),
            expert_bytes: m.expert_bytes(),
            experts: experts.map_or(0.0, |e| f64::from(e.count)),
            top_k: experts.map_or(0.0, |e| f64::from(e.top_k)),
            weight_bytes: m.weight_bytes() as f64 + padding * w.experts as f64,
            kv_bytes_layer: (kv.full + kv.sliding) / attending,
            kv_shards: attention.map_or(1, crate::model::Attention::kv_shards),
            attn_flops: (decode.0 + decode.1) / attending,
            decode_flops_pair: decode,
            prefill_flops_pair: m.prefill_flop_per_pair(),
            kv_bytes: (kv.full, kv.sliding),
            state_layers: f64::from(m.state_layers()),
            state_bytes: m.state_bytes(2.0),
            state_flops_token: m
                .runs()
                .map(|(n, l)| f64::from(n) * l.state.map_or(0.0, |s| s.flop_per_token()))
                .sum(),
            sparse_top_k: attention.and_then(|a| a.indexer).map(|i| i.top_k),
            head_dim: f64::from(m.head_dim),
            precision: m.precision,
            vocab: f64::from(m.vocab),
        }
    }

    /// KV bytes a token of context takes in all layers (windows not applied).
    pub fn kv_bytes_token(&self) -> f64 {
        self.kv_bytes.0 + self.kv_bytes.1
    }

    /// Data-parallel ranks over which the experts are spread: vLLM's ranks of a mixture-of-experts model each
    /// hold a part of them and step together; replicas elsewhere hold all.
    pub fn expert_ranks(&self, config: &EngineConfig) -> f64 {
        let together = matches!(config.engine, EngineKind::Vllm | EngineKind::Emulated);
        if self.experts > 0.0 && together { f64::from(config.data_parallel.max(1)) } else { 1.0 }
    }

    /// Bytes of dense layers that one device reads a step: ranks of data-parallel attention each read attention whole.
    pub fn dense_bytes_rank(&self, config: &EngineConfig) -> f64 {
        let tensor = f64::from(config.tensor_parallel.max(1));
        let copies = tensor / f64::from(config.attention_tensor());
        (self.dense_bytes + self.attention_bytes * (copies - 1.0)) / tensor
    }

    /// FLOPs that one token costs outside attention scores and the head.
    pub fn flops_token(&self) -> f64 {
        2.0 * (self.dense_params + self.expert_params * self.top_k * self.moe_layers)
    }

    /// Peak FLOP/s of one device for the matrix products of (dense layers, experts). Formats without native
    /// arithmetic on the part are dequantised and run at the 16-bit rate.
    pub fn peaks(&self, hw: &Hardware) -> (f64, f64) {
        let covered = hw.tflops(self.precision.compute_bits()) * 1e12;
        let bf16 = hw.bf16_tflops * 1e12;
        // MXFP4 covers the experts alone and leaves the rest in bf16.
        let dense = if self.precision == Precision::Mxfp4 { bf16 } else { covered };
        (dense, covered)
    }
}

/// Kernels for MXFP4 experts take widths in multiples of 256: 2880 becomes 3072 in memory. The share that this adds.
pub(super) fn padding(m: &Model) -> f64 {
    if m.precision != Precision::Mxfp4 || m.hidden == 0 {
        return 0.0;
    }
    f64::from(m.hidden.next_multiple_of(256)) / f64::from(m.hidden) - 1.0
}

/// How a launch divides one copy of the model over its ranks.
pub(super) fn division(model: &Model, config: &EngineConfig) -> Division {
    let tensor = config.tensor_parallel.max(1);
    let together = matches!(config.engine, EngineKind::Vllm | EngineKind::Emulated);
    let data = if together && model.moe.is_some() { config.data_parallel.max(1) } else { 1 };
    Division {
        pipeline: config.pipeline_parallel.max(1),
        experts: tensor * data,
        experts_whole: config.expert_parallel,
        attention: config.attention_tensor(),
        ..Division::tensor(tensor)
    }
}

/// The model at the precision that the launch asks for, and without its towers where it serves text alone.
fn with_precision(model: &Model, config: &EngineConfig) -> Model {
    let mut out = match config.weights {
        Some(p) if p != model.precision => model.clone().at_precision(Some(p)),
        _ => model.clone(),
    };
    if config.text_only && out.rest.towers > 0 {
        let whole = out.weight_parts().with_towers().max(1) as f64;
        out.rest.towers = 0;
        let left = out.weight_parts().with_towers() as f64;
        out.weights_gb = out.weights_gb.map(|gb| gb * left / whole);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn the_parts_add_up_to_the_published_counts() {
        let f = Footprint::new(&testing::llama_8b(), &EngineConfig::default());
        assert!(((f.dense_params + 2.0 * f.head_params) / 8.03e9 - 1.0).abs() < 0.002);
        assert!((f.kv_bytes_token() - 131072.0).abs() < 1e-6);
        let m = testing::gpt_oss_20b();
        let f = Footprint::new(&m, &EngineConfig::default());
        let total = f.dense_params + 2.0 * f.head_params + f.expert_params * f.experts * f.moe_layers;
        assert!((total / 20.91e9 - 1.0).abs() < 0.003, "{total}");
        let (dense, experts) = f.peaks(&testing::a100());
        assert_eq!((dense, experts), (312e12, 312e12));
    }

    #[test]
    fn a_quantised_launch_reads_fewer_bytes_and_computes_faster() {
        let fp8 = EngineConfig { weights: Some(Precision::Fp8), ..EngineConfig::default() };
        let (a, b) = (
            Footprint::new(&testing::llama_8b(), &EngineConfig::default()),
            Footprint::new(&testing::llama_8b(), &fp8),
        );
        assert!((a.dense_bytes / b.dense_bytes - 2.0).abs() < 1e-9);
        assert_eq!(a.head_bytes, b.head_bytes);
        assert!(b.peaks(&testing::rtx_4090()).0 > a.peaks(&testing::rtx_4090()).0);
    }
}
