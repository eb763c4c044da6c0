//! Architecture facts of an LLM, from `models/*.toml` or a hub `config.json`.

mod catalog;
mod config;
mod description;
mod hub;
mod layer;
mod names;
mod precision;
mod quantisation;
mod shard;
mod sizes;
mod uniform;

pub use catalog::{Catalog, check_text};
pub use hub::{cached, check_config};
pub use layer::{
    Attention, AttentionParams, DenseFfn, Experts, Indexer, Inputs, Latent, Layer, LayerRun, Rest, Span,
    StateKind, StateMixer, Vision,
};
pub use precision::Precision;
pub use quantisation::{Format, Parts, Quantisation, Scheme};
pub use shard::{Division, RankShare};
pub use sizes::{KvPerToken, Params};

use serde::{Deserialize, Serialize};

/// What the cost model, the memory model and the checks need to know of one model.
///
/// The truth is [`Model::stack`]: the layers as they are, in order, with their parameters. The scalar fields
/// (`layers`, `kv_heads`, `head_dim`, `moe`, `mla`, `sliding` …) are the headline: what most layers are, for conditions of
/// search spaces, tables and messages. Sums over layers go over the stack ([`Model::params`],
/// [`Model::kv_per_token`], [`Model::state_bytes`], [`Model::rank_share`]), never `layers` times one kind.
///
/// Layer and width names follow the hub's `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(from = "description::Description")]
pub struct Model {
    /// Hub name, such as `openai/gpt-oss-20b`, or the directory it was read from.
    pub id: String,
    /// Other hub names with the same architecture (dated or instruct variants).
    pub aliases: Vec<String>,
    /// `architectures[0]` of config.json, such as `Qwen3ForCausalLM`.
    pub architecture: String,
    /// Layers of the stack, whatever their kind.
    pub layers: u32,
    pub hidden: u32,
    /// Query heads, KV heads and head size of the attention that most attending layers have; 0 without attention.
    pub q_heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    /// Dense FFN width (of the dense layers, for a MoE model).
    pub ffn: u32,
    pub vocab: u32,
    pub tied_embeddings: bool,
    /// Gated FFN (three matrices) or plain (two).
    pub gated_ffn: bool,
    pub max_position: u32,
    pub moe: Option<Moe>,
    /// Multi-head latent attention (DeepSeek).
    pub mla: Option<Mla>,
    /// Layers whose attention is local, with their window.
    pub sliding: Option<Sliding>,
    /// gpt-oss: learned attention sinks, which not every attention backend supports.
    pub attention_sinks: bool,
    /// Precision of the published weights under this id.
    pub precision: Precision,
    /// Bytes of weights in the checkpoint when known, GB; wins over arithmetic.
    pub weights_gb: Option<f64>,
    pub note: String,
    pub source: String,
    /// Variants of the same architecture that differ in a limit, recognised by a part of their name.
    pub variants: Vec<Variant>,
    /// Keys whose value has no stored source behind it.
    pub unverified: Vec<String>,
    /// The layers in order, equal neighbours together.
    pub stack: Vec<LayerRun>,
    /// Embeddings, head, towers, multi-token prediction.
    pub rest: Rest,
    /// What is quantised, to what.
    pub quantisation: Quantisation,
    /// What of the architecture is not known or not modelled; shown beside every figure that it touches.
    pub caveats: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Lower-case part of the hub name, such as `2507`.
    pub name_part: String,
    pub max_position: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Moe {
    pub experts: u32,
    pub top_k: u32,
    pub expert_ffn: u32,
    #[serde(default)]
    pub shared_expert_ffn: u32,
    /// First layers that are dense.
    #[serde(default)]
    pub dense_layers: u32,
    /// MoE every n-th layer (1 = every layer).
    #[serde(default = "one")]
    pub every: u32,
}

fn one() -> u32 {
    1
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mla {
    pub kv_lora_rank: u32,
    pub rope_head_dim: u32,
    #[serde(default)]
    pub q_lora_rank: u32,
    #[serde(default)]
    pub nope_head_dim: u32,
    #[serde(default)]
    pub v_head_dim: u32,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Sliding {
    /// Window in tokens (sliding) or chunk length (chunked-local).
    pub window: u32,
    /// How many layers are local; the rest attend to the full context.
    pub layers: u32,
}
