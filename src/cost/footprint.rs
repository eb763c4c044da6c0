//! What a model costs by its architecture alone: parameters, bytes, FLOPs and KV by token.

use crate::engine::EngineConfig;
use crate::hardware::Hardware;
use crate::model::{Model, Precision};

/// Bytes a parameter takes in memory, scales of quantised formats included.
pub fn bytes_per_param(p: Precision) -> f64 {
    match p {
        Precision::Fp32 => 4.0,
        Precision::Bf16 | Precision::Fp16 => 2.0,
        Precision::Fp8 | Precision::Int8 => 1.0,
        // 4 bits and a 16-bit scale (and zero point) for every 128 (int4), an 8-bit scale for every 32
        // (MXFP4) or 16 (NVFP4).
        Precision::Int4 => 0.52,
        Precision::Mxfp4 | Precision::Fp4 => 0.53125,
        Precision::Nvfp4 => 0.5625,
    }
}

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
    pub head_params: f64,
    pub embed_params: f64,
    /// Parameters of one routed expert of one layer; 0 for a dense model.
    pub expert_params: f64,
    pub experts: f64,
    pub top_k: f64,
    pub dense_bytes_per_param: f64,
    pub expert_bytes_per_param: f64,
    pub other_bytes_per_param: f64,
    /// KV bytes a token and layer, on all devices together (replication not counted).
    pub kv_bytes_layer: f64,
    /// Ways in which KV heads can be split over devices (1 for MLA).
    pub kv_shards: u32,
    /// FLOPs for one query token attending to one context token in one layer.
    pub attn_flops: f64,
    pub q_heads: f64,
    pub head_dim: f64,
    /// Arithmetic precision of the matrix products.
    pub dense_math: Precision,
    pub expert_math: Precision,
    pub vocab: f64,
}

impl Footprint {
    pub fn new(m: &Model, config: &EngineConfig) -> Footprint {
        let precision = config.weights.unwrap_or(m.precision);
        let h = f64::from(m.hidden);
        let layers = f64::from(m.layers);
        let gate = if m.gated_ffn { 3.0 } else { 2.0 };
        let attention = attention_params(m);
        let moe_layers = m.moe.as_ref().map_or(0.0, |x| {
            let behind = m.layers.saturating_sub(x.dense_layers);
            f64::from(behind.div_ceil(x.every.max(1)))
        });
        let dense_ffn = gate * h * f64::from(m.ffn) * (layers - moe_layers);
        let (expert_params, experts, top_k, shared) = m.moe.as_ref().map_or((0.0, 0.0, 0.0, 0.0), |x| {
            let shared = gate * h * f64::from(x.shared_expert_ffn) + h * f64::from(x.experts);
            (
                gate * h * f64::from(x.expert_ffn),
                f64::from(x.experts),
                f64::from(x.top_k),
                shared * moe_layers,
            )
        });
        let (dense_p, expert_p) = split_precision(precision, m.moe.is_some());
        let (local, window) =
            m.sliding.as_ref().map_or((0.0, None), |s| (f64::from(s.layers.min(m.layers)), Some(s.window)));
        let (kv_elems, kv_shards, attn_flops) = kv_shape(m);
        Footprint {
            layers,
            moe_layers,
            full_layers: layers - local,
            local_layers: local,
            window,
            hidden: h,
            dense_params: attention * layers + dense_ffn + shared,
            head_params: h * f64::from(m.vocab),
            embed_params: if m.tied_embeddings { 0.0 } else { h * f64::from(m.vocab) },
            expert_params,
            experts,
            top_k,
            dense_bytes_per_param: bytes_per_param(dense_p),
            expert_bytes_per_param: bytes_per_param(expert_p),
            other_bytes_per_param: bytes_per_param(m.precision).clamp(2.0, 4.0),
            kv_bytes_layer: kv_elems * config.kv_elem_bytes,
            kv_shards,
            attn_flops,
            q_heads: f64::from(m.q_heads),
            head_dim: f64::from(m.head_dim),
            dense_math: dense_p,
            expert_math: expert_p,
            vocab: f64::from(m.vocab),
        }
    }

    /// Bytes of all weights. Uses the checkpoint's own size when it is known and not overridden.
    pub fn weight_bytes(&self, m: &Model, config: &EngineConfig) -> f64 {
        let computed = self.dense_params * self.dense_bytes_per_param
            + self.expert_params * self.experts * self.moe_layers * self.expert_bytes_per_param
            + (self.head_params + self.embed_params) * self.other_bytes_per_param;
        match (m.weights_gb, config.weights) {
            (Some(gb), None) => gb * 1e9,
            _ => computed,
        }
    }

