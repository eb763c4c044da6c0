//! Launches that a real engine refuses, in its words: what the log shows, then how the process ends.
//!
//! Sources: vLLM 0.11.0 to 0.33.0, `config/*.py`, `engine/arg_utils.py`, `v1/core/kv_cache_utils.py`,
//! `v1/attention/backends/flash_attn.py`, `platforms/cuda.py`; wording read there or seen in runs.

use super::plan::Plan;
use crate::hardware::Vendor;
use crate::model::Precision;

/// Where the launch fails, which decides what is printed last.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stage {
    /// While the arguments become a configuration, in the API server's process.
    Config,
    /// In the engine core's process.
    Core,
}

/// A refused launch; the process ends with exit code 1.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refused {
    pub stage: Stage,
    /// The exception's line.
    pub text: String,
}

impl Refused {
    /// What is left for the last line of the process.
    pub fn last_words(&self) -> String {
        match self.stage {
            Stage::Config => self.text.clone(),
            Stage::Core => {
                "RuntimeError: Engine core initialization failed. See root cause above. Failed core \
                            proc(s): {'EngineCore': 1}"
                    .to_owned()
            }
        }
    }
}

/// Why this launch would not start, if it would not.
pub fn check(plan: &Plan) -> Option<Refused> {
    let config = || {
        values(plan)
            .or_else(|| lengths(plan))
            .or_else(|| parallelism(plan))
            .map(|text| Refused { stage: Stage::Config, text })
    };
    let core = || {
        backend(plan)
            .or_else(|| precision(plan))
            .or_else(|| room(plan))
            .map(|text| Refused { stage: Stage::Core, text })
    };
    config().or_else(core)
}

fn invalid(class: &str, message: &str) -> String {
    format!(
        "pydantic_core._pydantic_core.ValidationError: 1 validation error for {class}\n  Value error, {message} \
         [type=value_error, input_value=ArgsKwargs(()), input_type=ArgsKwargs]"
    )
}

fn values(p: &Plan) -> Option<String> {
    let c = &p.config;
    let utilization = c.gpu_memory_utilization;
    if !(utilization > 0.0 && utilization <= 1.0) {
        let text = format!("GPU memory utilization must be less than 1.0. Got {utilization}.");
        return Some(invalid("CacheConfig", &text));
    }
    for name in
        ["max-num-seqs", "max-num-batched-tokens", "max-model-len", "block-size", "tensor-parallel-size"]
    {
        if p.given.whole(name) == Some(0) {
            let text = format!("{} must be greater than or equal to 1, got 0.", name.replace('-', "_"));
            return Some(invalid("SchedulerConfig", &text));
        }
    }
    if c.max_num_batched_tokens < c.max_num_seqs {
        let text = format!(
            "max_num_batched_tokens ({}) must be greater than or equal to max_num_seqs ({}).",
            c.max_num_batched_tokens, c.max_num_seqs
        );
        return Some(invalid("SchedulerConfig", &text));
    }
    if c.chunk_tokens > c.max_model_len {
        let text = format!(
            "long_prefill_token_threshold ({}) cannot be greater than the max_model_len ({}).",
            c.chunk_tokens, c.max_model_len
        );
        return Some(invalid("SchedulerConfig", &text));
    }
    let partial = p.given.whole("max-num-partial-prefills").is_some_and(|n| n != 1);
    if partial || p.given.whole("max-long-partial-prefills").is_some_and(|n| n != 1) {
        return Some(
            "NotImplementedError: VLLM_USE_V1=1 is not supported with Concurrent Partial Prefill.".to_owned(),
        );
    }
    None
}

fn lengths(p: &Plan) -> Option<String> {
    let c = &p.config;
    let derived = p.model.max_position;
    let long_allowed = p.env.get("VLLM_ALLOW_LONG_MAX_MODEL_LEN").is_some_and(|v| v == "1");
    if c.max_model_len > derived && !long_allowed {
        let text = format!(
            "User-specified max_model_len ({}) is greater than the derived max_model_len \
             (max_position_embeddings={derived} or model_max_length=None in model's config.json). To allow \
             overriding this maximum, set the env var VLLM_ALLOW_LONG_MAX_MODEL_LEN=1.",
            c.max_model_len
        );
        return Some(invalid("ModelConfig", &text));
    }
    if !c.chunked_prefill && c.max_num_batched_tokens < c.max_model_len {
        let text = format!(
            "max_num_batched_tokens ({}) is smaller than max_model_len ({}). This effectively limits the maximum \
             sequence length to max_num_batched_tokens and makes vLLM reject longer sequences. Please increase \
             max_num_batched_tokens or decrease max_model_len.",
            c.max_num_batched_tokens, c.max_model_len
        );
        return Some(invalid("SchedulerConfig", &text));
    }
    None
}

