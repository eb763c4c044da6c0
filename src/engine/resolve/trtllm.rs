//! Defaults and flags of `trtllm-serve` (PyTorch backend).

use super::{EngineConfig, ServeCommand};

pub(super) fn apply(c: &mut EngineConfig, command: &ServeCommand) {
    c.max_num_seqs = command.integer(&["max-batch-size"]).unwrap_or(2048).max(1);
    c.max_num_batched_tokens = command.integer(&["max-num-tokens"]).unwrap_or(8192).max(1);
    c.max_model_len = command.integer(&["max-seq-len"]).unwrap_or(c.max_model_len);
    c.chunked_prefill = command.switch(&["enable-chunked-prefill"]).unwrap_or(false);
    c.chunk_tokens = 0;
    c.block_size = 32;
    // A share of the memory that is free after weights, unlike the other engines' share of the total.
    c.gpu_memory_utilization =
        command.number(&["free-gpu-memory-fraction", "kv-cache-free-gpu-memory-fraction"]).unwrap_or(0.9);
    c.prefix_caching = true;
    c.overlap = true;
    c.graph_prefill = false;
    c.graph_padding = false;
    c.max_graph_size = 128.min(c.max_num_seqs);
    c.reserve_output = true;
    c.shared_frontend = true;
}
