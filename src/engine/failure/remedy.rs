//! What helps, as values that a search can act on.

use super::Class;
use super::found::Found;
use super::release;
use crate::launch::{EngineKind, Version};
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

/// One thing to try, or not to. Flags are the engine's own names without the leading dashes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case", tag = "do")]
pub enum Remedy {
    /// Lower a numeric flag: to at most `to` where the engine gave a number, else by one step.
    Shrink { flag: String, to: Option<f64> },
    /// Raise a numeric flag: to at least `to` where the engine gave a number, else by one step.
    Raise { flag: String, to: Option<f64> },
    /// Give a flag this value.
    Set { flag: String, value: String },
    /// No candidate with this value, or with this flag at all.
    Forbid { flag: String, value: Option<String> },
    /// Set an environment variable.
    Environment { name: String, value: String },
    /// The same launch once more: the cause lies outside and may have passed.
    RetryOnce,
    /// The same launch again when the resource that is held is free.
    Wait,
    /// No launch on this machine will do.
    GiveUp,
}

impl Remedy {
    /// Whether this release can be asked for it: what its table knows to be absent is no next try.
    pub(super) fn is_for(&self, engine: Option<EngineKind>, version: Option<Version>) -> bool {
        let (Remedy::Shrink { flag, .. } | Remedy::Raise { flag, .. } | Remedy::Set { flag, .. }) = self
        else {
            return true;
        };
        let (Some(engine), Some(version)) = (engine, version) else { return true };
        release::lacks(engine, version, flag).is_none()
    }
}

/// What a flag is for, whatever an engine calls it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Flag {
    ModelLen,
    MaxSeqs,
    BatchedTokens,
    MemoryFraction,
    ParallelSize,
}

impl Flag {
    fn name(self, engine: EngineKind) -> &'static str {
        let names = match self {
            Flag::ModelLen => ["max-model-len", "context-length", "max_seq_len"],
            Flag::MaxSeqs => ["max-num-seqs", "max-running-requests", "max_batch_size"],
            Flag::BatchedTokens => ["max-num-batched-tokens", "chunked-prefill-size", "max_num_tokens"],
            Flag::MemoryFraction => {
                ["gpu-memory-utilization", "mem-fraction-static", "kv_cache_free_gpu_memory_fraction"]
            }
            Flag::ParallelSize => ["tensor-parallel-size", "tp-size", "tp_size"],
        };
        match engine {
            EngineKind::Sglang => names[1],
            EngineKind::Trtllm => names[2],
            _ => names[0],
        }
    }
}

static MAX_LEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"estimated maximum model length is (\d+)|maximum number of tokens that can be stored in KV cache \((\d+)\)|max_total_num_tokens[ =:]+(\d+)|derived max_model_len \(max_position_embeddings=(\d+)|derived context_length \((\d+)\)|max_position_embeddings=(\d+)")
        .expect("constant")
});

/// The longest model length that the engine itself named.
pub(super) fn suggested_length(cause: &str) -> Option<u64> {
    let found = MAX_LEN.captures(cause)?;
    found.iter().skip(1).flatten().next().and_then(|m| m.as_str().parse().ok())
}

/// The largest value that the engine itself named for what it refuses.
pub(super) fn at_most(cause: &str) -> Option<u64> {
    static AT_MOST: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"to at most (\d+)|available Mamba cache blocks \((\d+)\)|(?:must|should) be (?:at most|<=|no (?:more|larger|greater) than) (\d+)|no more than (\d+)")
            .expect("constant")
    });
    let found = AT_MOST.captures(cause)?;
    found.iter().skip(1).flatten().next().and_then(|m| m.as_str().parse().ok())
}

