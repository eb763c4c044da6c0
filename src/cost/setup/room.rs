//! The memory that a configuration leaves for a load.

use super::super::footprint::Footprint;
use super::super::memory::{self, MemoryEstimate};
use crate::engine::EngineConfig;
use crate::hardware::Hardware;
use crate::model::Model;
use crate::workload::RequestShape;

/// What a configuration has of memory for a load.
pub(super) struct Room {
    /// With its KV blocks filled in from the estimate when the engine did not say.
    pub(super) config: EngineConfig,
    pub(super) memory: MemoryEstimate,
    pub(super) kv_known: bool,
    pub(super) least_blocks: u64,
}

impl Room {
    pub(super) fn of(config: EngineConfig, hw: &Hardware, model: &Model, requests: &[RequestShape]) -> Room {
        let memory = memory::estimate(&config, hw, model);
        let kv_known = config.num_kv_blocks.is_some();
        let blocks = config.num_kv_blocks.unwrap_or(memory.blocks);
        let mut config = EngineConfig { num_kv_blocks: Some(blocks), ..config };
        if let Some(states) = memory.states {
            // SGLang keeps three states a running request where prefixes are cached.
            let each = if config.prefix_caching { 3 } else { 1 };
            let most = u32::try_from(states / each).unwrap_or(u32::MAX).max(1);
            config.max_num_seqs = config.max_num_seqs.min(most);
        }
        let (_, full, local) = memory::kv_groups(&Footprint::new(model, &config));
        // An engine that runs holds what it asks for at its start, and what the longest request needs.
        let least_blocks = least_blocks(&config, requests, full + local).max(memory.least_blocks);
        Room { config, memory, kv_known, least_blocks }
    }
}

/// Blocks that the longest request needs to run alone.
fn least_blocks(config: &EngineConfig, requests: &[RequestShape], groups: f64) -> u64 {
    let longest = requests.iter().map(|r| r.input_tokens.saturating_add(r.output_tokens)).max().unwrap_or(1);
    ((f64::from(longest.div_ceil(config.block_size.max(1))) + 1.0) * groups.max(1.0) + 2.0) as u64
}
