//! Hub names: families and their variants.
//!
//! `Qwen/Qwen3-30B-A3B-Instruct-2507-FP8` is the family `qwen3-30b-a3b` at precision fp8: suffixes name
//! tuning stage, date, packager or quantisation, none of which changes the architecture.

use super::Precision;

/// A hub name taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Name {
    /// Lower-case name without organisation and variant suffixes.
    pub(super) family: String,
    /// What a suffix says of the weights.
    pub(super) precision: Option<Precision>,
}

/// Suffixes (after a dash, dot or underscore) that leave the architecture as it is.
const PLAIN: &[&str] = &[
    "instruct",
    "chat",
    "it",
    "base",
    "thinking",
    "hf",
    "unsloth",
    "bnb",
    "dynamic",
    "quantized",
    "preview",
    "block",
    "pt",
    "original",
    "kv",
    "marlin",
    "g128",
    "tensor",
    "channel",
    "ct",
    "g32",
    "128g",
    "qat",
];

pub(super) fn parse(hub_name: &str) -> Name {
    let lower = hub_name.trim().trim_end_matches('/').to_lowercase();
    let tail = lower.rsplit('/').next().unwrap_or(&lower);
    let mut family = tail.strip_prefix("meta-").unwrap_or(tail).to_owned();
    let mut precision = None;
    // A second edition of a packager's quantisation: `DeepSeek-R1-0528-FP4-V2`.
    if let Some(cut) = family.rfind("-v") {
        let edition = family[cut + 2..].bytes().all(|b| b.is_ascii_digit());
        let of = family[..cut].rsplit('-').next().unwrap_or_default();
        if edition && suffix_precision(of).is_some() {
            family.truncate(cut);
        }
    }
    while let Some(cut) = family.rfind(['-', '.', '_']) {
        let suffix = &family[cut + 1..];
        let found = suffix_precision(suffix);
        let date =
            suffix.len() == 4 && suffix.bytes().all(|b| b.is_ascii_digit()) && &family[cut..=cut] == "-";
        if found.is_none() && !date && !PLAIN.contains(&suffix) {
            break;
        }
        // In `-GPTQ-Int8` the width that stands last in the name is the exact one.
        precision = precision.or(found);
        family.truncate(cut);
    }
    Name { family, precision }
}

fn suffix_precision(suffix: &str) -> Option<Precision> {
    Some(match suffix {
        "fp8" | "w8a8fp8" => Precision::Fp8,
        "awq" | "gptq" | "int4" | "w4a16" | "4bit" | "4bits" | "w4" => Precision::Int4,
        "int8" | "w8a8" | "w8a16" | "8bit" | "8bits" => Precision::Int8,
        "bf16" => Precision::Bf16,
        "fp16" => Precision::Fp16,
        "mxfp4" => Precision::Mxfp4,
        "nvfp4" => Precision::Nvfp4,
        "fp4" => Precision::Fp4,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_share_their_family() {
        for (name, family, precision) in [
            ("Qwen/Qwen3-14B-FP8", "qwen3-14b", Some(Precision::Fp8)),
            ("Qwen/Qwen3-32B-AWQ", "qwen3-32b", Some(Precision::Int4)),
            ("Qwen/Qwen3-30B-A3B-Instruct-2507-FP8", "qwen3-30b-a3b", Some(Precision::Fp8)),
            ("Qwen/Qwen3-235B-A22B-Thinking-2507", "qwen3-235b-a22b", None),
            ("Qwen/Qwen3-30B-A3B-GPTQ-Int4", "qwen3-30b-a3b", Some(Precision::Int4)),
            ("JunHowie/Qwen3-8B-GPTQ-Int8", "qwen3-8b", Some(Precision::Int8)),
            ("unsloth/Meta-Llama-3.1-8B-Instruct-bnb-4bit", "llama-3.1-8b", Some(Precision::Int4)),
            ("RedHatAI/Meta-Llama-3.1-8B-Instruct-quantized.w4a16", "llama-3.1-8b", Some(Precision::Int4)),
            ("neuralmagic/Meta-Llama-3.1-70B-Instruct-FP8-dynamic", "llama-3.1-70b", Some(Precision::Fp8)),
            ("unsloth/gpt-oss-20b-BF16", "gpt-oss-20b", Some(Precision::Bf16)),
            ("google/gemma-3-27b-it", "gemma-3-27b", None),
            ("deepseek-ai/DeepSeek-R1-0528", "deepseek-r1", None),
            ("nvidia/DeepSeek-R1-0528-FP4-V2", "deepseek-r1", Some(Precision::Fp4)),
        ] {
            assert_eq!(parse(name), Name { family: family.into(), precision }, "{name}");
        }
    }

    #[test]
    fn other_models_stay_other() {
        assert_eq!(parse("deepseek-ai/DeepSeek-R1-Distill-Qwen-32B").family, "deepseek-r1-distill-qwen-32b");
        assert_eq!(parse("Qwen/Qwen2.5-7B").family, "qwen2.5-7b");
        assert_eq!(parse("deepseek-ai/DeepSeek-V2").family, "deepseek-v2");
    }
}
