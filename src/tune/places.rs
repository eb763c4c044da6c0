//! The places of launches: side by side on one machine, and nodes of a cluster.

use crate::search::Nodes;
use crate::store::Plan;
use std::collections::BTreeMap;

/// Where launches run, and what is known of their neighbourhood.
#[derive(Debug, Default)]
pub(super) struct SideBySide {
    pub(super) places: usize,
    /// GPUs of each place, by the driver's numbers; empty for engines without any.
    pub(super) devices: Vec<Vec<u32>>,
    /// What the check of the first launches side by side said.
    pub(super) checked: Option<String>,
    /// Launches of this campaign that were set aside, and their seconds: they count in the budget.
    pub(super) set_aside: usize,
    pub(super) set_aside_s: f64,
}

impl SideBySide {
    pub(super) fn new(plan: &Plan) -> SideBySide {
        SideBySide { places: plan.in_flight.max(1) as usize, ..SideBySide::default() }
    }

    /// Takes note of a launch that is no part of the comparison.
    pub(super) fn put_aside(&mut self, wall_s: f64) {
        self.set_aside += 1;
        self.set_aside_s += wall_s;
    }

    pub(super) fn places(&self) -> usize {
        self.places
    }

    pub(super) fn devices(&self, place: usize) -> Vec<u32> {
        self.devices.get(place).cloned().unwrap_or_default()
    }
}

/// The nodes of a campaign.
#[derive(Debug, Default)]
pub(super) struct Level {
    pub(super) speeds: Nodes,
    /// Nodes that are another kind of machine or have another engine, and how so.
    pub(super) unlike: BTreeMap<String, String>,
    /// Numbers of trials that were set aside, by node.
    pub(super) aside: BTreeMap<String, Vec<u32>>,
    /// The defaults have shown the nodes; before that none is refused for its speed.
    pub(super) calibrated: bool,
    /// Nodes whose executor cannot keep launches away from them.
    pub(super) unavoidable: bool,
}