/// What helps against a finding: what the engine itself proposes, then what its class allows.
pub(super) fn remedies(found: &Found, after: &[String], engine: Option<EngineKind>) -> Vec<Remedy> {
    let kind = engine.unwrap_or(EngineKind::Vllm);
    let mut all = Vec::new();
    let mut add = |r: Remedy| {
        if !all.contains(&r) {
            all.push(r);
        }
    };
    if let Some(n) = suggested_length(&found.text).filter(|_| found.class == Class::TooLong) {
        add(Remedy::Shrink { flag: Flag::ModelLen.name(kind).to_owned(), to: Some(n as f64) });
    }
    if let Some(n) = at_most(&found.text) {
        let flag = limited_flag(&found.text).unwrap_or_else(|| Flag::MaxSeqs.name(kind).to_owned());
        add(Remedy::Shrink { flag, to: Some(n as f64) });
    }
    refused(&found.text).into_iter().for_each(&mut add);
    if found.cause.is_none_or(|c| c.quotes) {
        for text in std::iter::once(&found.text).chain(after) {
            proposed(text).into_iter().for_each(&mut add);
        }
    }
    of_cause(found.cause.map_or("", |c| c.id), kind).into_iter().for_each(&mut add);
    of_class(found.class, engine).into_iter().for_each(&mut add);
    all
}

/// The setting that a sentence limits: `lower max_num_seqs to at most 614`.
fn limited_flag(text: &str) -> Option<String> {
    static LIMITED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"`?(?:--)?([a-z]+(?:[-_][a-z0-9]+)+)`? (?:to at most|must be at most|should be at most|\(\d+\) exceeds)").expect("constant")
    });
    Some(LIMITED.captures(text)?[1].replace('_', "-"))
}

/// The flag and value that an argument parser refused.
fn refused(text: &str) -> Option<Remedy> {
    static REFUSED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"argument (?:-\w/)?--([\w-]+)[^:]*: (?:invalid [\w ]*value|invalid choice): '?([^' ]+)|unrecognized arguments: --([\w-]+)|[Nn]o such option: --([\w-]+)|Invalid value for '--([\w-]+)': '([^']*)'")
            .expect("constant")
    });
    let found = REFUSED.captures(text)?;
    let group = |n: usize| found.get(n).map(|m| m.as_str().to_owned());
    let flag = group(1).or_else(|| group(3)).or_else(|| group(4)).or_else(|| group(5))?;
    Some(Remedy::Forbid { flag, value: group(2).or_else(|| group(6)) })
}

/// Flags with values and variables that a sentence proposes: `try --max-model-len 36000`, `set X=1`.
fn proposed(text: &str) -> Vec<Remedy> {
    static FLAG: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?i)(?:try|use|using|set|setting|pass|passing|specify|with|add|example:?|e\.g\.,?) [`'\x22]?--([a-z][\w-]+)(?:[= ][`'\x22]?([\w.]+))?").expect("constant")
    });
    static VARIABLE: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?:[Ss]et(?:ting)?|export|[Tt]ry(?:ing)?|[Uu]se|with|variable|env var) [`'\x22]?([A-Z][A-Z0-9]*_[A-Z0-9_]+) ?= ?[`'\x22]?([\w./:-]+)").expect("constant")
    });
    let prose = [
        "instead", "or", "to", "for", "in", "if", "and", "when", "option", "flag", "argument", "is", "as",
        "with",
    ];
    let flags = FLAG.captures_iter(text).filter_map(|c| {
        let value = c.get(2).map(|v| v.as_str().trim_end_matches('.')).filter(|v| !prose.contains(v))?;
        Some(Remedy::Set { flag: c[1].to_owned(), value: value.to_owned() })
    });
    let variables = VARIABLE
        .captures_iter(text)
        .map(|c| Remedy::Environment { name: c[1].to_owned(), value: c[2].trim_end_matches('.').to_owned() });
    flags.chain(variables).collect()
}

/// Variables that a campaign may set by itself: each turns one kernel or path of the engine off and changes no check and no
/// access. Others that a log proposes (`VLLM_ALLOW_LONG_MAX_MODEL_LEN=1`) are advice for a person.
pub const SAFE_VARIABLES: [&str; 3] =
    ["VLLM_USE_DEEP_GEMM", "VLLM_USE_FLASHINFER_SAMPLER", "NCCL_P2P_DISABLE"];

