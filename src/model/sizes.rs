//! Parameters, weight bytes, KV bytes and expert coverage of a model.
//!
//! Counts omit norms and biases (under 0.1 % of the parameters) and vision towers.

use super::{Mla, Model, Precision};

/// Parameters by part. The whole model, all layers, all experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params {
    /// Input embedding: a gather, so a step reads only the rows of its tokens.
    pub embedding: u64,
    /// Output head; 0 when tied (then a step streams the embedding for its logits).
    pub lm_head: u64,
    pub attention: u64,
    pub dense_ffn: u64,
    pub router: u64,
    /// All routed experts.
    pub experts: u64,
    pub shared_experts: u64,
}

impl Params {
    pub fn total(&self) -> u64 {
        self.embedding
            + self.lm_head
            + self.attention
            + self.dense_ffn
            + self.router
            + self.experts
            + self.shared_experts
    }
}

/// Bytes of KV cache that one more token of context costs, all layers, by kind of layer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct KvPerToken {
    /// Layers that attend to the whole context (for MLA: the compressed latent and rope key).
    pub full: f64,
    /// Local layers: only tokens inside the window are kept and read.
    pub sliding: f64,
    /// Window of the local layers, tokens.
    pub window: Option<u32>,
}

impl KvPerToken {
    /// Bytes held (and read by a decode step) for one sequence of `context` tokens.
    pub fn bytes(&self, context: u64) -> f64 {
        let local = self.window.map_or(context, |w| context.min(w as u64));
        self.full * context as f64 + self.sliding * local as f64
    }
}

impl Model {
    /// Layers whose FFN is a mixture of experts.
    pub fn moe_layers(&self) -> u32 {
        let Some(moe) = &self.moe else { return 0 };
        let every = moe.every.max(1);
        (moe.dense_layers..self.layers).filter(|i| (i + 1) % every == 0).count() as u32
    }

    /// Layers with local attention.
    pub fn sliding_layers(&self) -> u32 {
        self.sliding.as_ref().map_or(0, |s| s.layers.min(self.layers))
    }

    pub fn params(&self) -> Params {
        let (hidden, layers) = (self.hidden as u64, self.layers as u64);
        let matrices = if self.gated_ffn { 3 } else { 2 };
        let moe_layers = self.moe_layers() as u64;
        let embedding = self.vocab as u64 * hidden;
        let mut p = Params {
            embedding,
            lm_head: if self.tied_embeddings { 0 } else { embedding },
            attention: layers * self.attention_params_per_layer(),
            dense_ffn: (layers - moe_layers) * matrices * hidden * self.ffn as u64,
            ..Params::default()
        };
        if let Some(moe) = &self.moe {
            p.router = moe_layers * hidden * moe.experts as u64;
            p.experts = moe_layers * moe.experts as u64 * self.params_per_expert();
            p.shared_experts = moe_layers * matrices * hidden * moe.shared_expert_ffn as u64;
        }
        p
    }

    fn attention_params_per_layer(&self) -> u64 {
        let (hidden, heads) = (self.hidden as u64, self.q_heads as u64);
        let head = self.head_dim as u64;
        self.mla.as_ref().map_or_else(
            || 2 * hidden * heads * head + 2 * hidden * self.kv_heads as u64 * head,
            |m| mla_params(m, hidden, heads),
        )
    }

    /// Parameters of one routed expert of one layer.
    pub fn params_per_expert(&self) -> u64 {
        let matrices = if self.gated_ffn { 3 } else { 2 };
        self.moe.as_ref().map_or(0, |m| matrices * self.hidden as u64 * m.expert_ffn as u64)
    }

    /// Parameters that take part in computing one token: everything but the experts not routed to and the
    /// input embedding of an untied model. Twice this is the token's matrix FLOP without attention scores.
    pub fn params_active(&self) -> u64 {
        let p = self.params();
        let inactive = match &self.moe {
            Some(m) => {
                let idle = m.experts.saturating_sub(m.top_k) as u64;
                self.moe_layers() as u64 * idle * self.params_per_expert()
            }
            None => 0,
        };
        let gather = if self.tied_embeddings { 0 } else { p.embedding };
        p.total() - inactive - gather
    }

    /// Bytes of a parameter of attention projections at this precision. MXFP4 covers only the experts of a
    /// mixture-of-experts model.
    pub fn attention_param_bytes(&self) -> f64 {
        if self.precision == Precision::Mxfp4 && self.moe.is_some() {
            self.precision.unquantised_bytes()
        } else {
            self.precision.bytes()
        }
    }

    /// Bytes of a parameter of the FFN (experts, shared experts, dense) at this precision.
    pub fn ffn_param_bytes(&self) -> f64 {
        self.precision.bytes()
    }

    /// Bytes of weights in memory by part, at this model's precision.
    pub fn weight_parts(&self) -> Params {
        let p = self.params();
        let high = self.precision.unquantised_bytes();
        let bytes = |n: u64, each: f64| (n as f64 * each).round() as u64;
        Params {
            embedding: bytes(p.embedding, high),
            lm_head: bytes(p.lm_head, high),
            attention: bytes(p.attention, self.attention_param_bytes()),
            dense_ffn: bytes(p.dense_ffn, self.ffn_param_bytes()),
            router: bytes(p.router, high),
            experts: bytes(p.experts, self.ffn_param_bytes()),
            shared_experts: bytes(p.shared_experts, self.ffn_param_bytes()),
        }
    }

    /// Bytes of weights in memory over all GPUs: the checkpoint's figure when known, else computed.
    pub fn weight_bytes(&self) -> u64 {
        self.weights_gb.map_or_else(|| self.weight_parts().total(), |gb| (gb * 1e9) as u64)
    }

