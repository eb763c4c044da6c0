//! Architecture facts of an LLM, from `models/*.toml` or a hub `config.json`.

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

/// Precision of the weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Precision {
    Fp32,
    Bf16,
    Fp16,
    Fp8,
    Int8,
    Int4,
    /// gpt-oss: MXFP4 experts, bf16 elsewhere.
    Mxfp4,
    Nvfp4,
    Fp4,
}