/// What helps against one known cause beyond its class.
fn of_cause(id: &str, engine: EngineKind) -> Vec<Remedy> {
    let shrink = |f: Flag| Remedy::Shrink { flag: f.name(engine).to_owned(), to: None };
    let raise = |f: Flag| Remedy::Raise { flag: f.name(engine).to_owned(), to: None };
    let variable = |name: &str, value: &str| Remedy::Environment { name: name.into(), value: value.into() };
    match id {
        "sampler-warmup" | "request-slots" | "mamba-blocks" => vec![shrink(Flag::MaxSeqs)],
        "kv-pool-exhausted" => {
            vec![shrink(Flag::MaxSeqs), shrink(Flag::BatchedTokens), raise(Flag::MemoryFraction)]
        }
        "parallel-size" | "cluster-resources" | "too-few-gpus" => vec![shrink(Flag::ParallelSize)],
        "deep-gemm" if engine == EngineKind::Vllm => vec![variable("VLLM_USE_DEEP_GEMM", "0")],
        "flashinfer-arch" if engine == EngineKind::Vllm => vec![variable("VLLM_USE_FLASHINFER_SAMPLER", "0")],
        "peer-access" | "nccl-heartbeat" | "step-timeout" => vec![variable("NCCL_P2P_DISABLE", "1")],
        "own-port" if engine == EngineKind::Sglang => {
            vec![Remedy::Set { flag: "tokenizer-worker-num".into(), value: "1".into() }]
        }
        _ => Vec::new(),
    }
}

/// What a class alone allows.
pub(super) fn of_class(class: Class, engine: Option<EngineKind>) -> Vec<Remedy> {
    let engine = engine.unwrap_or(EngineKind::Vllm);
    let shrink = |f: Flag| Remedy::Shrink { flag: f.name(engine).to_owned(), to: None };
    let raise = |f: Flag| Remedy::Raise { flag: f.name(engine).to_owned(), to: None };
    match class {
        Class::OutOfMemory => {
            vec![shrink(Flag::MemoryFraction), shrink(Flag::MaxSeqs), shrink(Flag::BatchedTokens)]
        }
        Class::NoKvRoom => vec![raise(Flag::MemoryFraction), raise(Flag::ParallelSize)],
        Class::TooLong => vec![shrink(Flag::ModelLen)],
        Class::RequestTooLong => vec![raise(Flag::ModelLen)],
        Class::Watchdog => vec![shrink(Flag::BatchedTokens), shrink(Flag::MaxSeqs), Remedy::RetryOnce],
        Class::MemoryHeld | Class::PortInUse => vec![Remedy::Wait],
        _ if class.fatal() => vec![Remedy::GiveUp],
        _ if class.transient() => vec![Remedy::RetryOnce],
        _ => Vec::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::super::diagnose;
    use super::*;

    fn of(log: &str) -> Vec<Remedy> {
        diagnose(log, Some(EngineKind::Vllm)).unwrap().remedies
    }

    #[test]
    fn the_engines_own_number_is_the_next_try() {
        let first = of(
            "ValueError: To serve at least one request with the models's max seq len (32768), (4.50 GiB KV cache is needed, which is larger than the available KV cache memory (1.20 GiB). Based on the available memory, the estimated maximum model length is 8736.",
        );
        assert_eq!(first[0], Remedy::Shrink { flag: "max-model-len".into(), to: Some(8736.0) });
        let first = of(
            "ValueError: max_num_seqs (1024) exceeds available Mamba cache blocks (614). Please lower max_num_seqs to at most 614 or increase gpu_memory_utilization.",
        );
        assert_eq!(first[0], Remedy::Shrink { flag: "max-num-seqs".into(), to: Some(614.0) });
    }

    #[test]
    fn a_flag_or_variable_that_the_engine_proposes_is_taken() {
        let all = of("RuntimeError: zork is too large. Try --max-model-len 36000 or set VLLM_USE_ZORK=0.");
        assert!(
            all.contains(&Remedy::Set { flag: "max-model-len".into(), value: "36000".into() }),
            "{all:?}"
        );
        assert!(
            all.contains(&Remedy::Environment { name: "VLLM_USE_ZORK".into(), value: "0".into() }),
            "{all:?}"
        );
    }

    #[test]
    fn a_refused_value_is_forbidden() {
        let all = of(
            "vllm serve: error: argument --kv-cache-dtype: invalid choice: 'fp99' (choose from 'auto', 'fp8')",
        );
        assert_eq!(all[0], Remedy::Forbid { flag: "kv-cache-dtype".into(), value: Some("fp99".into()) });
    }
}