fn parallelism(p: &Plan) -> Option<String> {
    let c = &p.config;
    let world = c.tensor_parallel * c.pipeline_parallel * c.data_parallel;
    if world > p.num_gpus {
        return Some(format!(
            "ValueError: World size ({world}) is larger than the number of available GPUs ({}) in this node.",
            p.num_gpus
        ));
    }
    if !p.model.q_heads.is_multiple_of(c.tensor_parallel) {
        let text = format!(
            "Total number of attention heads ({}) must be divisible by tensor parallel size ({}).",
            p.model.q_heads, c.tensor_parallel
        );
        return Some(invalid("VllmConfig", &text));
    }
    let asked = p.given.on("async-scheduling");
    if asked && c.pipeline_parallel > 1 && p.version < (0, 33, 0) {
        let text = "Async scheduling is not yet compatible with pipeline_parallel_size > 1.";
        return Some(invalid("VllmConfig", text));
    }
    if asked && p.given.on("speculative-config") && p.version < (0, 14, 0) {
        let text = "Currently, speculative decoding is not supported with async scheduling.";
        return Some(invalid("VllmConfig", text));
    }
    None
}

/// The attention backend that was asked for, by flag or environment.
fn asked_backend(p: &Plan) -> Option<String> {
    let flag = p.given.text("attention-backend");
    let env = p.env.get("VLLM_ATTENTION_BACKEND").filter(|_| p.version < (0, 15, 0)).map(String::as_str);
    flag.or(env).filter(|b| *b != "auto").map(str::to_uppercase)
}

fn backend(p: &Plan) -> Option<String> {
    let sm = p.hardware.sm?;
    let asked = asked_backend(p);
    let asked = asked.as_deref();
    let flash = asked.is_some_and(|b| b.starts_with("FLASH_ATTN"));
    if flash && p.model.attention_sinks && sm < 90 {
        return Some("AssertionError: Sinks are only supported in FlashAttention 3".to_owned());
    }
    let fp8 = p.given.text("kv-cache-dtype").is_some_and(|t| t.starts_with("fp8"));
    if !fp8 || sm / 10 == 10 {
        return None;
    }
    let default_flash = p.version < (0, 13, 0) && !(p.model.attention_sinks && sm < 90);
    let refused = match asked {
        Some("FLASHINFER") => p.model.attention_sinks && sm < 90,
        Some(b) if b.starts_with("FLASH_ATTN") => sm / 10 != 9,
        Some(b) if b.starts_with("TRITON") => sm < 89,
        Some(_) => false,
        None if default_flash => sm / 10 != 9,
        // Since 0.13 another backend is chosen; with sinks only Triton is left, which needs native FP8.
        None => p.model.attention_sinks && sm < 89,
    };
    if !refused {
        return None;
    }
    Some(if flash || (asked.is_none() && default_flash) {
        "NotImplementedError: FlashAttention does not support fp8 kv-cache on this device.".to_owned()
    } else {
        format!(
            "ValueError: No valid attention backend found for cuda with AttentionSelectorConfig(head_size={}, \
             dtype=torch.bfloat16, kv_cache_dtype=fp8, block_size={}, has_sink={}). Reasons: kv_cache_dtype not \
             supported",
            p.model.head_dim,
            p.config.block_size,
            if p.model.attention_sinks { "True" } else { "False" }
        )
    })
}

fn precision(p: &Plan) -> Option<String> {
    let weights = p.config.weights.unwrap_or(p.model.precision);
    let method = match weights {
        Precision::Mxfp4 => "mxfp4",
        Precision::Nvfp4 | Precision::Fp4 => "modelopt_fp4",
        Precision::Fp8 => "fp8",
        _ => return None,
    };
    if p.hardware.vendor == Vendor::Cpu {
        return Some(format!("ValueError: {method} quantization is currently not supported in cpu."));
    }
    let sm = p.hardware.sm?;
    let least = if weights == Precision::Mxfp4 { 80 } else { 75 };
    (sm < least).then(|| {
        format!(
            "ValueError: The quantization method {method} is not supported for the current GPU. Minimum capability: \
             {least}. Current capability: {sm}."
        )
    })
}

fn room(p: &Plan) -> Option<String> {
    let m = &p.memory;
    if p.hardware.vendor != Vendor::Cpu && m.weights >= m.device {
        return Some(format!(
            "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 256.00 MiB. GPU 0 has a total capacity of \
             {:.2} GiB of which 31.00 MiB is free. The model's weights need {:.2} GiB on each GPU.",
            m.device.gib(),
            m.weights.gib()
        ));
    }
    if m.blocks <= 1 {
        return Some(
            "ValueError: No available memory for the cache blocks. Try increasing `gpu_memory_utilization` when \
             initializing the engine."
                .to_owned(),
        );
    }
    let len = p.config.max_model_len;
    if m.kv_tokens < u64::from(len) {
        let gib = |tokens: u64| {
            let share = tokens as f64 / m.kv_tokens.max(1) as f64;
            share * m.blocks as f64 * m.block_bytes / f64::from(1 << 30)
        };
        let models = if p.version < (0, 26, 0) { "models's" } else { "model's" };
        return Some(format!(
            "ValueError: To serve at least one request with the {models} max seq len ({len}), ({:.2} GiB KV cache is \
             needed, which is larger than the available KV cache memory ({:.2} GiB). Based on the available memory, \
             the estimated maximum model length is {}. Try increasing `gpu_memory_utilization` or decreasing \
             `max_model_len` when initializing the engine.",
            gib(u64::from(len)),
            gib(m.kv_tokens),
            m.kv_tokens
        ));
    }
    None
}
