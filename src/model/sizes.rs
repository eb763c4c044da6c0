//! Parameters, weight bytes, KV bytes and states of a model: sums over its layers.

use super::layer::{Attention, Experts, Layer, Span};
use super::quantisation::Parts;
use super::{Model, Precision, Quantisation};

/// Parameters (or their bytes) by part. The whole model, all layers, all experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Params {
    /// Input embedding: a gather, so a step reads only the rows of its tokens.
    pub embedding: u64,
    /// Output head; 0 when tied (then a step streams the embedding for its logits).
    pub lm_head: u64,
    /// Embeddings by layer: a gather, like the input embedding.
    pub per_layer_embedding: u64,
    pub attention: u64,
    /// Mixers with a state: Mamba, gated delta, short convolutions.
    pub state: u64,
    pub dense_ffn: u64,
    pub router: u64,
    /// All routed experts.
    pub experts: u64,
    pub shared_experts: u64,
    /// Norms, biases, projections between parts.
    pub other: u64,
    /// Vision and audio towers: in memory, not in the language model.
    pub towers: u64,
}

impl Params {
    /// The language model; towers and layers for multi-token prediction stand apart.
    pub fn total(&self) -> u64 {
        self.embedding
            + self.lm_head
            + self.per_layer_embedding
            + self.attention
            + self.state
            + self.dense_ffn
            + self.router
            + self.experts
            + self.shared_experts
            + self.other
    }

    /// What an engine loads: the language model and its towers.
    pub fn with_towers(&self) -> u64 {
        self.total() + self.towers
    }
}

/// Bytes of KV cache that one more token of context costs, all layers, by kind of layer.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct KvPerToken {
    /// Layers that attend to the whole context (for MLA: the compressed latent and rope key; indexes included).
    pub full: f64,
    /// Local layers: only tokens inside the window are kept and read.
    pub sliding: f64,
    /// Window of the local layers, tokens; the widest where they differ.
    pub window: Option<u32>,
}

impl KvPerToken {
    /// Bytes held (and read by a decode step) for one sequence of `context` tokens.
    pub fn bytes(&self, context: u64) -> f64 {
        let local = self.window.map_or(context, |w| context.min(w as u64));
        self.full * context as f64 + self.sliding * local as f64
    }

    fn add(&mut self, a: &Attention, layers: f64, elem_bytes: f64) {
        let bytes = layers * a.kv_bytes(elem_bytes);
        match a.span {
            Span::Full => self.full += bytes,
            Span::Window(w) if bytes > 0.0 => {
                self.sliding += bytes;
                self.window = self.window.max(Some(w));
            }
            Span::Window(_) => {}
        }
    }
}

impl Model {
    /// Each kind of layer with how many of it stand in a row.
    pub fn runs(&self) -> impl Iterator<Item = (u32, &Layer)> {
        self.stack.iter().map(|r| (r.count, &r.layer))
    }

    /// Attention layers with how many of each stand in a row; layers without attention are left out.
    pub fn attentions(&self) -> impl Iterator<Item = (u32, &Attention)> {
        self.runs().filter_map(|(n, l)| Some((n, l.attention.as_ref()?)))
    }

    /// Mixtures of experts with how many of each stand in a row.
    pub fn expert_layers(&self) -> impl Iterator<Item = (u32, &Experts)> {
        self.runs().filter_map(|(n, l)| Some((n, l.experts.as_ref()?)))
    }

    fn count(&self, has: impl Fn(&Layer) -> bool) -> u32 {
        self.runs().filter(|(_, l)| has(l)).map(|(n, _)| n).sum()
    }

    /// Layers with a mixture of experts.
    pub fn moe_layers(&self) -> u32 {
        self.count(|l| l.experts.is_some())
    }

    /// Layers with local attention.
    pub fn sliding_layers(&self) -> u32 {
        self.count(|l| l.attention.as_ref().is_some_and(|a| matches!(a.span, Span::Window(_))))
    }

    /// Layers that attend to the whole context.
    pub fn full_layers(&self) -> u32 {
        self.count(|l| l.attention.as_ref().is_some_and(|a| a.span == Span::Full))
    }

    /// Layers that keep a state of fixed size a sequence.
    pub fn state_layers(&self) -> u32 {
        self.count(|l| l.state.is_some())
    }

