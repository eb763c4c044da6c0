//! A launch that is larger than one node.

use crate::engine::EngineConfig;
use crate::hardware::{Hardware, Nodes};
use crate::scenario::Record;

/// Taken for the link between nodes where nobody says what it is: one port of 400 Gbit/s (InfiniBand NDR, 400G Ethernet) for
/// each GPU, GB/s.
const ASSUMED_LINK: f64 = 50.0;

/// Gives the part the nodes of the scenario, where the launch does not fit on one of them.
pub(super) fn lay_over_nodes(record: &Record, hardware: &mut Hardware, config: &mut EngineConfig) {
    let Some(gpus) = record.gpus_per_node.filter(|n| *n > 0 && config.gpus() > *n) else { return };
    if record.node_link_gbps.is_none() {
        config.unmodelled.push(format!(
            "the link between nodes (not said by node_link_gbps: taken as {ASSUMED_LINK:.0} GB/s for each GPU)"
        ));
    }
    // Never faster than inside a node: the slower of the two carries the message.
    let link_gbps = record.node_link_gbps.unwrap_or(ASSUMED_LINK).min(hardware.link_gbps);
    hardware.nodes = Some(Nodes { gpus, link_gbps });
}
