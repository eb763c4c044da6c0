//! CUDA graphs: which batches replay one, padded to which size, and what launching without one costs the host.

use super::super::kernels::{self, Format};
use crate::engine::EngineConfig;
use crate::hardware::{Hardware, Vendor};
use crate::launch::EngineKind;
use crate::model::Model;
use crate::sim::step::StepShape;

/// What was captured.
#[derive(Debug, Clone, Copy)]
pub(super) struct Graph {
    max: u32,
    covers_prefill: bool,
    padding: bool,
}

impl Graph {
    pub(super) fn of(config: &EngineConfig) -> Graph {
        Graph {
            max: largest_graph(config),
            covers_prefill: config.graph_prefill,
            padding: config.graph_padding,
        }
    }

    /// Tokens that a batch computes (padding included) and whether a graph is replayed; `share` of the rows are in each
    /// batch in flight.
    pub(super) fn padded(self, s: &StepShape, share: f64) -> (f64, bool) {
        let tokens = (f64::from(s.tokens()) * share).ceil() as u32;
        let covered = s.prefill_rows == 0 || self.covers_prefill;
        if !covered || tokens > self.max {
            return (f64::from(tokens), false);
        }
        let size = capture_size(tokens);
        if !self.padding {
            return (f64::from(tokens), tokens <= 32 || tokens.is_power_of_two());
        }
        (f64::from(size.min(self.max.max(tokens))), true)
    }
}

/// Tokens of the largest captured batch. vLLM counts tokens; the others count sequences, each with what it verifies, on every
/// rank of data-parallel attention.
fn largest_graph(config: &EngineConfig) -> u32 {
    let by_sequence = matches!(config.engine, EngineKind::Sglang | EngineKind::Trtllm);
    let verified = config.speculative.as_ref().filter(|_| by_sequence).map_or(0, |s| s.verified);
    let ranks = if by_sequence { config.attention_parallel.max(1) } else { 1 };
    config.max_graph_size.saturating_mul(1 + verified).saturating_mul(ranks)
}

/// How many times the kernels of a dense 16-bit layer a step without a graph launches. SGLang and TensorRT-LLM launch the modules
/// of a layer one by one; vLLM replays what lies between the attentions of a compiled model.
pub(super) fn launched(model: &Model, config: &EngineConfig, format: Format) -> f64 {
    match config.engine {
        EngineKind::Sglang | EngineKind::Trtllm => kernels::launches(model, format),
        _ => 1.0,
    }
}

/// Captured sizes: 1, 2, 4, then every 8 to 256, then every 16.
fn capture_size(tokens: u32) -> u32 {
    match tokens {
        0..=2 => tokens,
        3..=4 => 4,
        5..=256 => tokens.next_multiple_of(8),
        _ => tokens.next_multiple_of(16),
    }
}

/// Without any graph (`--enforce-eager`) nothing is compiled either, and each operator is launched by itself:
/// 15 to 25 ms for a decode step of an 8B model on an H100. A CPU launches nothing.
pub(super) fn eager_factor(hw: &Hardware, config: &EngineConfig) -> f64 {
    match (hw.vendor, config.max_graph_size) {
        (Vendor::Cpu, _) => 0.0,
        (_, 0) => 3.0,
        _ => 1.0,
    }
}

/// TensorRT-LLM launches the kernels of prompts and of decode rows one after the other.
pub(super) fn prompt_launch(config: &EngineConfig) -> f64 {
    if config.engine == EngineKind::Trtllm { 2.0 } else { 1.0 }
}
