//! Where an exception was raised: engines keep one subject a directory, so the frames say what it is about.

use super::text::{Line, Part};
use regex::Regex;
use std::sync::LazyLock;

/// So many lines of frames tell where an exception was raised.
pub(super) const INNERMOST: usize = 6;

/// The frames above an exception, or of the traceback that follows a line which tells it first; the innermost first.
pub(super) fn frames(lines: &[Line], at: usize) -> Vec<&str> {
    // An exception that announced this one stands between it and the frames.
    let between = |l: &Line| l.part == Part::Exception && l.text.ends_with(':') || l.text.is_empty();
    let above: Vec<&str> = lines[..at]
        .iter()
        .rev()
        .filter(|l| l.who == lines[at].who)
        .skip_while(|l| between(l))
        .take_while(|l| l.part == Part::Frame)
        .map(|l| l.text.as_str())
        .collect();
    if !above.is_empty() {
        return above;
    }
    let below: Vec<&str> = lines[at + 1..]
        .iter()
        .take(80)
        .skip_while(|l| l.part != Part::Frame)
        .take_while(|l| l.part == Part::Frame)
        .map(|l| l.text.as_str())
        .collect();
    below.into_iter().rev().collect()
}

/// The innermost frame as a person would name it: `vllm/lora/layers.py, forward`.
pub(super) fn named(frames: &[&str]) -> String {
    static FRAME: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r#"File "(?:.*/(?:site-packages|dist-packages|python)/)?(?:[^"]*/)?((?:[^"/]+/){0,4}[^"/]+)", line \d+, in (\S+)"#)
            .expect("constant")
    });
    let found = frames.iter().find_map(|f| FRAME.captures(f));
    found.map_or(String::new(), |c| format!("{}, {}", &c[1], &c[2]))
}

/// What a part of an engine is about, as its directories cut it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Subject {
    Lora,
    Speculation,
    Compilation,
    KvTransfer,
    KvCache,
    Quantisation,
    Experts,
    Attention,
    Weights,
    Parallel,
    Multimodal,
    Structured,
}

/// What the code that raised it is about: the innermost frame that belongs to a subject decides.
pub(super) fn subject(frames: &[&str]) -> Option<Subject> {
    use Subject as S;
    static SUBJECTS: LazyLock<Vec<(Regex, S)>> = LazyLock::new(|| {
        [
            (r"/lora/|_lora|lora_", S::Lora),
            (r"spec_decode|speculative|eagle|medusa|_mtp\b|drafter|draft_|dflash|lookahead", S::Speculation),
            (r"kv_transfer|kv_connector|kv_offload|disaggregation|lmcache|mooncake|nixl|offloading/|/kvcached/", S::KvTransfer),
            (r"kv_cache|mem_cache|memory_pool|block_pool|cache_engine|block_manager|radix_cache|resource_manager", S::KvCache),
            (r"quantiz|scaled_mm|compressed_tensors|modelopt|gptq|awq|marlin|fp8_|fp4_|/quant", S::Quantisation),
            (r"fused_moe|/moe/|moe_|expert", S::Experts),
            (r"attention|attn|/fla/|flashinfer|mla", S::Attention),
            (r"model_loader|weight_utils|load_weights|weight_loader", S::Weights),
            (r"parallel_state|/distributed/|communicat|pynccl|torch/distributed", S::Parallel),
            (r"structured_output|grammar|constrained", S::Structured),
            (r"multimodal|processors?/|_vl\.py|vision|audio", S::Multimodal),
            (r"/compilation/|_inductor|_dynamo|triton/(?:compiler|backends|runtime)|cuda_graph|cudagraph", S::Compilation),
        ]
        .into_iter()
        .map(|(place, subject)| (Regex::new(place).expect("constant"), subject))
        .collect()
    });
    let files = frames.iter().filter(|f| f.starts_with("File ") || f.starts_with("| File "));
    files
        .take(INNERMOST / 2)
        .find_map(|f| SUBJECTS.iter().find(|(place, _)| place.is_match(f)).map(|(_, s)| *s))
}