    /// Expected number of distinct experts of one layer that `tokens` tokens reach under even routing:
    /// `E (1 - (1 - k/E)^tokens)`.
    pub fn experts_touched(&self, tokens: f64) -> f64 {
        if self.experts <= 0.0 {
            return 0.0;
        }
        self.experts * (1.0 - (tokens * (1.0 - self.top_k / self.experts).max(1e-12).ln()).exp())
    }

    /// KV bytes a token of context takes in all layers that keep it (windows not applied).
    pub fn kv_bytes_token(&self) -> f64 {
        self.kv_bytes_layer * self.layers
    }

    /// FLOPs that one token costs outside attention scores and the head.
    pub fn flops_token(&self) -> f64 {
        2.0 * (self.dense_params + self.expert_params * self.top_k * self.moe_layers)
    }
}

/// Which parts a quantised format covers: MXFP4 (gpt-oss) leaves everything but the experts in bf16.
fn split_precision(p: Precision, moe: bool) -> (Precision, Precision) {
    match p {
        Precision::Mxfp4 if moe => (Precision::Bf16, Precision::Mxfp4),
        p => (p, p),
    }
}

fn attention_params(m: &Model) -> f64 {
    let h = f64::from(m.hidden);
    let heads = f64::from(m.q_heads);
    match &m.mla {
        Some(a) => {
            let (rank, rope) = (f64::from(a.kv_lora_rank), f64::from(a.rope_head_dim));
            let (nope, v) = (or(a.nope_head_dim, 128), or(a.v_head_dim, 128));
            let q = if a.q_lora_rank > 0 {
                h * f64::from(a.q_lora_rank) + f64::from(a.q_lora_rank) * heads * (nope + rope)
            } else {
                h * heads * (nope + rope)
            };
            q + h * (rank + rope) + rank * heads * (nope + v) + heads * v * h
        }
        None => {
            let d = f64::from(m.head_dim);
            2.0 * h * heads * d + 2.0 * h * f64::from(m.kv_heads) * d
        }
    }
}

fn or(v: u32, default: u32) -> f64 {
    f64::from(if v == 0 { default } else { v })
}

/// (KV elements a token and layer, ways to shard them, attention FLOPs a query-context pair and layer).
fn kv_shape(m: &Model) -> (f64, u32, f64) {
    let heads = f64::from(m.q_heads);
    match &m.mla {
        Some(a) => {
            // Absorbed form: scores over rank + rope, values over rank.
            let (rank, rope) = (f64::from(a.kv_lora_rank), f64::from(a.rope_head_dim));
            (rank + rope, 1, 2.0 * heads * (2.0 * rank + rope))
        }
        None => {
            let d = f64::from(m.head_dim);
            (2.0 * f64::from(m.kv_heads) * d, m.kv_heads.max(1), 4.0 * heads * d)
        }
    }
}

/// Peak FLOP/s of one device for products in this precision. Formats without native arithmetic on the
/// part are dequantised and run at the bf16 rate.
pub fn peak_flops(hw: &Hardware, p: Precision) -> f64 {
    let bf16 = hw.bf16_tflops;
    let tflops = match p {
        Precision::Fp32 => bf16 / 2.0,
        Precision::Bf16 | Precision::Fp16 | Precision::Int4 | Precision::Mxfp4 => bf16,
        Precision::Fp8 => hw.fp8_tflops.unwrap_or(bf16),
        Precision::Int8 => hw.int8_tops.unwrap_or(bf16),
        Precision::Nvfp4 | Precision::Fp4 => hw.fp4_tflops.unwrap_or(bf16),
    };
    tflops * 1e12
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn parameters_match_the_published_counts() {
        let f = Footprint::new(&testing::llama_8b(), &EngineConfig::default());
        let total = f.dense_params + f.head_params + f.embed_params;
        assert!((total / 8.03e9 - 1.0).abs() < 0.002, "{total}");
        assert!((f.kv_bytes_token() - 131072.0).abs() < 1e-6);
        let m = testing::gpt_oss_20b();
        let f = Footprint::new(&m, &EngineConfig::default());
        let total =
            f.dense_params + f.head_params + f.embed_params + f.expert_params * f.experts * f.moe_layers;
        assert!((total / 20.91e9 - 1.0).abs() < 0.003, "{total}");
        assert!((f.weight_bytes(&m, &EngineConfig::default()) / (12.8 * 1.0737e9) - 1.0).abs() < 0.05);
    }

    #[test]
    fn distinct_experts_grow_to_all_of_them() {
        let f = Footprint::new(&testing::gpt_oss_20b(), &EngineConfig::default());
        assert!((f.experts_touched(1.0) - 4.0).abs() < 1e-9);
        assert!(f.experts_touched(2.0) < 8.0 && f.experts_touched(2.0) > 7.0);
        assert!((f.experts_touched(1e4) - 32.0).abs() < 1e-6);
    }
}
