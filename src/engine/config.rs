//! The resolved scheduling and memory configuration of one launch, whatever engine it is.

use crate::scenario::EngineKind;
use serde::{Deserialize, Serialize};

/// What the simulator, the cost model and the emulated engine need to know of a launch after defaults by
/// version and hardware, flags, and read-back facts were applied (in that order, the later wins).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineConfig {
    pub engine: EngineKind,
    /// Release, such as (0, 11, 0).
    pub version: (u32, u32, u32),
    pub max_num_seqs: u32,
    /// Token budget of a step (vLLM `max_num_batched_tokens`, TensorRT-LLM `max_num_tokens`, SGLang
    /// `max_prefill_tokens`).
    pub max_num_batched_tokens: u32,
    /// SGLang `chunked_prefill_size`; for vLLM the `long_prefill_token_threshold` (0 = off).
    pub chunk_tokens: u32,
    pub chunked_prefill: bool,
    pub max_model_len: u32,
    pub block_size: u32,
    /// Usable KV blocks when the engine said so; else estimated from memory.
    pub num_kv_blocks: Option<u64>,
    pub gpu_memory_utilization: f64,
    pub prefix_caching: bool,
    /// Async (vLLM) or overlap (SGLang, TensorRT-LLM) scheduling: host work hides behind the GPU's.
    pub overlap: bool,
    /// vLLM since 0.19: a request is admitted only if its whole prompt fits in free KV blocks.
    pub reserve_full_prompt: bool,
    /// Largest batch (tokens) replayed from a CUDA graph; 0 = eager.
    pub max_graph_size: u32,
    pub tensor_parallel: u32,
    pub pipeline_parallel: u32,
    pub data_parallel: u32,
    pub expert_parallel: bool,
    /// Bytes an element of the KV cache (2 = bf16, 1 = fp8).
    pub kv_elem_bytes: f64,
    /// Flags that were given and are not modelled, so that a prediction can say so.
    pub unmodelled: Vec<String>,
}
