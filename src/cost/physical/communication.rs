//! What exchanges between devices cost a step.

use super::super::coefficients::Coefficients;
use super::super::footprint::Footprint;
use crate::engine::EngineConfig;
use crate::hardware::{Hardware, Vendor};

/// (ns a step, ns a token) of all-reduces under tensor parallelism, exchanges between data-parallel ranks and
/// hand-overs between stages.
pub(super) fn communication(
    hw: &Hardware,
    f: &Footprint,
    config: &EngineConfig,
    c: &Coefficients,
) -> (f64, f64) {
    let tp = f64::from(config.tensor_parallel.max(1));
    let pp = f64::from(config.pipeline_parallel.max(1));
    let (link, slow_link) = path(hw, c, tp);
    let message = f.hidden * 2.0;
    let mut step = 0.0;
    let mut token = 0.0;
    if tp > 1.0 {
        // Ranks that each attend to requests of their own have nothing to sum behind attention.
        let halves = if config.attention_tensor() > 1 { 2.0 } else { 1.0 };
        let reduces = halves * f.layers + 1.0;
        step += reduces * c.comm_latency * 1e3 * slow_link * more_devices(tp);
        token += reduces * message * 2.0 * (tp - 1.0) / tp / link;
    }
    let ranks = f.expert_ranks(config);
    if ranks > 1.0 {
        let (link, slow_link) = path(hw, c, ranks);
        // All tokens are gathered before the experts of each layer, and their results scattered after.
        step += 2.0 * f.moe_layers * c.comm_latency * 1e3 * slow_link * more_devices(ranks);
        token += 2.0 * f.moe_layers * message * (ranks - 1.0) / link;
    }
    if pp > 1.0 {
        let (link, slow_link) = path(hw, c, tp * pp);
        step += (pp - 1.0) * c.comm_latency * 1e3 * 4.0 * slow_link;
        token += (pp - 1.0) * message / link;
    }
    (step, token)
}

/// Bandwidth in GB/s that a message reaches among so many neighbouring devices, and by how much longer a small one is under way
/// than through a switch of the GPUs' own (NVLink, Infinity Fabric). Ranks are numbered node by node, so that a group that is
/// larger than a node crosses the link between nodes, and its slowest link sets the time.
fn path(hw: &Hardware, c: &Coefficients, ranks: f64) -> (f64, f64) {
    // Through the host's root complex; a network's adapters lie behind it as well.
    const DETOUR: f64 = 3.0;
    if let Some(nodes) = hw.nodes.filter(|n| ranks > f64::from(n.gpus)) {
        return (nodes.link_gbps.max(0.01) * c.comm_bandwidth, DETOUR);
    }
    let detour = hw.link_gbps < 100.0 && hw.vendor != Vendor::Cpu;
    (hw.link_gbps.max(1.0) * c.comm_bandwidth, if detour { DETOUR } else { 1.0 })
}

/// How much longer than between two devices a small all-reduce takes: 1.35 and 1.7 between four and eight (AIConfigurator's
/// tables of vLLM's, SGLang's and TensorRT-LLM's own kernels on A100, H100 and B200).
fn more_devices(ranks: f64) -> f64 {
    1.0 + 0.35 * (ranks.log2() - 1.0)
}
