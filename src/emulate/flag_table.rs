//! The table of flags: the embedded engine's own and vLLM's, with the releases that have them.

/// A release, such as (0, 11, 0).
pub type Version = (u32, u32, u32);

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// Nothing; only the positive form exists.
    Nothing,
    /// Nothing; `--no-…` turns it off.
    OnOff,
    /// A whole number; suffixes k, m, g (decimal) and K, M, G (binary) are understood.
    Whole,
    Number,
    Text,
    Json,
    /// One or more whole numbers.
    Wholes,
    /// One or more words.
    Words,
    OneOf(&'static [&'static str]),
}

/// One flag of the table.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Without dashes; the first is the canonical one.
    pub names: &'static [&'static str],
    pub takes: Takes,
    pub since: Version,
    pub removed: Option<Version>,
    pub help: &'static str,
}

const ALWAYS: Version = (0, 0, 0);

const fn flag(names: &'static [&'static str], takes: Takes, help: &'static str) -> Flag {
    Flag { names, takes, since: ALWAYS, removed: None, help }
}

impl Flag {
    const fn since(mut self, v: Version) -> Flag {
        self.since = v;
        self
    }
    const fn removed(mut self, v: Version) -> Flag {
        self.removed = Some(v);
        self
    }
    pub fn name(&self) -> &'static str {
        self.names[0]
    }
    pub(super) fn exists(&self, v: Version) -> bool {
        self.since <= v && self.removed.is_none_or(|r| v < r)
    }
}

use Takes::{Json, Nothing, Number, OnOff, OneOf, Text, Whole, Wholes, Words};

/// Options of the embedded engine itself.
pub const OWN: &[Flag] = &[
    flag(&["hardware"], Text, "Id of the GPU to emulate; `dyno list hardware` shows all. Required."),
    flag(&["num-gpus"], Whole, "How many of them the emulated machine has. (default: 8)"),
    flag(&["emulate-version"], Text, "vLLM release whose flags, defaults and rules apply."),
    flag(
        &["noise"],
        Number,
        "Scale of the noise on step times; 0 is off. At 1 a step's time has a log-sd of 0.02, \
        a launch's common factor one of 0.005. (default: 1)",
    ),
    flag(
        &["coefficients"],
        Text,
        "TOML file of factors on the step-time model's coefficients, by their names.",
    ),
    flag(&["startup-s"], Number, "Seconds from start to ready. (default: 0.2)"),
    flag(
        &["mean-output-tokens"],
        Number,
        "Without ignore_eos, generations stop after a geometric number of tokens \
        of this mean. (default: they run to max_tokens)",
    ),
    flag(
        &["fault"],
        Text,
        "Inject a fault: start-hang, start-exit, start-oom, die-after=N, oom-after=N, stall-after=N, \
        garbage, http-500-share=X, truncate-share=X, ignore-term.",
    ),
    flag(&["data-dir"], Text, "Directory with hardware/*.toml and models/*.toml that add to the known ones."),
];

const KV_DTYPES: &[&str] =
    &["auto", "bfloat16", "fp8", "fp8_e4m3", "fp8_e5m2", "fp8_inc", "float16", "fp8_ds_mla"];

