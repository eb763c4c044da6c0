//! A model as it is: runs of equal layers, each with the mixers and the feed-forward parts that it has.
//!
//! Every part carries its own parameter count, so that totals need no formula per architecture: whoever describes
//! the layer (the reader of `config.json`, or [`super::uniform`] for a plain description) has counted it.

use serde::Serialize;

/// Equal layers in a row.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct LayerRun {
    pub count: u32,
    pub layer: Layer,
}

/// One layer: what mixes tokens (attention, a recurrent state, both, or neither) and what follows it.
#[derive(Debug, Clone, PartialEq, Default, Serialize)]
pub struct Layer {
    pub attention: Option<Attention>,
    /// A mixer whose memory of a sequence has a fixed size; stands beside attention in Falcon-H1.
    pub state: Option<StateMixer>,
    pub dense: Option<DenseFfn>,
    pub experts: Option<Experts>,
    /// Norms, biases and adapters; each rank holds all of them.
    pub other_params: u64,
}

/// Which tokens of the context a query sees, hence which are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Span {
    Full,
    /// The last n tokens (sliding window), or those of the same chunk of n.
    Window(u32),
}

/// Attention of one layer.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Attention {
    pub span: Span,
    pub q_heads: u32,
    pub kv_heads: u32,
    /// Width of a key of one head.
    pub head_dim: u32,
    /// Width of a value of one head; differs from `head_dim` in MLA and a few others.
    pub v_head_dim: u32,
    /// Multi-head latent attention: one compressed vector a token instead of keys and values by head.
    pub latent: Option<Latent>,
    /// Sparse attention: a small index of the context chooses the tokens that are attended to.
    pub indexer: Option<Indexer>,
    /// One cached entry stands for this many tokens (1 = no compression).
    pub tokens_per_entry: u32,
    /// Bytes of an entry where its layout is fixed, whatever type the cache is asked for (DeepSeek-V4: 448 elements in
    /// FP8, 64 in 16 bits, 8 scales).
    pub entry_bytes: Option<f64>,
    /// Reads the cache of an earlier layer and keeps none of its own.
    pub shares_kv: bool,
    /// Weights shared with an earlier layer (Zamba's shared blocks): counted there, not here.
    pub params: AttentionParams,
}

/// Parameters of one attention by how tensor parallelism divides them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct AttentionParams {
    /// Query and output projections (and MLA's up-projections): divided by heads.
    pub by_head: u64,
    /// Key and value projections: divided by KV heads, replicated where ranks outnumber them.
    pub by_kv_head: u64,
    /// MLA's down-projections, indexers: every rank holds all.
    pub replicated: u64,
}

impl AttentionParams {
    pub fn total(&self) -> u64 {
        self.by_head + self.by_kv_head + self.replicated
    }
}

/// Multi-head latent attention (DeepSeek-V2 and after).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Latent {
    pub kv_rank: u32,
    pub rope_dim: u32,
    /// 0 = queries are not compressed.
    pub q_rank: u32,
    pub nope_dim: u32,
}

/// The index of sparse attention (DeepSeek-V3.2, GLM-5).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Indexer {
    pub heads: u32,
    pub head_dim: u32,
    /// Tokens that a query attends to at most.
    pub top_k: u32,
    /// Tokens that one key of the index stands for.
    pub tokens_per_key: u32,
}

impl Indexer {
    /// Bytes a token of the index: one key in FP8 and a float32 scale for each 128 of it.
    pub fn bytes_per_token(&self) -> f64 {
        let key = f64::from(self.head_dim) + 4.0 * f64::from(self.head_dim.div_ceil(128));
        key / f64::from(self.tokens_per_key.max(1))
    }
}

impl Attention {
    /// Elements that one token adds to the cache of this layer, on one copy of the model.
    pub fn kv_elements(&self) -> u64 {
        if self.shares_kv {
            return 0;
        }
        match &self.latent {
            Some(l) => u64::from(l.kv_rank) + u64::from(l.rope_dim),
            None => u64::from(self.kv_heads) * (u64::from(self.head_dim) + u64::from(self.v_head_dim)),
        }
    }