    pub fn params(&self) -> Params {
        let r = &self.rest;
        let mut p = Params {
            embedding: r.embedding,
            lm_head: r.lm_head,
            per_layer_embedding: r.per_layer_embedding,
            other: r.other,
            towers: r.towers,
            ..Params::default()
        };
        for (n, l) in self.runs() {
            let n = u64::from(n);
            p.attention += n * l.attention.as_ref().map_or(0, |a| a.params.total());
            p.state += n * l.state.map_or(0, |s| s.params);
            p.dense_ffn += n * l.dense.map_or(0, |d| d.params);
            p.other += n * l.other_params;
            if let Some(e) = &l.experts {
                p.router += n * e.router_params;
                p.experts += n * u64::from(e.count) * e.params_each;
                p.shared_experts += n * e.shared_params;
            }
        }
        p
    }

    /// Parameters of layers for multi-token prediction, which stand beside [`Model::params`]: loaded only for
    /// speculative decoding.
    pub fn mtp_params(&self) -> u64 {
        self.rest.mtp
    }

    /// Parameters of one routed expert of one layer; of the largest, where layers differ.
    pub fn params_per_expert(&self) -> u64 {
        self.expert_layers().map(|(_, e)| e.params_each).max().unwrap_or(0)
    }

    /// Parameters that take part in computing one token: everything but the experts not routed to, embeddings by
    /// layer and the input embedding of an untied model. Twice this is the token's matrix FLOP without attention scores.
    pub fn params_active(&self) -> u64 {
        let p = self.params();
        let idle: u64 = self
            .expert_layers()
            .map(|(n, e)| u64::from(n) * u64::from(e.count.saturating_sub(e.top_k)) * e.params_each)
            .sum();
        let gather = if p.lm_head == 0 { 0 } else { p.embedding };
        p.total() - idle - gather - p.per_layer_embedding
    }

    /// Bytes a parameter, by part, under this model's quantisation.
    pub fn part_bytes(&self) -> Parts<f64> {
        self.quantisation.bytes()
    }

    /// Bytes of weights in memory by part.
    pub fn weight_parts(&self) -> Params {
        let (p, each) = (self.params(), self.part_bytes());
        let bytes = |n: u64, each: f64| (n as f64 * each).round() as u64;
        Params {
            embedding: bytes(p.embedding, each.embedding),
            lm_head: bytes(p.lm_head, each.lm_head),
            per_layer_embedding: bytes(p.per_layer_embedding, each.embedding),
            attention: bytes(p.attention, each.attention),
            state: bytes(p.state, each.state),
            dense_ffn: bytes(p.dense_ffn, each.dense_ffn),
            router: bytes(p.router, each.router),
            experts: bytes(p.experts, each.experts),
            shared_experts: bytes(p.shared_experts, each.shared_experts),
            other: bytes(p.other, each.other),
            towers: bytes(p.towers, each.towers),
        }
    }

    /// Bytes of weights over all GPUs, towers included: the checkpoint's figure when known, else computed.
    pub fn weight_bytes(&self) -> u64 {
        self.weights_gb.map_or_else(|| self.weight_parts().with_towers(), |gb| (gb * 1e9) as u64)
    }

    /// Bytes of weights that a decode step of few tokens streams besides routed experts: everything but
    /// the experts, towers, embeddings by layer and, when untied, the input embedding.
    pub fn streamed_bytes_without_experts(&self) -> u64 {
        let w = self.weight_parts();
        let gather = if w.lm_head == 0 { 0 } else { w.embedding };
        w.total() - w.experts - gather - w.per_layer_embedding
    }

    /// Bytes of one routed expert of one layer.
    pub fn expert_bytes(&self) -> f64 {
        self.params_per_expert() as f64 * self.part_bytes().experts
    }

    /// Expected number of distinct experts of one layer that `tokens` independent tokens touch, for uniform
    /// routing: E (1 - (1 - k/E)^n). 0 for a dense model.
    pub fn expected_experts(&self, tokens: f64) -> f64 {
        self.expert_layers().next().map_or(0.0, |(_, e)| e.expected(tokens))
    }

    /// KV bytes a token with `elem_bytes` an element (2 = bf16, 1 = fp8), on one copy of the model.
    pub fn kv_per_token(&self, elem_bytes: f64) -> KvPerToken {
        let mut out = KvPerToken::default();
        for (n, a) in self.attentions() {
            out.add(a, f64::from(n), elem_bytes);
        }
        out
    }

