//! Architecture facts of an LLM, from `models/*.toml` or a hub `config.json`.

mod catalog;
mod hub;
mod names;
mod precision;
mod sizes;

pub use catalog::{Catalog, check_text};
pub use hub::{cached, check_config, default_cache};
pub use precision::Precision;
pub use sizes::{KvPerToken, Params};

use serde::{Deserialize, Serialize};

/// What the cost model, the memory model and the checks need to know of one model.
///
/// Layer and width names follow the hub's `config.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Model {
    /// Hub name, such as `openai/gpt-oss-20b`, or the directory it was read from.
    pub id: String,
    /// Other hub names with the same architecture (dated or instruct variants).
    #[serde(default)]
    pub aliases: Vec<String>,
    /// `architectures[0]` of config.json, such as `Qwen3ForCausalLM`.
    #[serde(default)]
    pub architecture: String,
    pub layers: u32,
    pub hidden: u32,
    pub q_heads: u32,
    pub kv_heads: u32,
    pub head_dim: u32,
    /// Dense FFN width (of the dense layers, for a MoE model).
    pub ffn: u32,
    pub vocab: u32,
    #[serde(default)]
    pub tied_embeddings: bool,
    /// Gated FFN (three matrices) or plain (two).
    #[serde(default = "yes")]
    pub gated_ffn: bool,
    pub max_position: u32,
    #[serde(default)]
    pub moe: Option<Moe>,
    /// Multi-head latent attention (DeepSeek).
    #[serde(default)]
    pub mla: Option<Mla>,
    /// Layers whose attention is local, with their window.
    #[serde(default)]
    pub sliding: Option<Sliding>,
    /// gpt-oss: learned attention sinks, which not every attention backend supports.
    #[serde(default)]
    pub attention_sinks: bool,
    /// Precision of the published weights under this id.
    pub precision: Precision,
    /// Bytes of weights in memory when known from the checkpoint, GB; else computed.
    #[serde(default)]
    pub weights_gb: Option<f64>,
    #[serde(default)]
    pub note: String,
    pub source: String,
    /// Variants of the same architecture that differ in a limit, recognised by a part of their name.
    #[serde(default)]
    pub variants: Vec<Variant>,
    /// Keys whose value has no stored source behind it.
    #[serde(default)]
    pub unverified: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Variant {
    /// Lower-case part of the hub name, such as `2507`.
    pub name_part: String,
    pub max_position: u32,
}

fn yes() -> bool {
    true
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