    /// Bytes that one more token costs in this layer's cache, index included; `elem_bytes` as of the cache's type.
    pub fn kv_bytes(&self, elem_bytes: f64) -> f64 {
        if self.shares_kv {
            return 0.0;
        }
        let index = self.indexer.map_or(0.0, |i| i.bytes_per_token());
        let entry = self.entry_bytes.unwrap_or(self.kv_elements() as f64 * elem_bytes);
        (entry + index) / f64::from(self.tokens_per_entry.max(1))
    }

    /// Floating-point operations for one query token and one context token: scores and values, all heads.
    /// MLA in its absorbed form (decode): latent and rope for scores, latent for values.
    pub fn decode_flop_per_pair(&self) -> f64 {
        let width = match &self.latent {
            Some(l) => 2.0 * f64::from(l.kv_rank) + f64::from(l.rope_dim),
            None => f64::from(self.head_dim) + f64::from(self.v_head_dim),
        };
        2.0 * f64::from(self.q_heads) * width / f64::from(self.tokens_per_entry.max(1))
    }

    /// As [`Attention::decode_flop_per_pair`] for prompt tokens, where MLA expands keys and values by head.
    pub fn prefill_flop_per_pair(&self) -> f64 {
        let width = match &self.latent {
            Some(l) => f64::from(l.nope_dim) + f64::from(l.rope_dim) + f64::from(self.v_head_dim),
            None => f64::from(self.head_dim) + f64::from(self.v_head_dim),
        };
        2.0 * f64::from(self.q_heads) * width / f64::from(self.tokens_per_entry.max(1))
    }

    /// Ways in which the cache can be divided over ranks of tensor parallelism; 1 for MLA.
    pub fn kv_shards(&self) -> u32 {
        if self.latent.is_some() { 1 } else { self.kv_heads.max(1) }
    }

    /// Tokens of a context of `context` that this layer keeps.
    pub fn kept(&self, context: u64) -> u64 {
        match self.span {
            Span::Full => context,
            Span::Window(w) => context.min(u64::from(w)),
        }
    }
}

/// Which recurrence a state mixer runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum StateKind {
    Mamba1,
    Mamba2,
    GatedDelta,
    LightningAttention,
    ShortConv,
    Rwkv,
}

impl StateKind {
    pub fn id(self) -> &'static str {
        match self {
            StateKind::Mamba1 => "mamba1",
            StateKind::Mamba2 => "mamba2",
            StateKind::GatedDelta => "gated-delta",
            StateKind::LightningAttention => "lightning-attention",
            StateKind::ShortConv => "short-conv",
            StateKind::Rwkv => "rwkv",
        }
    }
}

/// A mixer that keeps a state of fixed size a sequence instead of a cache by token.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct StateMixer {
    pub kind: StateKind,
    /// Elements of the convolution's state and of the recurrent state, one sequence, one copy of the model.
    pub conv_elements: u64,
    pub state_elements: u64,
    /// Bytes an element of the recurrent state where the config says so (`mamba_ssm_cache_dtype`).
    pub state_elem_bytes: Option<f64>,
    /// Heads (or channels) that ranks divide among them.
    pub heads: u32,
    pub params: u64,
}

impl StateMixer {
    /// Bytes of state a sequence; `elem_bytes` where the config names no type of its own.
    pub fn bytes(&self, elem_bytes: f64) -> f64 {
        self.conv_elements as f64 * elem_bytes
            + self.state_elements as f64 * self.state_elem_bytes.unwrap_or(elem_bytes)
    }

    /// As [`StateMixer::bytes`], the convolution's part in 16 bits.
    pub fn cache_bytes(&self, elem_bytes: f64) -> f64 {
        self.conv_elements as f64 * 2.0
            + self.state_elements as f64 * self.state_elem_bytes.unwrap_or(elem_bytes)
    }

    /// Floating-point operations a token besides the projections: update and read-out of the state.
    pub fn flop_per_token(&self) -> f64 {
        2.0 * self.conv_elements as f64 + 4.0 * self.state_elements as f64
    }
}

/// A feed-forward part that every token passes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DenseFfn {
    pub width: u32,
    pub params: u64,
}

/// A mixture of experts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Experts {
    pub count: u32,
    pub top_k: u32,
    /// Width of one routed expert.
    pub width: u32,
    /// Width of what comes in: the hidden size, or a latent one (Nemotron-3).
    pub input: u32,
    pub params_each: u64,
    /// Experts that every token passes, all together; 0 = none.
    pub shared_width: u32,
    pub shared_params: u64,
    pub router_params: u64,
}