    /// Bytes of weights that a decode step of few tokens streams besides routed experts: everything but
    /// the experts and, when untied, the input embedding.
    pub fn streamed_bytes_without_experts(&self) -> u64 {
        let w = self.weight_parts();
        let gather = if self.tied_embeddings { 0 } else { w.embedding };
        w.total() - w.experts - gather
    }

    /// Bytes of one routed expert of one layer.
    pub fn expert_bytes(&self) -> f64 {
        self.params_per_expert() as f64 * self.ffn_param_bytes()
    }

    /// Expected number of distinct experts of one layer that `tokens` independent tokens touch, for uniform
    /// routing: E (1 - (1 - k/E)^n). 0 for a dense model.
    pub fn expected_experts(&self, tokens: f64) -> f64 {
        self.moe.as_ref().map_or(0.0, |m| {
            let e = m.experts as f64;
            e * (1.0 - (1.0 - m.top_k as f64 / e).powf(tokens.max(0.0)))
        })
    }

    /// KV bytes a token with `elem_bytes` an element (2 = bf16, 1 = fp8), on one copy of the model.
    pub fn kv_per_token(&self, elem_bytes: f64) -> KvPerToken {
        let local = self.sliding_layers();
        let full = (self.layers - local) as f64;
        let each = match &self.mla {
            Some(m) => (m.kv_lora_rank + m.rope_head_dim) as f64 * elem_bytes,
            None => 2.0 * self.kv_heads as f64 * self.head_dim as f64 * elem_bytes,
        };
        KvPerToken {
            full: full * each,
            sliding: local as f64 * each,
            window: self.sliding.as_ref().filter(|_| local > 0).map(|s| s.window),
        }
    }

    /// Floating-point operations of attention scores and values for one query token and one context token,
    /// over `layers` layers: 2 for QK^T and 2 for PV, times heads and width.
    pub fn attention_flop_per_pair(&self, layers: u32) -> f64 {
        let width = match &self.mla {
            // Absorbed form: latent + rope for scores, latent for values.
            Some(m) => 2.0 * m.kv_lora_rank as f64 + m.rope_head_dim as f64,
            None => 2.0 * self.head_dim as f64,
        };
        2.0 * self.q_heads as f64 * width * layers as f64
    }
}

fn mla_params(m: &Mla, hidden: u64, heads: u64) -> u64 {
    let query = heads * (m.nope_head_dim + m.rope_head_dim) as u64;
    let q = match m.q_lora_rank as u64 {
        0 => hidden * query,
        rank => hidden * rank + rank * query,
    };
    let latent = m.kv_lora_rank as u64;
    let kv =
        hidden * (latent + m.rope_head_dim as u64) + latent * heads * (m.nope_head_dim + m.v_head_dim) as u64;
    q + kv + heads * m.v_head_dim as u64 * hidden
}

#[cfg(test)]
mod tests {
    use crate::model::{Catalog, Precision};

    fn within(got: f64, want: f64, share: f64) {
        assert!((got / want - 1.0).abs() <= share, "{got} is not within {share} of {want}");
    }

    #[test]
    fn parameter_counts_equal_the_published_ones() {
        let c = Catalog::load(None).unwrap();
        for (id, total) in [
            ("meta-llama/Llama-3.1-8B-Instruct", 8_029_995_008.0),
            ("Qwen/Qwen3-8B", 8_190_427_136.0),
            ("Qwen/Qwen3-14B", 14_767_882_240.0),
            ("Qwen/Qwen3-32B", 32_761_446_400.0),
            ("Qwen/Qwen3-30B-A3B", 30_531_911_680.0),
            ("meta-llama/Llama-3.1-70B-Instruct", 70.55e9),
            ("Qwen/Qwen3-235B-A22B", 235.1e9),
            ("zai-org/GLM-4.5-Air", 106.8e9),
            ("deepseek-ai/DeepSeek-R1", 671e9),
            ("google/gemma-3-27b-it", 27_007_991_808.0),
            ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 107_769_364_480.0),
            ("openai/gpt-oss-20b", 20_907_786_240.0),
            ("openai/gpt-oss-120b", 116_788_838_400.0),
        ] {
            within(c.find(id).unwrap().params().total() as f64, total, 0.01);
        }
        let oss = c.find("openai/gpt-oss-120b").unwrap();
        within(oss.params_active() as f64, 5_710_233_600.0 - 201_088.0 * 2880.0, 0.01);
    }

    #[test]
    fn weights_kv_and_experts_follow_the_precision() {
        let c = Catalog::load(None).unwrap();
        let oss = c.find("openai/gpt-oss-20b").unwrap();
        within(oss.weight_bytes() as f64 / f64::from(1 << 30), 12.8, 0.01);
        let kv = oss.kv_per_token(2.0);
        assert_eq!((kv.full, kv.sliding, kv.window), (24576.0, 24576.0, Some(128)));
        assert_eq!(kv.bytes(1000), 24576.0 * 1128.0);
        within(oss.expected_experts(1.0), 4.0, 1e-9);
        within(oss.expected_experts(1e4), 32.0, 1e-9);

        let llama = c.find_as("meta-llama/Llama-3.1-8B-Instruct", Some(Precision::Fp8)).unwrap();
        within(llama.weight_bytes() as f64, 9.1e9, 0.01);
        assert_eq!(llama.kv_per_token(2.0).full, 131072.0);
        assert_eq!(llama.expected_experts(5.0), 0.0);
    }
}