    /// KV bytes held for one sequence of `context` tokens, each layer with its own window.
    pub fn kv_bytes(&self, context: u64, elem_bytes: f64) -> f64 {
        self.attentions().map(|(n, a)| f64::from(n) * a.kv_bytes(elem_bytes) * a.kept(context) as f64).sum()
    }

    /// Bytes of recurrent and convolution state a sequence, all layers, on one copy of the model; 0 for a
    /// model that only attends. `elem_bytes` where the config names no type for the state.
    pub fn state_bytes(&self, elem_bytes: f64) -> f64 {
        let all = self.runs().filter_map(|(n, l)| Some(f64::from(n) * l.state?.bytes(elem_bytes)));
        all.fold(0.0, |sum, bytes| sum + bytes)
    }

    /// Floating-point operations of attention for one query token and one context token, summed over the layers
    /// of each span: (full, local). Decode form for MLA.
    pub fn decode_flop_per_pair(&self) -> (f64, f64) {
        self.flop_per_pair(Attention::decode_flop_per_pair)
    }

    /// As [`Model::decode_flop_per_pair`], in the form that prompts take (MLA expanded by head).
    pub fn prefill_flop_per_pair(&self) -> (f64, f64) {
        self.flop_per_pair(Attention::prefill_flop_per_pair)
    }

    fn flop_per_pair(&self, of: impl Fn(&Attention) -> f64) -> (f64, f64) {
        let mut out = (0.0, 0.0);
        for (n, a) in self.attentions() {
            match a.span {
                Span::Full => out.0 += f64::from(n) * of(a),
                Span::Window(_) => out.1 += f64::from(n) * of(a),
            }
        }
        out
    }

    /// This model with its weights in another precision, as that precision covers a model by default. "fp4" of a
    /// model published in MXFP4 or NVFP4 means that format.
    pub fn at_precision(mut self, precision: Option<Precision>) -> Model {
        let wanted = match (precision, self.precision) {
            (Some(Precision::Fp4 | Precision::Nvfp4), Precision::Mxfp4) => Precision::Mxfp4,
            (Some(Precision::Fp4), Precision::Nvfp4) => Precision::Nvfp4,
            (wanted, own) => wanted.unwrap_or(own),
        };
        if wanted != self.precision {
            self.precision = wanted;
            self.quantisation = Quantisation::of(wanted);
            self.weights_gb = None;
        }
        self
    }
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
            ("meta-llama/Llama-3.1-8B-Instruct", 8_030_261_248.0),
            ("Qwen/Qwen3-8B", 8_190_735_360.0),
            ("Qwen/Qwen3-14B", 14_768_307_200.0),
            ("Qwen/Qwen3-32B", 32_762_123_264.0),
            ("Qwen/Qwen3-30B-A3B", 30_532_122_624.0),
            ("meta-llama/Llama-3.1-70B-Instruct", 70.553e9),
            ("Qwen/Qwen3-235B-A22B", 235.09e9),
            ("zai-org/GLM-4.5-Air", 106.85e9),
            ("deepseek-ai/DeepSeek-R1", 671.03e9),
            ("google/gemma-3-27b-it", 27_009_002_240.0),
            ("meta-llama/Llama-4-Scout-17B-16E-Instruct", 107_769_364_480.0),
            ("openai/gpt-oss-20b", 20_914_757_184.0),
            ("openai/gpt-oss-120b", 116_829_156_672.0),
        ] {
            within(c.find(id).unwrap().params().total() as f64, total, 0.001);
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
        assert_eq!(oss.kv_bytes(1000, 2.0), 24576.0 * 1128.0);
        within(oss.expected_experts(1.0), 4.0, 1e-9);
        within(oss.expected_experts(1e4), 32.0, 1e-9);

        let llama = c.find_as("meta-llama/Llama-3.1-8B-Instruct", Some(Precision::Fp8)).unwrap();
        within(llama.weight_bytes() as f64, 9.1e9, 0.01);
        assert_eq!(llama.kv_per_token(2.0).full, 131072.0);
        assert_eq!((llama.expected_experts(5.0), llama.state_bytes(2.0)), (0.0, 0.0));
    }
}
