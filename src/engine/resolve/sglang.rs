//! Defaults and flags of `sglang.launch_server`.

use super::{EngineConfig, device_memory};
use crate::hardware::{Hardware, Vendor};
use crate::launch::{Launch, Version};
use crate::model::{Model, Vision};

pub(super) fn apply(c: &mut EngineConfig, command: &Launch, hw: &Hardware, model: &Model) {
    let gib = device_memory(hw).gib();
    let (chunk, graph) = tier(gib, c.tensor_parallel, c.version);
    let chunk = command.text(&["chunked-prefill-size"]).map_or(i64::from(chunk), |t| t.parse().unwrap_or(-1));
    c.chunked_prefill = chunk > 0;
    c.chunk_tokens = chunk.clamp(0, i64::from(u32::MAX)) as u32;
    c.max_num_batched_tokens = command.integer(&["max-prefill-tokens"]).unwrap_or(16384);
    c.max_model_len = command.integer(&["context-length"]).unwrap_or(c.max_model_len);
    c.block_size = command.integer(&["page-size"]).unwrap_or(1).max(1);
    c.max_num_seqs = command.integer(&["max-running-requests"]).unwrap_or(2048);
    c.max_graph_size = if command.switch(&["disable-cuda-graph"]).unwrap_or(false) {
        0
    } else {
        command
            .integer(&["cuda-graph-max-bs-decode", "cuda-graph-max-bs"])
            .unwrap_or(graph)
            .min(c.max_num_seqs)
    };
    c.graph_prefill = false;
    c.num_kv_blocks = command.integer(&["max-total-tokens"]).map(|t| u64::from(t / c.block_size));
    let drafts = command.text(&["speculative-algorithm"]).map_or(0.0, drafter_mib);
    c.gpu_memory_utilization = command
        .number(&["mem-fraction-static"])
        .unwrap_or_else(|| static_fraction(gib, c, chunk.max(0) as f64, drafts, model.rest.vision.as_ref()));
    if aiter(command, hw, model) && c.max_model_len > 8192 {
        c.gpu_memory_utilization *= 0.85;
    }
    c.local_pool_ratio = if command.switch(&["disable-hybrid-swa-memory"]) == Some(true) {
        1.0
    } else {
        let compressed = model.attentions().any(|(_, a)| a.tokens_per_entry > 1 && a.entry_bytes.is_some());
        command.number(&["swa-full-tokens-ratio"]).unwrap_or(if compressed { 0.1 } else { 0.8 })
    };
    c.state_pool_ratio = command.number(&["mamba-full-memory-ratio"]).unwrap_or(0.9);
    c.prefix_caching = !command.switch(&["disable-radix-cache"]).unwrap_or(false);
    c.overlap = !command.switch(&["disable-overlap-schedule"]).unwrap_or(false);
    c.mixed_chunk = command.switch(&["enable-mixed-chunk"]).unwrap_or(false);
    c.recv_interval = command.integer(&["scheduler-recv-interval"]).unwrap_or(1).max(1);
    c.conservativeness = command.number(&["schedule-conservativeness"]).unwrap_or(1.0);
}

/// (`chunked_prefill_size`, largest decode graph) by device memory.
fn tier(gib: f64, tp: u32, version: Version) -> (u32, u32) {
    let wide = tp >= 4;
    let pick = |narrow, wide_value| if wide { wide_value } else { narrow };
    let new = version >= (0, 5, 20);
    match gib {
        g if g < 20.0 => (2048, 8),
        g if g < 35.0 && new => (4096, pick(48, 160)),
        g if g < 35.0 => (2048, pick(if version < (0, 5, 4) { 16 } else { 24 }, 80)),
        g if g < 60.0 => (4096, pick(32, 160)),
        g if g < 160.0 => (8192, pick(256, 512)),
        _ => (16384, 512),
    }
}

/// Whether attention runs by AITER: asked for, or what AMD's parts take for models without a latent.
fn aiter(command: &Launch, hw: &Hardware, model: &Model) -> bool {
    match command.text(&["attention-backend"]) {
        Some(backend) => backend == "aiter",
        None => hw.vendor == Vendor::Amd && model.attentions().all(|(_, a)| a.latent.is_none()),
    }
}

/// MiB that are kept for a drafter and its graphs.
fn drafter_mib(algorithm: &str) -> f64 {
    match algorithm {
        "STANDALONE" => 6144.0,
        "NGRAM" => 0.0,
        _ => 2048.0,
    }
}

/// `mem_fraction_static`: what is left after the reserve for activations, graphs and ranks; of a model that takes pictures less, by
/// the size of its tower (8 GiB where the graphs are captured before the cache is sized).
fn static_fraction(gib: f64, c: &EngineConfig, chunk: f64, drafts: f64, tower: Option<&Vision>) -> f64 {
    // Until 0.4.7 by the ranks alone.
    if c.version < (0, 4, 8) {
        return match c.tensor_parallel {
            16.. => 0.79,
            8.. => 0.81,
            4.. => 0.85,
            2.. => 0.87,
            _ => 0.88,
        };
    }
    let mib = gib * 1024.0;
    let ranks = f64::from(c.tensor_parallel * c.pipeline_parallel) / 8.0 * 1024.0;
    let mut reserved = 512.0 + 1.5 * chunk.max(2048.0) + ranks + 2.0 * f64::from(c.max_graph_size);
    let measured_after = c.version >= (0, 5, 20);
    if measured_after {
        reserved = 1536.0 + ranks;
    } else {
        if c.attention_parallel > 1 {
            // Each rank captures the graphs of its own batches.
            let graphs = f64::from(c.max_graph_size) * f64::from(c.attention_parallel);
            reserved += graphs * if c.max_graph_size > 300 { 4.5 } else { 3.0 };
        }
        if gib > 60.0 {
            reserved = reserved.max(10240.0);
        }
        reserved += drafts;
    }
    let fraction = ((mib - reserved) / mib * 1000.0).round() / 1000.0;
    let fraction = match tower {
        Some(_) if measured_after => fraction - 8192.0 / mib,
        Some(tower) => fraction * 0.95 * (1.0 - 0.1 * (tower.against_vit_l() - 1.0)).clamp(0.8, 1.05),
        None => fraction,
    };
    fraction.clamp(0.1, 0.95)
}
