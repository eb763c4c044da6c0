//! Per-step telemetry: what an engine says of each of its steps, read from its log or its statistics.

mod sglang;
mod trtllm;
mod vllm;

use crate::launch::EngineKind;
use serde::{Deserialize, Serialize};

/// What a step's duration spans.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Span {
    /// The device's work, or the wait for it.
    Device,
    /// From step to step, host work included.
    Period,
    /// One period without overlapped scheduling, about two with it.
    Latency,
}

/// One engine step, or the mean of some that were alike.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct StepRow {
    /// Requests whose prompts are computed in it, and how many of their tokens.
    pub prefill_requests: u32,
    pub prefill_tokens: u32,
    /// Requests that decode, and the tokens computed for them (more with speculation).
    pub decode_requests: u32,
    pub decode_tokens: u32,
    /// Share of the KV room in use.
    pub kv_usage: Option<f64>,
    /// Tokens in the KV cache of what runs.
    pub kv_tokens: Option<u64>,
    pub duration_ms: f64,
    pub span: Span,
}

/// Every step that `text` (a log, or TensorRT-LLM's JSON of `/metrics`) tells of, in its order. Lines that
/// tell of none are passed over.
pub fn read(engine: EngineKind, text: &str) -> Vec<StepRow> {
    match engine {
        EngineKind::Vllm | EngineKind::Emulated => vllm::read(text),
        EngineKind::Sglang => sglang::read(text),
        EngineKind::Trtllm => trtllm::read(text),
    }
}

/// Flags that make the engine of this release tell of its steps in its log; `None` when none does.
///
/// SGLang does so by itself. vLLM takes the flag from 0.14 on.
pub fn flags(engine: EngineKind, version: Option<&str>) -> Option<&'static [&'static str]> {
    match engine {
        EngineKind::Vllm => {
            let mut numbers = version?.split(['.', '+', 'r']).map(|n| n.parse::<u32>().ok());
            let (major, minor) = (numbers.next()??, numbers.next()??);
            ((major, minor) >= (0, 14)).then_some(&["--enable-logging-iteration-details"])
        }
        EngineKind::Sglang => Some(&[]),
        EngineKind::Trtllm | EngineKind::Emulated => None,
    }
}

/// The number behind `key` in a line, up to what is no part of it; units that follow are left.
fn number(line: &str, key: &str) -> Option<f64> {
    let rest = line[line.find(key)? + key.len()..].trim_start_matches([' ', ':', '=', '\'', '"']);
    let end = rest.find(|c: char| !(c.is_ascii_digit() || ".+-eE".contains(c))).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// As [`number`], of a count.
fn count(line: &str, key: &str) -> Option<u32> {
    number(line, key).filter(|n| *n >= 0.0 && *n < 4e9).map(|n| n as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_flag_is_asked_only_of_releases_that_know_it() {
        let flags = |v| super::flags(EngineKind::Vllm, v).is_some();
        assert!(flags(Some("0.14.0")) && flags(Some("0.32.0+cpu")) && flags(Some("1.0.0rc1")));
        assert!(!flags(Some("0.13.0")) && !flags(Some("0.9.2")) && !flags(None) && !flags(Some("dev")));
        assert!(super::flags(EngineKind::Trtllm, Some("1.2.0")).is_none());
    }

    #[test]
    fn numbers_end_where_their_unit_begins() {
        assert_eq!(number("a = 7.4ms, b: 3", "a"), Some(7.4));
        assert_eq!(count("{'n': 16}", "n"), Some(16));
        assert_eq!(number("a = N/A", "a"), None);
        assert_eq!(number("nothing", "a"), None);
    }
}
