//! The resolved scheduling and memory configuration of one launch, whatever engine it is.

use super::Speculation;
use crate::launch::{EngineKind, Version};
use crate::model::Precision;
use serde::{Deserialize, Serialize};

/// What the simulator, the cost model and the emulated engine need to know of a launch after defaults by
/// version and hardware, flags, and read-back facts were applied (in that order, the later wins).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct EngineConfig {
    pub engine: EngineKind,
    /// Release, such as 0.11.0.
    pub version: Version,
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
    /// KV memory given in bytes (`--kv-cache-memory-bytes`), on each device.
    #[serde(default)]
    pub kv_cache_bytes: Option<u64>,
    /// Weights of each device that lie in host memory (`--cpu-offload-gb`).
    #[serde(default)]
    pub cpu_offload_bytes: f64,
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
    /// Ranks of data-parallel attention that share the GPUs of the tensor-parallel group; 1 is off.
    #[serde(default = "one")]
    pub attention_parallel: u32,
    /// Whether prompts wait until all of these ranks have one.
    #[serde(default)]
    pub attention_balance: AttentionBalance,
    /// SGLang: tokens of the local layers' pool over those of the full layers', where a model has one of each.
    #[serde(default = "unit")]
    pub local_pool_ratio: f64,
    /// SGLang: memory of recurrent states over that of the KV cache, in a model with both.
    #[serde(default = "unit")]
    pub state_pool_ratio: f64,
    /// Ranks among which the tokens of a prompt are split, each on GPUs of its own; 1 is off.
    #[serde(default = "one")]
    pub context_parallel: u32,
    pub expert_parallel: bool,
    /// Bytes an element of the KV cache (2 = bf16, 1 = fp8).
    pub kv_elem_bytes: f64,
    /// Flags that were given and are not modelled, so that a prediction can say so.
    pub unmodelled: Vec<String>,
    /// CUDA graphs also cover steps with prefill rows (vLLM's piecewise graphs); else decode-only steps.
    #[serde(default)]
    pub graph_prefill: bool,
    /// Batches are padded up to the next captured size; without padding only exact sizes replay.
    #[serde(default = "yes")]
    pub graph_padding: bool,
    /// SGLang: decode rows join the prefill batch.
    #[serde(default)]
    pub mixed_chunk: bool,
    /// SGLang `schedule_conservativeness`.
    #[serde(default = "unit")]
    pub conservativeness: f64,
    /// TensorRT-LLM: the KV of prompt and `max_tokens` is reserved at admission (GUARANTEED_NO_EVICT).
    #[serde(default)]
    pub reserve_output: bool,
    /// Precision of the weights when a flag or the record overrides the model's own.
    #[serde(default)]
    pub weights: Option<Precision>,
    /// Text alone: the towers of a multimodal model are neither loaded nor tried out (`--language-model-only`).
    #[serde(default)]
    pub text_only: bool,
    /// vLLM: whether FlashInfer samples, which sorts no vocabulary; None where the release leaves it to what is installed.
    #[serde(default)]
    pub flashinfer_sampler: Option<bool>,
    /// Tokens of `stream_interval`: how many are sent in one chunk.
    #[serde(default = "one")]
    pub stream_interval: u32,
    /// SGLang `scheduler_recv_interval`: decode steps between two looks for new requests.
    #[serde(default = "one")]
    pub recv_interval: u32,
    /// One process receives requests and sends every token: streaming holds up new requests.
    #[serde(default)]
    pub shared_frontend: bool,
    /// HTTP/tokenizer processes in front of the engine.
    #[serde(default = "one")]
    pub frontends: u32,
    /// Months between this release and the one that the cost model's coefficients are of; 0 where nothing was measured.
    #[serde(default)]
    pub months_older: f64,
    /// Speculative decoding, where it is on.
    #[serde(default)]
    pub speculative: Option<Speculation>,
}

/// TensorRT-LLM's `attention_dp_config`: a rank that computes a prompt holds up those that decode, so that prompts may wait for
/// each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum AttentionBalance {
    /// They are computed as they come.
    #[default]
    Off,
    /// Nothing is said. Off is the engine's default; the launches that are published turn it on, in a file that few quote.
    Untold,
    /// `enable_balance`: for so many iterations at most (`timeout_iters`), and, once every rank has one, for so many more
    /// (`batching_wait_iters`).
    On { timeout_iters: u32, batching_wait_iters: u32 },
}

fn yes() -> bool {
    true
}
fn unit() -> f64 {
    1.0
}
fn one() -> u32 {
    1
}

impl EngineConfig {
    /// GPUs that the launch takes: tensor x pipeline x data x context parallelism. Data-parallel attention and expert parallelism
    /// share those of the tensor-parallel group.
    pub fn gpus(&self) -> u32 {
        let sizes = [self.tensor_parallel, self.pipeline_parallel, self.data_parallel, self.context_parallel];
        sizes.into_iter().fold(1, |all, n| all.saturating_mul(n.max(1)))
    }

    /// Of a launch whose options are all known: what it does not say is the engine's default.
    #[must_use]
    pub fn fully_told(mut self) -> EngineConfig {
        if self.attention_balance == AttentionBalance::Untold {
            self.attention_balance = AttentionBalance::Off;
        }
        self
    }

    /// Ranks that split one copy of attention: those of the tensor-parallel group, fewer with data-parallel attention.
    pub fn attention_tensor(&self) -> u32 {
        (self.tensor_parallel.max(1) / self.attention_parallel.max(1)).max(1)
    }
}

impl Default for EngineConfig {
    /// vLLM 0.11 on an 80 GB A100; a starting point for tests and for [`resolve()`](fn@super::resolve).
    fn default() -> EngineConfig {
        EngineConfig {
            engine: EngineKind::Vllm,
            version: Version(0, 11, 0),
            max_num_seqs: 256,
            max_num_batched_tokens: 2048,
            chunk_tokens: 0,
            chunked_prefill: true,
            max_model_len: 32768,
            block_size: 16,
            num_kv_blocks: None,
            kv_cache_bytes: None,
            cpu_offload_bytes: 0.0,
            gpu_memory_utilization: 0.9,
            prefix_caching: true,
            overlap: false,
            reserve_full_prompt: false,
            max_graph_size: 512,
            tensor_parallel: 1,
            pipeline_parallel: 1,
            data_parallel: 1,
            attention_parallel: 1,
            attention_balance: AttentionBalance::Off,
            local_pool_ratio: 1.0,
            state_pool_ratio: 1.0,
            context_parallel: 1,
            expert_parallel: false,
            kv_elem_bytes: 2.0,
            unmodelled: Vec::new(),
            graph_prefill: true,
            graph_padding: true,
            mixed_chunk: false,
            conservativeness: 1.0,
            reserve_output: false,
            weights: None,
            text_only: false,
            flashinfer_sampler: Some(false),
            stream_interval: 1,
            recv_interval: 1,
            shared_frontend: false,
            frontends: 1,
            months_older: 0.0,
            speculative: None,
        }
    }
}