impl Experts {
    /// Distinct experts that `tokens` tokens touch under uniform routing: E (1 - (1 - k/E)^n).
    pub fn expected(&self, tokens: f64) -> f64 {
        let e = f64::from(self.count);
        e * (1.0 - (1.0 - f64::from(self.top_k) / e.max(1.0)).powf(tokens.max(0.0)))
    }
}

impl Layer {
    /// A short name of the kind of layer for tables, such as `window 128 + experts`.
    pub fn kind(&self) -> String {
        let mut parts = Vec::new();
        if let Some(a) = &self.attention {
            let mut name = match a.span {
                Span::Full => "full".to_owned(),
                Span::Window(w) => format!("window {w}"),
            };
            if a.latent.is_some() {
                name = format!("{name} latent");
            }
            if a.indexer.is_some() {
                name = format!("{name} indexed");
            }
            if a.tokens_per_entry > 1 {
                name = format!("{name} 1:{}", a.tokens_per_entry);
            }
            if a.shares_kv {
                name = format!("{name} (shared KV)");
            }
            parts.push(name);
        }
        parts.extend(self.state.map(|s| s.kind.id().to_owned()));
        parts.extend(self.dense.map(|_| "dense".to_owned()));
        parts.extend(self.experts.map(|_| "experts".to_owned()));
        if parts.is_empty() { "empty".to_owned() } else { parts.join(" + ") }
    }
}

/// What a model has besides its layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Rest {
    /// Input embedding, and learned positions where a model has them.
    pub embedding: u64,
    /// Output head; 0 when tied to the embedding.
    pub lm_head: u64,
    /// Embeddings by layer (Gemma-3n, Gemma-4): a gather, like the input embedding.
    pub per_layer_embedding: u64,
    /// Final norm, projections between parts.
    pub other: u64,
    /// Vision, audio towers and their projectors: memory, but no work for a token of text.
    pub towers: u64,
    /// The tower that sees pictures, as far as its activations go.
    pub vision: Option<Vision>,
    /// What the model takes besides text.
    pub inputs: Inputs,
    /// Elements of a head that positions turn; 0 where none are. An engine keeps a table of them for every position.
    pub rotary_dim: u32,
    /// Layers for multi-token prediction: in the checkpoint, loaded only for speculative decoding.
    pub mtp: u64,
}

/// Kinds of input besides text.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Inputs {
    pub image: bool,
    pub video: bool,
    pub audio: bool,
}

/// What the activations of a vision tower depend on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Vision {
    pub hidden: u32,
    pub ffn: u32,
    /// Patches of a picture that become one token of the language model.
    pub patches: u32,
    /// Tokens of the largest picture, where the tower takes pictures of any size; 0 where all have one size.
    pub largest: u32,
    /// Layers and width as they stand under transformers' own names, 24 and 1,024 where these are not written: SGLang takes the
    /// size of the tower from them.
    pub named: (u32, u32),
}

impl Vision {
    /// Layers times the square of the width, against ViT-L's 24 of 1,024.
    pub fn against_vit_l(&self) -> f64 {
        let (layers, width) = (f64::from(self.named.0), f64::from(self.named.1));
        layers * width * width / (24.0 * 1024.0 * 1024.0)
    }

    /// Bytes of activations over `tokens` tokens of pictures, the feed-forward part split over `tensor` ranks: pixels, hidden
    /// states (residual, normed, queries, keys and values) and both sides of the activation function, in 16 bits.
    pub fn activation_bytes(&self, tokens: f64, tensor: f64) -> f64 {
        let patches = tokens.max(f64::from(self.largest)) * f64::from(self.patches);
        patches * 2.0 * (6.0 * f64::from(self.hidden) + 2.0 * f64::from(self.ffn) / tensor.max(1.0))
    }
}

/// Puts equal neighbours together.
pub(super) fn runs(layers: impl IntoIterator<Item = Layer>) -> Vec<LayerRun> {
    let mut out: Vec<LayerRun> = Vec::new();
    for layer in layers {
        match out.last_mut() {
            Some(run) if run.layer == layer => run.count += 1,
            _ => out.push(LayerRun { count: 1, layer }),
        }
    }
    out
}