/// vLLM's flags. Sources: `vllm/engine/arg_utils.py` and `entrypoints/openai/cli_args.py` of releases
/// 0.11.0 to 0.33.0.
pub const VLLM: &[Flag] = &[
    flag(&["nnodes"], Whole, "Number of nodes of a launch over several."),
    flag(&["node-rank"], Whole, "Number of this node, from 0."),
    flag(&["master-addr"], Text, "Address of the node with rank 0."),
    flag(&["master-port"], Whole, "Port at which the nodes find each other."),
    flag(&["headless"], Nothing, "Without an API server: a node that is not the head."),
    flag(&["model"], Text, "Name or path of the model. Required (or the first positional argument)."),
    flag(&["host"], Text, "Host name. (default: 127.0.0.1, unlike vLLM's all interfaces)"),
    flag(&["port"], Whole, "Port number. (default: 8000)"),
    flag(&["served-model-name"], Words, "The model name(s) used in the API."),
    flag(&["api-key"], Words, "Keys that the server requires in the header."),
    flag(&["api-server-count", "asc"], Whole, "How many API server processes to run."),
    flag(&["uvicorn-log-level"], Text, "Log level for uvicorn."),
    flag(&["root-path"], Text, "FastAPI root_path when behind a path based proxy."),
    flag(&["chat-template"], Text, "The chat template."),
    flag(&["enable-auto-tool-choice"], OnOff, "Enable auto tool choice."),
    flag(&["tool-call-parser"], Text, "The tool call parser."),
    flag(&["reasoning-parser"], Text, "The reasoning parser."),
    flag(&["enable-prompt-tokens-details"], OnOff, "Enable prompt_tokens_details in usage."),
    flag(&["enable-force-include-usage"], OnOff, "Include usage on every request."),
    flag(&["enable-log-requests"], OnOff, "Log requests."),
    flag(&["disable-log-requests"], Nothing, "Deprecated.").removed((0, 17, 0)),
    flag(&["disable-log-stats"], Nothing, "Disable logging statistics."),
    flag(&["disable-uvicorn-access-log"], Nothing, "Disable uvicorn's access log."),
    flag(&["trust-remote-code"], OnOff, "Trust remote code."),
    flag(&["tokenizer"], Text, "Name or path of the tokenizer."),
    flag(&["tokenizer-mode"], Text, "Tokenizer mode."),
    flag(&["skip-tokenizer-init"], OnOff, "Skip initialization of tokenizer and detokenizer."),
    flag(&["revision"], Text, "The model version to use."),
    flag(&["code-revision"], Text, "The code revision to use."),
    flag(&["tokenizer-revision"], Text, "The tokenizer revision to use."),
    flag(&["hf-token"], Text, "The hub token."),
    flag(&["hf-overrides"], Json, "Arguments for the model's config."),
    flag(&["generation-config"], Text, "Path of the generation config."),
    flag(&["override-generation-config"], Json, "Generation parameters."),
    flag(&["download-dir"], Text, "Directory to download the weights to."),
    flag(&["load-format"], Text, "The format of the weights to load."),
    flag(&["runner"], OneOf(&["auto", "generate", "pooling", "draft"]), "The type of model runner."),
    flag(
        &["dtype"],
        OneOf(&["auto", "bfloat16", "float", "float16", "float32", "half"]),
        "Data type of weights and activations.",
    ),
    flag(&["quantization", "q"], Text, "Method used to quantize the weights."),
    flag(&["seed"], Whole, "Random seed; also seeds the noise on step times."),
    flag(&["max-model-len"], Whole, "Model context length (prompt and output)."),
    flag(&["max-logprobs"], Whole, "Maximum number of log probabilities to return."),
    flag(&["enforce-eager"], OnOff, "Always use eager-mode PyTorch."),
    flag(&["disable-sliding-window"], OnOff, "Disable sliding window."),
    flag(&["disable-cascade-attn"], OnOff, "Disable cascade attention."),
    flag(&["limit-mm-per-prompt"], Json, "Maximum number of input items per modality."),
    flag(&["block-size"], Whole, "Tokens in a contiguous cache block."),
    flag(&["gpu-memory-utilization"], Number, "Fraction of GPU memory for the model executor."),
    flag(&["kv-cache-memory-bytes"], Whole, "Size of KV cache per GPU in bytes."),
    flag(&["swap-space"], Number, "CPU swap space in GiB.").removed((0, 18, 0)),
    flag(&["kv-cache-dtype"], OneOf(KV_DTYPES), "Data type for KV cache storage."),
    flag(&["num-gpu-blocks-override"], Whole, "Number of GPU blocks to use."),
    flag(&["enable-prefix-caching"], OnOff, "Whether to enable prefix caching."),
    flag(&["prefix-caching-hash-algo"], Text, "The hash algorithm for prefix caching."),
    flag(&["cpu-offload-gb"], Number, "Space in GiB to offload to CPU."),
    flag(&["calculate-kv-scales"], OnOff, "Calculate k_scale and v_scale.").removed((0, 28, 0)),
    flag(&["kv-offloading-size"], Number, "Size of the KV offloading buffer in GiB.").since((0, 11, 1)),
    flag(&["tensor-parallel-size", "tp"], Whole, "Number of tensor parallel groups."),
    flag(&["pipeline-parallel-size", "pp"], Whole, "Number of pipeline parallel groups."),
    flag(&["data-parallel-size", "dp"], Whole, "Number of data parallel groups."),
    flag(&["decode-context-parallel-size", "dcp"], Whole, "Number of decode context parallel groups."),
    flag(&["enable-expert-parallel", "ep"], OnOff, "Use expert parallelism for MoE layers."),
    flag(&["enable-eplb"], OnOff, "Enable expert load balancing."),
    flag(&["enable-dbo"], OnOff, "Enable dual batch overlap."),
    flag(&["disable-custom-all-reduce"], OnOff, "Disable the custom all-reduce kernel."),
    flag(
        &["distributed-executor-backend"],
        OneOf(&["external_launcher", "mp", "ray", "uni"]),
        "Backend for distributed workers.",
    ),
    flag(&["max-parallel-loading-workers"], Whole, "Maximum number of parallel loading workers."),
    flag(&["max-num-batched-tokens"], Whole, "Maximum number of tokens in a single iteration."),
    flag(&["max-num-seqs"], Whole, "Maximum number of sequences in a single iteration."),
    flag(&["max-num-active-seqs"], Whole, "Maximum number of running sequences.").since((0, 31, 0)),
    flag(&["max-num-partial-prefills"], Whole, "Maximum number of partial prefills.").removed((0, 27, 0)),
    flag(&["max-long-partial-prefills"], Whole, "Maximum number of long partial prefills.")
        .removed((0, 27, 0)),
    flag(&["long-prefill-token-threshold"], Whole, "A request is long beyond this many tokens."),
    flag(&["scheduling-policy"], OneOf(&["fcfs", "priority"]), "The scheduling policy."),
    flag(&["enable-chunked-prefill"], OnOff, "Chunk prefill requests."),
    flag(&["async-scheduling"], OnOff, "Schedule asynchronously."),
    flag(&["scheduler-reserve-full-isl"], OnOff, "Admit only what fits whole.").since((0, 19, 1)),
    flag(&["stream-interval"], Whole, "Tokens between streamed chunks.").since((0, 11, 1)),
    flag(&["watermark"], Number, "Share of KV blocks kept free at admission.").since((0, 24, 0)),
    flag(&["prefill-schedule-interval"], Whole, "Admit prefill every N steps.").since((0, 24, 0)),
    flag(&["max-num-queued-reqs"], Whole, "Refuse requests beyond this queue.").since((0, 29, 0)),
    flag(&["performance-mode"], OneOf(&["balanced", "interactivity", "throughput"]), "Preset.")
        .since((0, 17, 0)),
    flag(&["speculative-config"], Json, "The configuration for speculative decoding."),
    flag(&["compilation-config", "O", "cc"], Json, "Compilation configuration, or its level."),
    flag(&["optimization-level"], Whole, "Optimization level, 0 to 3.").since((0, 12, 0)),
    flag(&["cuda-graph-sizes"], Wholes, "CUDA graph capture sizes.").removed((0, 13, 0)),
    flag(&["cudagraph-capture-sizes"], Wholes, "CUDA graph capture sizes.").since((0, 11, 1)),
    flag(&["max-cudagraph-capture-size"], Whole, "Largest CUDA graph capture size.").since((0, 11, 1)),
    flag(&["attention-backend"], Text, "Attention backend.").since((0, 13, 0)),
    flag(&["moe-backend"], Text, "Backend of MoE layers.").since((0, 17, 0)),
    flag(&["linear-backend"], Text, "Backend of linear layers.").since((0, 22, 0)),
    flag(&["enable-flashinfer-autotune"], OnOff, "Autotune FlashInfer.").since((0, 16, 0)),
    flag(&["all2all-backend"], Text, "All-to-all backend for expert parallelism.").since((0, 11, 1)),
    flag(&["enable-logging-iteration-details"], OnOff, "Log every iteration.").since((0, 14, 1)),
    flag(&["shutdown-timeout"], Number, "Seconds to drain at shutdown.").since((0, 18, 1)),
    flag(&["enable-sleep-mode"], OnOff, "Enable sleep mode."),
    flag(&["additional-config"], Json, "Additional config."),
    flag(&["config"], Text, "Read options from a YAML file; not read by the embedded engine."),
];
